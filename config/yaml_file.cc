#include "config/yaml_file.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "config/key_table.h"
#include "config/models.h"
#include "config/quoted.h"
#include "config/text_file.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/yaml_documents.h"
#include "yaml-cpp/yaml.h"

namespace baton {
namespace {

std::string_view KindOf(const YAML::Node& node) {
  if (node.IsMap()) return "a map";
  if (node.IsSequence()) return "a list";
  return "nothing";
}

// Walks one document. All of its functions may throw YAML::Exception.
class Reader {
 public:
  Reader(const std::string& path, Config& config, Origins& origins)
      : path_(path), keys_(Keys(config)), config_(config), origins_(origins) {}

  absl::Status ReadRoot(const YAML::Node& root) {
    if (root.IsNull()) return absl::OkStatus();  // an empty file, or comments alone
    return ReadSection(root, "");
  }

 private:
  std::string At(const YAML::Node& node) const {
    const int line = node.Mark().line;  // from 0; -1: not known
    return line < 0 ? path_ : StrCat(path_, ":", line + 1);
  }

  absl::Status Error(const YAML::Node& at, std::string_view message) const {
    return absl::InvalidArgumentError(StrCat(At(at), ": ", message));
  }

  // `section` is a path ending in a dot, or empty for the whole document.
  absl::Status ReadSection(const YAML::Node& node, const std::string& section) {
    if (!node.IsMap()) {
      return Error(node, section.empty() ? StrCat("the file must hold sections of keys")
                                         : StrCat(section.substr(0, section.size() - 1),
                                                  " must be a section of keys"));
    }
    std::set<std::string> seen;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) return Error(entry.first, "a key must be a plain name");
      const std::string name = entry.first.Scalar();
      const std::string key_path = StrCat(section, name);
      if (!seen.insert(name).second) {
        return Error(entry.first, StrCat(key_path, " is given twice"));
      }
      RETURN_IF_ERROR(ReadEntry(entry.first, entry.second, key_path, section));
    }
    return absl::OkStatus();
  }

  absl::Status ReadEntry(const YAML::Node& name, const YAML::Node& value,
                         const std::string& key_path, const std::string& section) {
    origins_[key_path] = At(name);
    if (key_path == "models") return ReadModels(value);
    const auto key = std::ranges::find(keys_, key_path, &ConfigKey::path);
    if (key != keys_.end()) return ReadKey(name, value, *key);
    const std::string as_section = StrCat(key_path, ".");
    if (std::ranges::any_of(keys_, [&](const ConfigKey& candidate) {
          return absl::StartsWith(candidate.path, as_section);
        })) {
      // A section whose keys are all commented out.
      if (value.IsNull()) return absl::OkStatus();
      return ReadSection(value, as_section);
    }
    return Error(name, StrCat("unknown key ", Quoted(key_path), "; ", Known(section)));
  }

  absl::Status ReadKey(const YAML::Node& name, const YAML::Node& value, const ConfigKey& key) {
    if (value.IsNull()) {
      return Error(name, StrCat(key.path, " must be ", Allowed(key),
                                ", but has no value; leave the key out for its default"));
    }
    if (key.is_list() && value.IsSequence()) {
      std::vector<std::string> items;
      for (const YAML::Node& item : value) {
        if (!item.IsScalar()) {
          return Error(item,
                       StrCat(key.path, " must be ", Allowed(key), ", but holds ", KindOf(item)));
        }
        items.push_back(item.Scalar());
      }
      return Located(name, AssignList(key, items));
    }
    if (!value.IsScalar()) {
      return Error(name, StrCat(key.path, " must be ", Allowed(key), ", but is ", KindOf(value)));
    }
    const bool quoted = value.Tag() == "!";
    if (quoted && !key.is_string() && !key.is_list()) {
      return Error(name, StrCat(key.path, " must be ", Allowed(key), ", but is the string ",
                                Quoted(value.Scalar())));
    }
    return Located(name, Assign(key, value.Scalar()));
  }

  static std::string* FieldOf(ModelOptions& model, std::string_view name) {
    if (name == "name") return &model.name;
    if (name == "path") return &model.path;
    if (name == "question_prefix") return &model.question_prefix;
    if (name == "passage_prefix") return &model.passage_prefix;
    return nullptr;
  }

  absl::Status ReadModels(const YAML::Node& list) {
    config_.models.clear();
    if (list.IsNull()) return absl::OkStatus();
    if (!list.IsSequence()) {
      return Error(list, "models must be a list of {name, path}");
    }
    for (const YAML::Node& entry : list) {
      if (!entry.IsMap()) return Error(entry, "an entry of models must be {name, path}");
      ModelOptions model;
      std::set<std::string> seen;
      for (const auto& field : entry) {
        const std::string name = field.first.IsScalar() ? field.first.Scalar() : "";
        std::string* const target = FieldOf(model, name);
        if (target == nullptr) {
          return Error(field.first, StrCat("unknown key ", Quoted("models." + name),
                                           "; an entry of models has: name, path, question_prefix, "
                                           "passage_prefix"));
        }
        if (!seen.insert(name).second) {
          return Error(field.first, StrCat("models.", name, " is given twice"));
        }
        if (!field.second.IsScalar()) {
          return Error(field.first,
                       StrCat("models.", name, " must be a string, but is ", KindOf(field.second)));
        }
        *target = field.second.Scalar();
      }
      RETURN_IF_ERROR(Located(entry, AddModel(std::move(model), config_.models)));
    }
    return absl::OkStatus();
  }

  absl::Status Located(const YAML::Node& at, const absl::Status& status) const {
    return status.ok() ? status : Error(at, std::string(status.message()));
  }

  // The names that could have been meant in `section`.
  std::string Known(const std::string& section) const {
    std::vector<std::string> names;
    if (section.empty()) names.push_back("models");
    for (const ConfigKey& key : keys_) {
      if (!absl::StartsWith(key.path, section)) continue;
      const std::string rest = key.path.substr(section.size());
      const std::string name = rest.substr(0, rest.find('.'));
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
    return StrCat(section.empty() ? "sections are: " : "keys there are: ",
                  absl::StrJoin(names, ", "));
  }

  const std::string& path_;
  const std::vector<ConfigKey> keys_;
  Config& config_;
  Origins& origins_;
};

}  // namespace

absl::Status ApplyYamlFile(const std::string& path, Config& config, Origins& origins) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, "configuration file"));
  // Where yaml-cpp's exceptions end.
  try {
    const int documents = CountYamlDocuments(text);
    if (documents > 1) {
      return absl::InvalidArgumentError(
          StrCat(path, ": holds several YAML documents; only one is read"));
    }
    if (documents == 0) return absl::OkStatus();
    return Reader(path, config, origins).ReadRoot(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        StrCat(path, ":", error.mark.line + 1, ": not valid YAML: ", error.msg));
  }
}

}  // namespace baton
