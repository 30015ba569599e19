#include "config/print_config.h"

#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "config/key_table.h"
#include "config/quoted.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kColumns = 100;

std::vector<std::string> SplitAt(const std::string& text, char separator) {
  return absl::StrSplit(text, separator);
}

// `text` as comment lines of at most kColumns.
void AppendComment(std::string_view indent, const std::string& text, std::string& yaml) {
  std::string line = StrCat(indent, "#");
  for (const std::string& word : SplitAt(text, ' ')) {
    if (line.size() + 1 + word.size() > kColumns) {
      yaml += StrCat(line, "\n");
      line = StrCat(indent, "#");
    }
    line += StrCat(" ", word);
  }
  yaml += StrCat(line, "\n");
}

void AppendModels(const std::vector<ModelOptions>& models, std::string& yaml) {
  yaml += StrCat("\n");
  AppendComment(
      "",
      "Models to load (GGUF files): language models, and encoders (architecture bert) "
      "that embed or rerank; the first of a kind is its default. Without a name a model gets its "
      "file's. An encoder may have a question_prefix and a passage_prefix, as embedder "
      "below.",
      yaml);
  if (models.empty()) {
    yaml += StrCat("#   - {name: tiny, path: models/tiny.gguf}\nmodels: []\n");
    return;
  }
  yaml += StrCat("models:\n");
  for (const ModelOptions& model : models) {
    yaml += StrCat("  - {name: ", Quoted(model.name), ", path: ", Quoted(model.path));
    if (!model.question_prefix.empty()) {
      yaml += StrCat(", question_prefix: ", Quoted(model.question_prefix));
    }
    if (!model.passage_prefix.empty()) {
      yaml += StrCat(", passage_prefix: ", Quoted(model.passage_prefix));
    }
    yaml += "}\n";
  }
}

}  // namespace

std::string CommentedYaml(const Config& config) {
  Config values = config;
  Config defaults;
  const std::vector<ConfigKey> keys = Keys(values);
  const std::vector<ConfigKey> default_keys = Keys(defaults);

  std::string yaml =
      "# Configuration of batond. What is left out has its default; an unknown key, a wrong type "
      "or\n"
      "# a value out of its range keeps the daemon from starting.\n";
  std::vector<std::string> open;  // the sections around the last key
  for (size_t i = 0; i < keys.size(); ++i) {
    std::vector<std::string> sections = SplitAt(keys[i].path, '.');
    const std::string name = std::move(sections.back());
    sections.pop_back();
    if (sections != open) {
      // Models stand between the executors and what works on them.
      if (!open.empty() && open[0] == "executors" && sections[0] != "executors") {
        AppendModels(values.models, yaml);
      }
      yaml += StrCat("\n");
      for (size_t depth = 0; depth < sections.size(); ++depth) {
        if (depth < open.size() && open[depth] == sections[depth]) continue;
        yaml += StrCat(std::string(2 * depth, ' '), sections[depth], ":\n");
      }
      open = sections;
    }
    const std::string indent(2 * sections.size(), ' ');
    AppendComment(
        indent,
        StrCat(keys[i].help, " (", Allowed(keys[i]), "; default ", Shown(default_keys[i]), ")"),
        yaml);
    yaml += StrCat(indent, name, ": ", Shown(keys[i]), "\n");
  }
  return yaml;
}

}  // namespace baton
