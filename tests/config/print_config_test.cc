#include "config/print_config.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <string>

#include "config/key_table.h"
#include "config/yaml_file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

TEST_CASE("a printed configuration reads back to the same") {
  Config config;
  config.log.level = "debug";
  config.executors.require = {"cpu", "gpu"};
  config.models = {{"a", "dir/with \"quote\".gguf"}, {"b", "tab\there", "query: ", "a: \"b\""}};
  config.vector.data_dir = "back\\slash: # ünïcode";
  config.vector.graph_files = !config.vector.graph_files;
  config.engine.classify.power_budget_w = 0.1;
  config.engine.schedule.step_tokens_max = 77;

  const TempDir dir;
  Config read;
  Origins origins;
  REQUIRE_OK(ApplyYamlFile(dir.Write("batond.yaml", CommentedYaml(config)), read, origins));
  CHECK(CommentedYaml(read) == CommentedYaml(config));
  CHECK(read.models == config.models);
  CHECK(read.vector.data_dir == config.vector.data_dir);
  CHECK(read.engine.classify.power_budget_w == 0.1);
  CHECK(origins.size() > Keys(read).size());  // each key, and each section
}

TEST_CASE("config/batond.yaml is what the defaults print") {
  std::ifstream file("config/batond.yaml");  // tests run in the repository's root
  REQUIRE(file.good());
  std::stringstream text;
  text << file.rdbuf();
  INFO("print it again: batond --print-config > config/batond.yaml");
  CHECK(text.str() == CommentedYaml(Config()));
}

}  // namespace
}  // namespace baton
