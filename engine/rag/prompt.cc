#include "engine/rag/prompt.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/rag/answer.h"
#include "engine/rag/sentences.h"

namespace baton {
namespace {

// The same for every question, and ended by an empty line so that no tokenizer joins its last token
// with what follows. Short, because small models have contexts of a few hundred tokens.
constexpr std::string_view kHead =
    "Answer the question from the numbered passages only and cite them like [1]. If they do not "
    "hold the answer, say: Not in the documents.\n\n";
static_assert(kHead.find(kRefusal) != kHead.npos);

// A model that only continues text is led to an answer, one that chats is asked.
std::string PromptText(std::string_view head, std::span<const PromptPassage> passages,
                       std::string_view question, bool chats) {
  std::string text(head);
  for (size_t i = 0; i < passages.size(); ++i) {
    text += "[" + std::to_string(i + 1) + "] ";
    if (!passages[i].title.empty()) text.append(passages[i].title).append(": ");
    text.append(passages[i].text).append("\n\n");
  }
  text.append("Question: ").append(question);
  if (!chats) text.append("\nAnswer:");
  return text;
}

// Byte lengths of the beginnings of `text` that end with a sentence, or else with a word.
std::vector<size_t> SentenceCuts(std::string_view text) {
  std::vector<size_t> cuts;
  for (const Sentence& sentence : SplitSentences(text)) {
    if (!sentence.heading) cuts.push_back(static_cast<size_t>(sentence.range.end));
  }
  return cuts;
}
std::vector<size_t> WordCuts(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  std::vector<size_t> cuts;
  for (size_t i = 1; i < text.size(); ++i) {
    const bool space = kSpaces.find(text[i]) != std::string_view::npos;
    if (space && kSpaces.find(text[i - 1]) == std::string_view::npos) cuts.push_back(i);
  }
  return cuts;
}

class Builder {
 public:
  Builder(const PromptEncoder& encoder, std::string_view question, size_t token_budget)
      : encoder_(encoder), question_(question), token_budget_(token_budget) {}

  // The most passages that fit behind `head`; the first one cut where it does not fit whole.
  absl::StatusOr<std::optional<BuiltPrompt>> WithPassages(
      std::string_view head, std::span<const PromptPassage> passages) const {
    if (passages.empty()) return std::optional<BuiltPrompt>();
    auto whole =
        Longest(passages.size(), [&](size_t count) { return Encode(head, passages.first(count)); });
    if (!whole.ok() || whole->has_value()) return whole;
    for (const auto& cuts : {SentenceCuts(passages[0].text), WordCuts(passages[0].text)}) {
      auto shortened = Longest(cuts.size(), [&](size_t count) {
        const PromptPassage cut = {passages[0].title, passages[0].text.substr(0, cuts[count - 1])};
        return Encode(head, {&cut, 1});
      });
      if (!shortened.ok()) return shortened;
      if (shortened->has_value()) {
        (*shortened)->cut = true;
        return shortened;
      }
    }
    return std::optional<BuiltPrompt>();
  }

  absl::StatusOr<BuiltPrompt> Encode(std::string_view head,
                                     std::span<const PromptPassage> passages) const {
    ASSIGN_OR_RETURN(std::vector<TokenId> tokens,
                     encoder_.Encode(PromptText(head, passages, question_, encoder_.chats())));
    return BuiltPrompt{.tokens = std::move(tokens),
                       .passages_used = static_cast<int>(passages.size()),
                       .cut = false};
  }
  bool Fits(const BuiltPrompt& prompt) const { return prompt.tokens.size() <= token_budget_; }

 private:
  // The prompt of the largest count in [1, count_max] that fits. More text is never fewer tokens,
  // so the count is found by halving; all of it, the usual case, is tried first.
  absl::StatusOr<std::optional<BuiltPrompt>> Longest(
      size_t count_max, const std::function<absl::StatusOr<BuiltPrompt>(size_t)>& build) const {
    std::optional<BuiltPrompt> best;
    size_t fits = 0;
    size_t too_long = count_max + 1;
    size_t count = count_max;
    while (fits + 1 < too_long) {
      ASSIGN_OR_RETURN(BuiltPrompt prompt, build(count));
      if (Fits(prompt)) {
        fits = count;
        best = std::move(prompt);
      } else {
        too_long = count;
      }
      count = fits + (too_long - fits) / 2;
    }
    return best;
  }

  const PromptEncoder& encoder_;
  const std::string_view question_;
  const size_t token_budget_;
};

}  // namespace

absl::StatusOr<std::vector<TokenId>> PromptEncoder::Encode(std::string text) const {
  if (templates_ == nullptr) return EncodePrompt(tokenizer_, text);
  ChatPrompt chat;
  chat.messages.push_back({.role = "user", .content = std::move(text)});
  ASSIGN_OR_RETURN(const RenderedChat rendered, templates_->Render(chat, now_s_));
  return EncodeChatPrompt(tokenizer_, rendered);
}

absl::StatusOr<BuiltPrompt> BuildPrompt(const PromptEncoder& encoder, std::string_view question,
                                        std::span<const PromptPassage> passages,
                                        int32_t token_budget) {
  const Builder builder(encoder, question, token_budget > 0 ? token_budget : 0);
  auto whole = builder.WithPassages(kHead, passages);
  RETURN_IF_ERROR(whole.status());
  if (whole->has_value()) return **std::move(whole);
  const size_t first = std::min<size_t>(passages.size(), 1);
  auto headless = builder.WithPassages("", passages.first(first));
  RETURN_IF_ERROR(headless.status());
  if (headless->has_value()) return **std::move(headless);
  BuiltPrompt bare;
  for (std::string_view head : {kHead, std::string_view()}) {
    ASSIGN_OR_RETURN(bare, builder.Encode(head, {}));
    if (builder.Fits(bare)) return bare;
  }
  return absl::InvalidArgumentError(StrCat("question takes ", bare.tokens.size(),
                                           " tokens, but only ", token_budget,
                                           " are left for the prompt in the model's context"));
}

}  // namespace baton
