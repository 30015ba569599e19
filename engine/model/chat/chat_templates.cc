#include "engine/model/chat/chat_templates.h"

#include <algorithm>
#include <optional>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/json_parser.h"
#include "engine/model/chat/python_text.h"
#include "engine/model/chat/workspace.h"

namespace baton {
namespace {

using chat::Dict;
using chat::Value;
using chat::Workspace;

constexpr std::string_view kDefault = "default";
constexpr std::string_view kToolUse = "tool_use";

// Roles that conversations have. Templates such as Phi's write '<|' + role + '|>', so these count
// as written by the template; any other role is text, whatever it spells.
constexpr std::string_view kRoles[] = {"system",    "user",          "assistant", "tool",
                                       "developer", "model",         "function",  "ipython",
                                       "tools",     "tool_response", "tool_call"};

absl::Status WithField(std::string_view field, const absl::Status& status) {
  return absl::Status(status.code(), StrCat(field, ": ", std::string(status.message())));
}

absl::StatusOr<Value> ParseAs(Value::Kind kind, std::string_view field, std::string_view json,
                              Workspace& workspace) {
  const auto value = chat::ParseJson(json, workspace);
  if (!value.ok()) return WithField(field, value.status());
  if (value->Is(kind)) return *value;
  return absl::InvalidArgumentError(
      StrCat(field, " must be a JSON ", kind == Value::Kind::kList ? "array" : "object"));
}

// Sets variables and the members of messages.
class Setter {
 public:
  explicit Setter(Workspace& workspace) : workspace_(workspace) {}

  void Set(Dict& dict, std::string_view key, Value value) {
    dict.Set(workspace_.Keep(MarkedText(key, Origin::kTemplate)), value);
  }
  void SetText(Dict& dict, std::string_view key, std::string_view text, Origin origin) {
    Set(dict, key, Value::Text(workspace_.Keep(MarkedText(text, origin))));
  }
  void SetText(Dict& dict, std::string_view key, const std::optional<std::string>& text) {
    if (text.has_value()) SetText(dict, key, *text, Origin::kRequest);
  }

