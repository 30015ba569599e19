#include "config/key_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>
#include <type_traits>

#include "absl/strings/str_join.h"
#include "config/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// The shortest text that reads back as `value`; integers without an exponent.
std::string ShownNumber(double value) {
  char buffer[32];
  const bool whole = std::nearbyint(value) == value && std::abs(value) < 1e15;
  const auto format = whole ? std::chars_format::fixed : std::chars_format::general;
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, format).ptr;
  return std::string(buffer, end);
}

class Collector {
 public:
  Collector(std::string_view section, std::vector<ConfigKey>& keys)
      : section_(section), keys_(keys) {}

  template <class T, class Bound>
  void operator()(std::string_view name, T& field, const Bound& bound, std::string_view help) {
    ConfigKey key{.path = StrCat(section_, ".", name),
                  .field = &field,
                  .range = std::nullopt,
                  .allowed = {},
                  .help = std::string(help)};
    if constexpr (std::is_same_v<Bound, Range>) {
      static_assert(std::is_same_v<T, int32_t> || std::is_same_v<T, int64_t> ||
                    std::is_same_v<T, double>);
      key.range = bound;
    } else if constexpr (std::is_same_v<Bound, OneOf>) {
      static_assert(std::is_same_v<T, std::string> || std::is_same_v<T, std::vector<std::string>>);
      key.allowed = bound.values;
    }
    keys_.push_back(std::move(key));
  }

 private:
  std::string_view section_;
  std::vector<ConfigKey>& keys_;
};

absl::Status Refuse(const ConfigKey& key, std::string_view text) {
  return absl::InvalidArgumentError(StrCat(key.path, " must be ", Allowed(key), ", but is ", text));
}

// A number that overflows its type is refused like any other out of range.
template <class T>
absl::Status AssignNumber(const ConfigKey& key, T* field, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool parsed = error == std::errc() && end == text.data() + text.size();
  if (!parsed || !std::isfinite(static_cast<double>(value))) return Refuse(key, Quoted(text));
  const auto number = static_cast<double>(value);
  if (key.range.has_value() && (number < key.range->min || number > key.range->max)) {
    return Refuse(key, text);
  }
  *field = value;
  return absl::OkStatus();
}

absl::Status CheckAllowed(const ConfigKey& key, std::string_view text) {
  if (text.find('\0') != text.npos) return Refuse(key, Quoted(text));
  if (!key.allowed.empty() && std::ranges::find(key.allowed, text) == key.allowed.end()) {
    return Refuse(key, Quoted(text));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<ConfigKey> Keys(Config& config) {
  std::vector<ConfigKey> keys;
  ForEachSection(config, [&keys](std::string_view section, auto& options) {
    Collector collector(section, keys);
    options.Describe(collector);
  });
  return keys;
}

absl::Status Assign(const ConfigKey& key, std::string_view text) {
  if (auto* const* field = std::get_if<bool*>(&key.field)) {
    if (text != "true" && text != "false") return Refuse(key, Quoted(text));
    **field = text == "true";
    return absl::OkStatus();
  }
  if (auto* const* field = std::get_if<int32_t*>(&key.field))
    return AssignNumber(key, *field, text);
  if (auto* const* field = std::get_if<int64_t*>(&key.field))
    return AssignNumber(key, *field, text);
  if (auto* const* field = std::get_if<double*>(&key.field)) return AssignNumber(key, *field, text);
  if (auto* const* field = std::get_if<std::string*>(&key.field)) {
    RETURN_IF_ERROR(CheckAllowed(key, text));
    **field = text;
    return absl::OkStatus();
  }
  return AssignList(key, {std::string(text)});
}

absl::Status AssignList(const ConfigKey& key, const std::vector<std::string>& items) {
  if (!key.is_list()) return Refuse(key, "a list");
  for (size_t i = 0; i < items.size(); ++i) {
    RETURN_IF_ERROR(CheckAllowed(key, items[i]));
    if (std::find(items.begin(), items.begin() + i, items[i]) != items.begin() + i) {
      return absl::InvalidArgumentError(StrCat(key.path, " names ", Quoted(items[i]), " twice"));
    }
  }
  *std::get<std::vector<std::string>*>(key.field) = items;
  return absl::OkStatus();
}

std::string Allowed(const ConfigKey& key) {
  std::string kind;
  if (std::holds_alternative<bool*>(key.field)) return "true or false";
  if (key.is_string() || key.is_list()) {
    if (!key.allowed.empty()) {
      return StrCat(key.is_list() ? "a list of: " : "one of: ", absl::StrJoin(key.allowed, ", "));
    }
    return key.is_list() ? "a list of strings" : "a string";
  }
  kind = std::holds_alternative<double*>(key.field) ? "a number" : "an integer";
  if (!key.range.has_value()) return kind;
  return StrCat(kind, ", ", ShownNumber(key.range->min), " to ", ShownNumber(key.range->max));
}

std::string Shown(const ConfigKey& key) {
  return std::visit(
      [](const auto* field) -> std::string {
        using T = std::remove_cvref_t<decltype(*field)>;
        if constexpr (std::is_same_v<T, bool>) {
          return *field ? "true" : "false";
        } else if constexpr (std::is_same_v<T, std::string>) {
          return Quoted(*field);
        } else if constexpr (std::is_same_v<T, double>) {
          return ShownNumber(*field);
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          std::vector<std::string> quoted;
          for (const std::string& item : *field) quoted.push_back(Quoted(item));
          return StrCat("[", absl::StrJoin(quoted, ", "), "]");
        } else {
          return StrCat(*field);
        }
      },
      key.field);
}

}  // namespace baton
