#include "config/yaml_file.h"

#include <catch2/catch.hpp>
#include <clocale>
#include <string>
#include <vector>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

struct Case {
  const char* yaml;
  std::vector<const char*> parts;  // of the message
};

TEST_CASE("what a file names is set, the rest keeps its default") {
  const TempDir dir;
  const std::string path = dir.Write("batond.yaml", R"(# comment
log: {level: debug, format: json}
server:
  grpc_address: 0.0.0.0:7001
  drain_seconds_max: 5
executors:
  require: [cpu]
  cpu: {search_threads: 3}
models:
  - {name: tiny, path: models/tiny.gguf}
  - path: models/other-model.gguf
classify:
  power_budget_w: 12.5
vector:
  data_dir: "/var/lib/with space"
  graph_files: false
route:
)");
  Config config;
  Origins origins;
  REQUIRE_OK(ApplyYamlFile(path, config, origins));
  CHECK(config.log.level == "debug");
  CHECK(config.log.format == "json");
  CHECK(config.server.grpc_address == "0.0.0.0:7001");
  CHECK(config.server.drain_seconds_max == 5);
  CHECK(config.server.http_address == ServerOptions().http_address);
  CHECK(config.executors.require == std::vector<std::string>{"cpu"});
  CHECK(config.executors.cpu.search_threads == 3);
  CHECK(config.models == std::vector<ModelOptions>{{"tiny", "models/tiny.gguf"},
                                                   {"other-model", "models/other-model.gguf"}});
  CHECK(config.engine.classify.power_budget_w == 12.5);
  CHECK(config.vector.data_dir == "/var/lib/with space");
  CHECK_FALSE(config.vector.graph_files);
  CHECK(origins.at("server.drain_seconds_max") == path + ":5");
}

TEST_CASE("a file without a key sets nothing") {
  const TempDir dir;
  for (const char* yaml : {"", "# nothing\n", "---\n", "{}", "server:\n", "models:\n"}) {
    INFO(yaml);
    Config config;
    Origins origins;
    REQUIRE_OK(ApplyYamlFile(dir.Write("batond.yaml", yaml), config, origins));
    CHECK(config.server.grpc_address == ServerOptions().grpc_address);
  }
}