 private:
  Workspace& workspace_;
};

absl::StatusOr<Value> MakeMessage(const ChatMessage& message, std::string_view field,
                                  Workspace& workspace) {
  Setter setter(workspace);
  Dict* const made = workspace.NewDict();
  const bool known_role =
      std::find(std::begin(kRoles), std::end(kRoles), message.role) != std::end(kRoles);
  setter.SetText(*made, "role", message.role, known_role ? Origin::kTemplate : Origin::kRequest);
  if (message.content.has_value()) {
    setter.SetText(*made, "content", message.content);
  } else {
    setter.Set(*made, "content", Value::None());
  }
  setter.SetText(*made, "name", message.name);
  setter.SetText(*made, "tool_call_id", message.tool_call_id);
  setter.SetText(*made, "reasoning_content", message.reasoning_content);
  if (message.tool_calls.has_value()) {
    ASSIGN_OR_RETURN(const Value calls, ParseAs(Value::Kind::kList, StrCat(field, ".tool_calls"),
                                                *message.tool_calls, workspace));
    setter.Set(*made, "tool_calls", calls);
  }
  return Value::OfDict(made);
}

// Cuts behind the last message's content, so that the model goes on with it.
absl::StatusOr<MarkedText> EndInMessage(const MarkedText& text, const std::string& content) {
  // As transformers does: templates may have trimmed it.
  const MarkedText::Range inside = chat::Stripped(content, chat::Side::kBoth, std::nullopt);
  const std::string_view trimmed =
      std::string_view(content).substr(inside.begin, inside.end - inside.begin);
  // Only where the request wrote it: what the template wrote may spell the same.
  const std::string_view bytes = text.bytes();
  const auto& written = text.from_request();
  for (auto range = written.rbegin(); range != written.rend(); ++range) {
    const std::string_view part = bytes.substr(range->begin, range->end - range->begin);
    const size_t found = trimmed.empty() ? part.npos : chat::FindLastText(part, trimmed);
    if (found == part.npos) continue;
    const std::string_view whole = std::string_view(content).substr(inside.begin);
    const bool untrimmed = part.substr(found).starts_with(whole);
    const size_t bytes_kept = untrimmed ? whole.size() : trimmed.size();
    return text.Sub({0, range->begin + found + bytes_kept});
  }
  return absl::InvalidArgumentError(
      "messages.continue_final_message: the template does not write the last message's content");
}

}  // namespace

ChatTemplates::ChatTemplates(std::vector<Source> sources, SpecialTexts special_texts)
    : special_texts_(std::move(special_texts)) {
  for (Source& source : sources) {
    templates_.push_back(
        {std::move(source.name), chat::JinjaTemplate::Parse(std::move(source.text))});
  }
}

const ChatTemplates::Named* ChatTemplates::Find(std::string_view name) const {
  const auto found = std::find_if(templates_.begin(), templates_.end(),
                                  [name](const Named& named) { return named.name == name; });
  return found == templates_.end() ? nullptr : &*found;
}

bool ChatTemplates::HasDefault() const {
  const Named* const found = Find(kDefault);
  return found != nullptr && found->parsed.ok();
}

absl::StatusOr<const chat::JinjaTemplate*> ChatTemplates::Choose(const ChatPrompt& chat) const {
  const Named* named = nullptr;
  if (!chat.template_name.empty()) {
    named = Find(chat.template_name);
    if (named == nullptr) {
      std::string names;
      for (const Named& each : templates_) names += StrCat(names.empty() ? "" : ", ", each.name);
      return absl::InvalidArgumentError(
          StrCat("messages.template_name is \"", Escaped(chat.template_name),
                 "\", but the model's chat templates are: ", names.empty() ? "none" : names));
    }
  } else {
    if (!chat.tools.empty()) named = Find(kToolUse);
    if (named == nullptr) named = Find(kDefault);
    if (named == nullptr) {
      return absl::InvalidArgumentError(
          "the model has no chat template: give messages.template, or a prompt as text");
    }
  }
  if (!named->parsed.ok()) {
    return WithField(StrCat("the model's chat template \"", Escaped(named->name),
                            "\" cannot be used, give messages.template in its place"),
                     named->parsed.status());
  }
  return &*named->parsed;
}

absl::StatusOr<RenderedChat> ChatTemplates::Render(const ChatPrompt& chat, int64_t now_s) const {
  std::optional<chat::JinjaTemplate> own;
  const chat::JinjaTemplate* chosen = nullptr;
  if (chat.template_source.empty()) {
    ASSIGN_OR_RETURN(chosen, Choose(chat));
  } else {
    auto parsed = chat::JinjaTemplate::Parse(chat.template_source);
    if (!parsed.ok()) return WithField("messages.template", parsed.status());
    chosen = &own.emplace(*std::move(parsed));
  }

  Workspace workspace(now_s);
  Setter setter(workspace);
  Dict variables;
  std::vector<Value> messages;
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    ASSIGN_OR_RETURN(
        const Value message,
        MakeMessage(chat.messages[i], StrCat("messages.messages[", i, "]"), workspace));
    messages.push_back(message);
  }
  ASSIGN_OR_RETURN(const Value list, workspace.List(std::move(messages)));
  setter.Set(variables, "messages", list);
  setter.Set(variables, "add_generation_prompt", Value::Bool(chat.add_generation_prompt));
  setter.SetText(variables, "bos_token", special_texts_.bos, Origin::kTemplate);
  setter.SetText(variables, "eos_token", special_texts_.eos, Origin::kTemplate);
  Value tools = Value::None();
  if (!chat.tools.empty()) {
    ASSIGN_OR_RETURN(tools, ParseAs(Value::Kind::kList, "messages.tools", chat.tools, workspace));
  }
  setter.Set(variables, "tools", tools);
  setter.Set(variables, "documents", Value::None());
  if (!chat.template_arguments.empty()) {
    ASSIGN_OR_RETURN(const Value arguments,
                     ParseAs(Value::Kind::kDict, "messages.template_arguments",
                             chat.template_arguments, workspace));
    for (const Dict::Entry& entry : arguments.dict().entries()) {
      const std::string& name = entry.key.text().bytes();
      // Documents are for these arguments to give.
      if (name != "documents" && variables.Find(name) != nullptr) {
        return absl::InvalidArgumentError(
            StrCat("messages.template_arguments must not hold \"", name, "\""));
      }
      variables.Set(entry.key, entry.value);
    }
  }

  auto text = chosen->Render(variables, workspace);
  if (!text.ok()) return WithField("messages", text.status());
  if (chat.continue_final_message) {
    ASSIGN_OR_RETURN(*text, EndInMessage(*text, *chat.messages.back().content));
  }
  return RenderedChat{.text = *std::move(text), .template_source = chosen->source()};
}

}  // namespace baton
