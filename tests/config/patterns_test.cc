// The patterns of deploy/examples/patterns: each file loads, and work goes where the pattern says,
// with all devices there and with one of them gone.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "config/validate.h"
#include "config/yaml_file.h"
#include "engine/classify/classifier.h"
#include "engine/schedule/route_choice.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

struct Wanted {
  WorkKind kind;
  int64_t items;
  Hints hints;
  std::string all;     // the platform with all devices there
  std::string no_gpu;  // and with one of them gone; empty: refused
  std::string no_fpga;
};

RouteOptions Load(const std::string& name, Config& config) {
  Origins origins;
  REQUIRE_OK(ApplyYamlFile("deploy/examples/patterns/" + name, config, origins));
  REQUIRE_OK(ValidateConfig(config, origins));
  return config.engine.route;
}

std::string PlatformOf(const Config& config, const Wanted& wanted, const std::string& gone) {
  std::vector<ExecutorChoice> choices;
  for (const Platform platform : {Platform::kCpu, Platform::kGpu, Platform::kFpga}) {
    const std::string name(Name(platform));
    choices.push_back({.platform = platform,
                       .device = name + "0",
                       .ineligible = name == gone ? "it is fenced" : "",
                       .holds_data = platform == Platform::kCpu});
  }
  const Classification work =
      Classify(config.engine.classify, wanted.hints, wanted.kind, wanted.items);
  const RouteChoice choice = ChooseRoute(config.engine.route, work, wanted.hints, choices);
  return choice.chosen < 0 ? "" : std::string(Name(choice.route.platform));
}

void Check(const std::string& name, const std::vector<Wanted>& cases) {
  Config config;
  Load(name, config);
  for (const Wanted& wanted : cases) {
    INFO(name << " kind " << static_cast<int>(wanted.kind) << " items " << wanted.items);
    CHECK(PlatformOf(config, wanted, "") == wanted.all);
    CHECK(PlatformOf(config, wanted, "gpu") == wanted.no_gpu);
    CHECK(PlatformOf(config, wanted, "fpga") == wanted.no_fpga);
  }
}

const Hints kHurried = {.latency_sla_us = 800};

TEST_CASE("offload: the GPU does the work, the FPGA single operations in a hurry") {
  Check("offload.yaml", {{WorkKind::kPrefill, 500, {}, "gpu", "cpu", "gpu"},
                         {WorkKind::kDecode, 1, {}, "gpu", "cpu", "gpu"},
                         {WorkKind::kSearch, 64, {}, "gpu", "cpu", "gpu"},
                         {WorkKind::kEmbed, 1, {}, "gpu", "cpu", "gpu"},
                         {WorkKind::kSearch, 1, kHurried, "fpga", "fpga", "cpu"}});
}

TEST_CASE("pipeline: the stages of a question on different devices") {
  Check("pipeline.yaml", {{WorkKind::kEmbed, 1, {}, "cpu", "cpu", "cpu"},
                          {WorkKind::kSearch, 1, {}, "fpga", "fpga", "cpu"},
                          {WorkKind::kPrefill, 500, {}, "gpu", "cpu", "gpu"},
                          {WorkKind::kDecode, 1, {}, "fpga", "fpga", "cpu"}});
}

TEST_CASE("parallel: each class on its own device or nowhere") {
  Check("parallel.yaml", {{WorkKind::kSearch, 1, {}, "fpga", "fpga", ""},
                          {WorkKind::kSearch, 64, {}, "gpu", "", "gpu"},
                          {WorkKind::kPrefill, 500, {}, "gpu", "", "gpu"},
                          {WorkKind::kDecode, 1, {}, "gpu", "", "gpu"},
                          {WorkKind::kEmbed, 1, {}, "cpu", "cpu", "cpu"},
                          {WorkKind::kWrite, 1, {}, "cpu", "cpu", "cpu"}});
}

TEST_CASE("redundancy: any device may do any work, and again where one failed") {
  Check("redundancy.yaml", {{WorkKind::kSearch, 64, {}, "gpu", "cpu", "gpu"},
                            {WorkKind::kPrefill, 500, {}, "gpu", "cpu", "gpu"},
                            {WorkKind::kDecode, 1, {}, "fpga", "fpga", "cpu"}});
  Config config;
  const RouteOptions route = Load("redundancy.yaml", config);
  CHECK(RetriesOf(route, {}) == 3);
  CHECK(config.engine.health.stall_ms == 2000);
}

TEST_CASE("two daemons: one prefills where the other one asks") {
  Config prefill;
  Config decode;
  Origins origins;
  REQUIRE_OK(ApplyYamlFile("deploy/examples/peers/prefill.yaml", prefill, origins));
  REQUIRE_OK(ValidateConfig(prefill, origins));
  REQUIRE_OK(ApplyYamlFile("deploy/examples/peers/decode.yaml", decode, origins));
  REQUIRE_OK(ValidateConfig(decode, origins));
  CHECK(decode.engine.peer.prefill == std::vector<std::string>{prefill.engine.peer.listen});
  CHECK(decode.engine.peer.secret_file == prefill.engine.peer.secret_file);
  CHECK(decode.engine.kv.type == prefill.engine.kv.type);
}

}  // namespace
}  // namespace baton
