#include "engine/base/yaml_reader.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <system_error>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/yaml_documents.h"

namespace baton {

absl::Status YamlReader::Error(const YAML::Node& at, std::string_view message) const {
  const int line = at.Mark().line;  // from 0; -1: not known
  return absl::InvalidArgumentError(line < 0 ? StrCat(name_, ": ", message)
                                             : StrCat(name_, ":", line + 1, ": ", message));
}

absl::Status YamlReader::ReadMap(const YAML::Node& map, const std::string& path,
                                 const std::vector<Key>& keys) const {
  if (!map.IsMap()) {
    return Error(map, StrCat(path.empty() ? "the file" : path, " must be a map of keys"));
  }
  const auto path_of = [&](const std::string& key) {
    return path.empty() ? key : StrCat(path, ".", key);
  };
  std::set<std::string> seen;
  for (const auto& entry : map) {
    if (!entry.first.IsScalar()) return Error(entry.first, "a key must be a plain name");
    const std::string& name = entry.first.Scalar();
    const auto key = std::find_if(keys.begin(), keys.end(),
                                  [&](const Key& known) { return known.name == name; });
    if (key == keys.end()) {
      std::string known;
      for (const Key& other : keys) known += (known.empty() ? "" : ", ") + other.name;
      return Error(entry.first,
                   StrCat("unknown key \"", Escaped(path_of(name)), "\"; keys there are: ", known));
    }
    if (!seen.insert(name).second) {
      return Error(entry.first, StrCat(path_of(name), " is given twice"));
    }
    RETURN_IF_ERROR(key->read(entry.second, path_of(name)));
  }
  for (const Key& key : keys) {
    if (key.required && !seen.contains(key.name)) {
      return Error(map, StrCat(path_of(key.name), " is missing"));
    }
  }
  return absl::OkStatus();
}

absl::Status YamlReader::ReadList(const YAML::Node& list, const std::string& path, Range entries,
                                  const Read& read) const {
  const auto count = static_cast<double>(list.size());
  if (!list.IsSequence() || count < entries.min || count > entries.max) {
    return Error(list,
                 StrCat(path, " must be a list of ", entries.min, " to ", entries.max, " entries"));
  }
  size_t index = 0;
  for (const YAML::Node& entry : list) {
    RETURN_IF_ERROR(read(entry, StrCat(path, "[", index++, "]")));
  }
  return absl::OkStatus();
}

absl::Status YamlReader::ReadNumber(const YAML::Node& value, const std::string& path, Range range,
                                    bool whole, double& number) const {
  const std::string wanted = StrCat(path, " must be ", whole ? "an integer" : "a number", ", ",
                                    range.min, " to ", range.max, ", but ");
  if (!value.IsScalar()) return Error(value, StrCat(wanted, "is none"));
  const std::string& text = value.Scalar();
  double read = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(read) ||
      (whole && read != std::floor(read)) || value.Tag() == "!") {
    return Error(value, StrCat(wanted, "is \"", Escaped(text), "\""));
  }
  if (read < range.min || read > range.max) return Error(value, StrCat(wanted, "is ", text));
  number = read;
  return absl::OkStatus();
}

absl::Status YamlReader::ReadName(const YAML::Node& value, const std::string& path,
                                  std::string& name) const {
  if (!value.IsScalar() || !IsPlainName(value.Scalar())) {
    return Error(value, StrCat(path, " must be a name of 1 to 128 characters of [A-Za-z0-9_.:-]"));
  }
  name = value.Scalar();
  return absl::OkStatus();
}

YamlReader::Key YamlReader::PlainName(std::string name, std::string& field, bool required) const {
  return {std::move(name),
          [this, &field](const YAML::Node& value, const std::string& path) {
            return ReadName(value, path, field);
          },
          required};
}

YamlReader::Key YamlReader::Boolean(std::string name, bool& field) const {
  return {std::move(name), [this, &field](const YAML::Node& value, const std::string& path) {
            const std::string text = value.IsScalar() ? value.Scalar() : "";
            if (text != "true" && text != "false") {
              return Error(value, StrCat(path, " must be true or false"));
            }
            field = text == "true";
            return absl::OkStatus();
          }};
}

YamlReader::Key YamlReader::List(std::string name, Range entries, Read read, bool required) const {
  return {std::move(name),
          [this, entries, read = std::move(read)](const YAML::Node& list, const std::string& path) {
            return ReadList(list, path, entries, read);
          },
          required};
}

absl::Status ReadYamlDocument(
    const std::string& text, const std::string& name,
    const std::function<absl::Status(const YamlReader& reader, const YAML::Node& root)>& read) {
  // Where yaml-cpp's exceptions end.
  try {
    const int documents = CountYamlDocuments(text);
    if (documents != 1) {
      return absl::InvalidArgumentError(StrCat(name, ": must hold one YAML document, but holds ",
                                               documents == 0 ? "none" : "more"));
    }
    return read(YamlReader(name), YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        StrCat(name, ":", error.mark.line + 1, ": not valid YAML: ", error.msg));
  }
}

}  // namespace baton
