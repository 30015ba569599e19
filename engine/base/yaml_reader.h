#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/options.h"
#include "yaml-cpp/yaml.h"

namespace baton {

// Reads one YAML document whose keys are declared where their values go. Errors are
// INVALID_ARGUMENT and name the file, the line and the key by its path, as in "devices[1].name".
// All of its functions may throw YAML::Exception, which ReadYamlDocument turns into an error.
class YamlReader {
 public:
  using Read = std::function<absl::Status(const YAML::Node& value, const std::string& path)>;

  // One key of a map, what it must be, and where it goes.
  struct Key {
    std::string name;
    Read read;
    bool required = false;
  };

  // Errors call the document `name`, which outlives the reader.
  explicit YamlReader(const std::string& name) : name_(name) {}

  absl::Status Error(const YAML::Node& at, std::string_view message) const;

  // A map that has no keys but these, each once. `path` is empty at the root.
  absl::Status ReadMap(const YAML::Node& map, const std::string& path,
                       const std::vector<Key>& keys) const;
  // A list of `entries.min` to `entries.max`.
  absl::Status ReadList(const YAML::Node& list, const std::string& path, Range entries,
                        const Read& read) const;
  absl::Status ReadNumber(const YAML::Node& value, const std::string& path, Range range, bool whole,
                          double& number) const;
  // As IsPlainName has it.
  absl::Status ReadName(const YAML::Node& value, const std::string& path, std::string& name) const;

  // Keys of the kinds there are. A field may be an std::optional, which tells whether it was given.
  template <class T>
  Key Number(std::string name, T& field, Range range, bool required = false) const {
    return {std::move(name),
            [this, &field, range](const YAML::Node& value, const std::string& path) {
              double number = 0;
              absl::Status read = ReadNumber(value, path, range, false, number);
              if (read.ok()) field = number;
              return read;
            },
            required};
  }
  template <class T>
  Key Integer(std::string name, T& field, Range range) const {
    return {std::move(name),
            [this, &field, range](const YAML::Node& value, const std::string& path) {
              double number = 0;
              absl::Status read = ReadNumber(value, path, range, true, number);
              if (read.ok()) field = static_cast<int64_t>(number);
              return read;
            }};
  }
  Key PlainName(std::string name, std::string& field, bool required) const;
  Key Boolean(std::string name, bool& field) const;
  // One of `choices`, as their Name says them.
  template <class T>
  Key Choice(std::string name, T& field, std::vector<T> choices) const {
    return {std::move(name),
            [this, &field, choices](const YAML::Node& value, const std::string& path) {
              std::string names;
              for (const T choice : choices) {
                if (value.IsScalar() && value.Scalar() == Name(choice)) {
                  field = choice;
                  return absl::OkStatus();
                }
                names += (names.empty() ? "" : ", ");
                names += Name(choice);
              }
              return Error(value, path + " must be one of: " + names);
            },
            true};
  }
  Key List(std::string name, Range entries, Read read, bool required) const;

 private:
  const std::string& name_;
};

// Has `read` read the only document of `text`, which errors call `name`.
absl::Status ReadYamlDocument(
    const std::string& text, const std::string& name,
    const std::function<absl::Status(const YamlReader& reader, const YAML::Node& root)>& read);

}  // namespace baton