TEST_CASE("a wrong file is refused, naming line, key and bound") {
  const std::vector<Case> cases = {
      {"log:\n  levle: info\n", {":2:", "unknown key \"log.levle\"", "level, format"}},
      {"\n\nlogging: {}\n", {":3:", "unknown key \"logging\"", "server", "models"}},
      {"executors:\n  cpu:\n    thread: 1\n", {":3:", "executors.cpu.thread", "search_threads"}},
      {"schedule:\n  step_tokens_max: 0\n",
       {":2:", "schedule.step_tokens_max must be an integer, 1 to 65536, but is 0"}},
      {"schedule:\n  step_tokens_max: 65537\n", {":2:", "1 to 65536, but is 65537"}},
      {"schedule:\n  step_tokens_max: 99999999999999999999\n", {":2:", "1 to 65536"}},
      {"schedule:\n  step_tokens_max: -1\n", {":2:", "but is -1"}},
      {"schedule:\n  step_tokens_max: 1.5\n", {":2:", "an integer", "\"1.5\""}},
      {"schedule:\n  step_tokens_max: many\n", {":2:", "an integer", "\"many\""}},
      {"schedule:\n  step_tokens_max: \"512\"\n", {":2:", "an integer", "the string \"512\""}},
      {"schedule:\n  step_tokens_max:\n", {":2:", "has no value"}},
      {"schedule:\n  step_tokens_max: ~\n", {":2:", "has no value"}},
      {"schedule:\n  step_tokens_max: [1]\n", {":2:", "but is a list"}},
      {"schedule:\n  step_tokens_max: {a: 1}\n", {":2:", "but is a map"}},
      {"rag:\n  passage_chars_max: 3000000000\n", {":2:", "64 to 8192"}},
      {"classify:\n  power_budget_w: -0.5\n", {":2:", "a number, 0 to 100000, but is -0.5"}},
      {"classify:\n  power_budget_w: .nan\n", {":2:", "a number"}},
      {"classify:\n  power_budget_w: nan\n", {":2:", "a number"}},
      {"classify:\n  power_budget_w: inf\n", {":2:", "a number"}},
      {"classify:\n  power_budget_w: 1,5\n", {":2:", "a number", "\"1,5\""}},
      {"vector:\n  graph_files: yes\n", {":2:", "true or false", "\"yes\""}},
      {"log:\n  format: xml\n", {":2:", "one of: text, json", "\"xml\""}},
      {"log:\n  level: [info]\n", {":2:", "but is a list"}},
      {"log:\n  level: info\n  level: warn\n", {":3:", "log.level is given twice"}},
      {"log: {}\nserver: {}\nlog: {}\n", {":3:", "log is given twice"}},
      {"log: text\n", {":1:", "log must be a section"}},
      {"executors:\n  cpu: 4\n", {":2:", "executors.cpu must be a section"}},
      {"executors:\n  require: [cpu, tpu]\n", {":2:", "cpu, gpu, fpga", "\"tpu\""}},
      {"executors:\n  require: [cpu, cpu]\n", {":2:", "\"cpu\" twice"}},
      {"executors:\n  require: [[cpu]]\n", {":2:", "holds a list"}},
      {"executors:\n  require: {cpu: 1}\n", {":2:", "but is a map"}},
      {"models: x.gguf\n", {":1:", "list of {name, path}"}},
      {"models: [x.gguf]\n", {":1:", "{name, path}"}},
      {"models:\n  - {name: a}\n", {":2:", "models.path", "empty"}},
      {"models:\n  - {path: a.gguf, file: b}\n", {":2:", "models.file"}},
      {"models:\n  - {path: a.gguf, question_prefix: [q]}\n", {":2:", "models.question_prefix"}},
      {"models:\n  - {path: a.gguf, path: b.gguf}\n", {":2:", "models.path is given twice"}},
      {"models:\n  - {path: [a]}\n", {":2:", "models.path must be a string"}},
      {"models:\n  - {path: a.gguf}\n  - {name: a, path: b}\n", {":3:", "\"a\" is given twice"}},
      {"models:\n  - {name: \"a b\", path: b}\n", {":2:", "models.name", "\"a b\""}},
      {"- a\n- b\n", {":1:", "sections of keys"}},
      {"just text\n", {":1:", "sections of keys"}},
      {"[a]: b\n", {":1:", "plain name"}},
      {"log: {level: info\n", {"not valid YAML"}},
      {"log:\n\tlevel: info\n", {":2:", "not valid YAML"}},
      {"log: *nowhere\n", {":1:", "not valid YAML"}},
      {"log: &l {level: *l}\n", {":1:", "log.level"}},
      {"log: {}\n---\nlog: {}\n", {"several YAML documents"}},
      {"log: {}\n}\n", {"YAML"}},
  };
  const TempDir dir;
  for (const Case& c : cases) {
    INFO(c.yaml);
    const std::string path = dir.Write("batond.yaml", c.yaml);
    Config config;
    Origins origins;
    const absl::Status status = ApplyYamlFile(path, config, origins);
    REQUIRE_STATUS(status, absl::StatusCode::kInvalidArgument, path);
    for (const char* part : c.parts) {
      CHECK_THAT(std::string(status.message()), Catch::Matchers::Contains(part));
    }
  }
}

TEST_CASE("a file that cannot be read is an error, never a default") {
  const TempDir dir;
  Config config;
  Origins origins;
  REQUIRE_STATUS(ApplyYamlFile(dir.File("absent.yaml"), config, origins),
                 absl::StatusCode::kNotFound, "absent.yaml");
  REQUIRE_FALSE(ApplyYamlFile(dir.path(), config, origins).ok());  // a directory
  REQUIRE_STATUS(
      ApplyYamlFile(dir.Write("long.yaml", std::string((1 << 20) + 1, '#')), config, origins),
      absl::StatusCode::kInvalidArgument, "longer than");
}

TEST_CASE("numbers do not depend on the locale") {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  for (const char* locale : {"C", "de_DE.UTF-8", "de_DE.utf8"}) {
    std::setlocale(LC_ALL, locale);  // where it is not installed, nothing changes
    const TempDir dir;
    Config config;
    Origins origins;
    REQUIRE_OK(
        ApplyYamlFile(dir.Write("a.yaml", "classify: {power_budget_w: 2.5}"), config, origins));
    CHECK(config.engine.classify.power_budget_w == 2.5);
  }
  std::setlocale(LC_ALL, before.c_str());
}

}  // namespace
}  // namespace baton
