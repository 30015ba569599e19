#include "config/key_table.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

#include "config/quoted.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

TEST_CASE("every key has a name of its own, help, and a default within its bounds") {
  Config config;
  std::set<std::string> paths;
  for (const ConfigKey& key : Keys(config)) {
    INFO(key.path);
    CHECK(paths.insert(key.path).second);
    CHECK_FALSE(key.help.empty());
    CHECK(key.path.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.") ==
          std::string::npos);
    // A shown default reads back; strings are quoted for YAML, the text inside is what is assigned.
    if (key.is_list()) continue;
    std::string text = Shown(key);
    if (key.is_string()) text = text.substr(1, text.size() - 2);
    REQUIRE_OK(Assign(key, text));
  }
  CHECK(paths.size() > 40);
}

TEST_CASE("a string is quoted so that YAML reads it back") {
  CHECK(Quoted("plain") == "\"plain\"");
  CHECK(Quoted("a\"b\\c") == "\"a\\\"b\\\\c\"");
  CHECK(Quoted("line\nend\x7f") == "\"line\\x0aend\\x7f\"");
  CHECK(Quoted("Grüße") == "\"Grüße\"");
}

TEST_CASE("a path cannot hold a zero byte") {
  Config config;
  const std::vector<ConfigKey> keys = Keys(config);
  const auto key = std::ranges::find(keys, "vector.data_dir", &ConfigKey::path);
  REQUIRE(key != keys.end());
  REQUIRE_STATUS(Assign(*key, std::string_view("a\0b", 3)), absl::StatusCode::kInvalidArgument,
                 "vector.data_dir");
}

}  // namespace
}  // namespace baton
