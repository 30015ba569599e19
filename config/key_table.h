#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "config/config.h"

namespace baton {

// One configurable value. `field` points into the Config it was made from.
struct ConfigKey {
  using Field =
      std::variant<bool*, int32_t*, int64_t*, double*, std::string*, std::vector<std::string>*>;
  std::string path;  // "schedule.step_tokens_max"
  Field field;
  std::optional<Range> range;        // of a number
  std::vector<std::string> allowed;  // values of a string or of a list's items; empty: any
  std::string help;

  bool is_string() const { return std::holds_alternative<std::string*>(field); }
  bool is_list() const { return std::holds_alternative<std::vector<std::string>*>(field); }
};

// Every key of `config`, section by section in the order of ForEachSection. The file, the flags,
// the help and the printed configuration all go by this one table.
std::vector<ConfigKey> Keys(Config& config);

// Sets a scalar key, or the only item of a list, from its text. INVALID_ARGUMENT names the key, the
// bound and the text. Independent of the locale.
absl::Status Assign(const ConfigKey& key, std::string_view text);
// Sets a list key. Items must differ.
absl::Status AssignList(const ConfigKey& key, const std::vector<std::string>& items);

// What the key takes, in words: "an integer, 1 to 65536", "one of: text, json".
std::string Allowed(const ConfigKey& key);
// The value as YAML that Assign, or AssignList item by item, reads back.
std::string Shown(const ConfigKey& key);

}  // namespace baton
