#include "config/command_line.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "config/key_table.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

TEST_CASE("every key is a flag") {
  Config defaults;
  for (const ConfigKey& key : Keys(defaults)) {
    INFO(key.path);
    std::string value = Shown(key);
    if (key.is_string()) value = value.substr(1, value.size() - 2);
    if (key.is_list()) value = key.allowed.empty() ? "anything" : key.allowed.front();
    REQUIRE_OK(ParseCommandLine({"--" + key.path + "=" + value}));
    REQUIRE_OK(ParseCommandLine({"--" + key.path, value}));
    CHECK_THAT(HelpText(), Catch::Matchers::Contains("--" + key.path + "="));
  }
}

TEST_CASE("flags win over the file, wherever --config stands") {
  const TempDir dir;
  const std::string path = dir.Write("batond.yaml",
                                     "vector: {data_dir: from-file, seal_points: 99}\n"
                                     "models: [{path: a.gguf}]\n");
  const auto command =
      ParseCommandLine({"--data-dir", "from-flag", "--model=m=b.gguf", "--model", "c.gguf",
                        "--config", path, "--require=cpu,gpu", "--grpc-address=127.0.0.1:0",
                        "--http-address=[::1]:0", "--port-file=ports"});
  REQUIRE_OK(command);
  CHECK(command->action == CommandLine::Action::kServe);
  CHECK(command->config.vector.data_dir == "from-flag");
  CHECK(command->config.vector.seal_points == 99);
  CHECK(command->config.models == std::vector<ModelOptions>{{"m", "b.gguf"}, {"c", "c.gguf"}});
  CHECK(command->config.executors.require == std::vector<std::string>{"cpu", "gpu"});
  CHECK(command->config.server.grpc_address == "127.0.0.1:0");
  CHECK(command->config.server.http_address == "[::1]:0");
  CHECK(command->port_file == "ports");
  REQUIRE(ParseCommandLine({"--config", path})->config.models ==
          std::vector<ModelOptions>{{"a", "a.gguf"}});
}

TEST_CASE("what to do instead of serving") {
  CHECK(ParseCommandLine({"--help"})->action == CommandLine::Action::kHelp);
  CHECK(ParseCommandLine({"-h"})->action == CommandLine::Action::kHelp);
  CHECK(ParseCommandLine({"--version"})->action == CommandLine::Action::kVersion);
  CHECK(ParseCommandLine({"--print-config"})->action == CommandLine::Action::kPrintConfig);
  CHECK(ParseCommandLine({"--print-metrics"})->action == CommandLine::Action::kPrintMetrics);
  CHECK(ParseCommandLine({})->action == CommandLine::Action::kServe);
}

TEST_CASE("a wrong command line is refused, naming the flag and the bound") {
  const TempDir dir;
  const std::string overlap = dir.Write("overlap.yaml", "rag:\n  passage_overlap_chars: 300\n");
  const std::string chars = dir.Write("chars.yaml", "\nrag:\n  passage_chars_max: 64\n");
  struct Case {
    std::vector<std::string> arguments;
    std::string part;
  };
  const std::vector<Case> cases = {
      {{"--route.balanced.queue=0.5"},
       "--route.balanced.queue: route.balanced: its four weights must add up to 1, but add up to "},
      {{"--health.temperature_c_max=70"},
       "--health.temperature_c_max: health.temperature_c_cool must be at most "
       "health.temperature_c_max (70), but is 80"},
      {{"--power.node_budget_w=-1"}, "power.node_budget_w must be a number, 0 to"},
      {{"--route.platforms.embed=tpu"}, "route.platforms.embed must be"},
      {{"--vector.data_dri=x"}, "unknown flag --vector.data_dri"},
      {{"--"}, "unexpected argument \"--\""},
      {{"config.yaml"}, "unexpected argument \"config.yaml\""},
      {{"--config"}, "--config needs a value"},
      {{"--config=a", "--config=b"}, "--config is given twice"},
      {{"--config", dir.File("absent.yaml")}, "absent.yaml"},
      {{"--help=yes"}, "--help takes no value"},
      {{"--schedule.step_tokens_max=0"},
       "--schedule.step_tokens_max: schedule.step_tokens_max must "
       "be an integer, 1 to 65536, but is 0"},
      {{"--data-dir="}, "--data-dir: vector.data_dir must be the path of a directory"},
      {{"--require=gpu,tpu"}, "--require: executors.require must be a list of: cpu, gpu, fpga"},
      {{"--model="}, "--model: models.path"},
      {{"--model=a=x", "--model=a=y"}, "--model: models.name"},
      {{"--rag.passage_overlap_chars=300"}, "--rag.passage_overlap_chars: "},
      {{"--config", overlap},
       "overlap.yaml:2: rag.passage_overlap_chars must be less than half of"},
      {{"--config", chars}, "chars.yaml:3: rag.passage_overlap_chars must be less than half of"},
  };
  for (const Case& c : cases) {
    INFO(c.part);
    const auto command = ParseCommandLine(c.arguments);
    REQUIRE_FALSE(command.ok());
    CHECK_THAT(std::string(command.status().message()), Catch::Matchers::Contains(c.part));
    CHECK(command.status().message().find('\n') == std::string_view::npos);
  }
}

}  // namespace
}  // namespace baton
