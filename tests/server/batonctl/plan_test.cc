// batonctl plan: no daemon is asked, so none is there.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "server/batonctl/run.h"
#include "tests/server/batonctl/temporary_folder.h"

namespace baton::ctl {
namespace {

using Catch::Matchers::Contains;

struct Planned {
  int exit_code = 0;
  std::string out;
  std::string err;
};

Planned CallPlan(const std::string& workload, const std::string& devices, bool json = false) {
  std::vector<const char*> argv = {"batonctl",       "plan",      "--workload",
                                   workload.c_str(), "--devices", devices.c_str()};
  if (json) argv.push_back("--json");
  std::ostringstream out;
  std::ostringstream err;
  const int exit_code =
      Run(static_cast<int>(argv.size()), argv.data(), Terminal{.out = out, .err = err});
  return {exit_code, out.str(), err.str()};
}

const std::string kExamples = "deploy/examples/plan/";

TEST_CASE("plan prints classes, devices, requests, what binds and the break-even") {
  const Planned planned = CallPlan(kExamples + "mixed.yaml", kExamples + "gpu-fpga.yaml");
  CHECK(planned.exit_code == kExitOk);
  CHECK(planned.err.empty());
  for (const char* part : {"search_bulk", "fpga0", "modelled", "USD per M", "kept",
                           "what binds: ", "no number of GPUs alone", "break-even load: "}) {
    CHECK_THAT(planned.out, Contains(part));
  }
  CHECK_THAT(planned.out, Contains("100000"));  // a second, in bulk
  CHECK_THAT(planned.out, !Contains("MISSED"));
  CHECK_THAT(CallPlan(kExamples + "mixed.yaml", kExamples + "gpu.yaml").out,
             Contains("NEVER ENDS") && Contains("all of it runs on GPUs"));
}

TEST_CASE("plan as JSON") {
  const Planned planned = CallPlan(kExamples + "mixed.yaml", kExamples + "gpu-fpga.yaml", true);
  CHECK(planned.exit_code == kExitOk);
  const auto json = nlohmann::json::parse(planned.out);
  CHECK(json.at("met") == true);
  CHECK(json.at("classes").size() == 4);
  CHECK(json.at("requests").at(1).at("request") == "single");
  CHECK(json.at("binds").at("load").get<double>() > 1);
  CHECK(json.at("break_even").at("gpu_only").at("met") == false);
  CHECK(json.at("break_even").at("gpu_only_ever_meets") == false);
  CHECK(json.at("break_even").at("mixed").at("met") == true);
}

TEST_CASE("plan models cards beside CPU and GPU and says where they lose") {
  const Planned planned = CallPlan(kExamples + "ask.yaml", kExamples + "cards.yaml");
  CHECK(planned.exit_code == kExitOk);
  CHECK(planned.err.empty());
  for (const char* part :
       {"u55c, modelled: a u55c at 225 MHz, 24 ports, ", "(efficiency 0.90", "tok/s modelled, of ",
        "ms a query modelled, 4 at once", "assumes: never synthesised, never run: 225 MHz",
        "decode: u55c (modelled) takes ", " times as long as gpu0 (stated): the FPGA loses",
        "u250, modelled: a u250 at 225 MHz, 4 ports"}) {
    CHECK_THAT(planned.out, Contains(part));
  }
  const auto json =
      nlohmann::json::parse(CallPlan(kExamples + "ask.yaml", kExamples + "cards.yaml", true).out);
  REQUIRE(json.at("cards").size() == 2);
  for (const auto& card : json.at("cards")) {
    CHECK(card.at("evidence") == "modelled");
    const auto& decode = card.at("decode");
    CHECK(decode.at("tokens_per_second") < decode.at("memory_tokens_per_second"));
    CHECK(card.at("assumptions").size() >= 4);
    CHECK(card.at("too_large").empty());
  }
  CHECK(json.at("services").size() == 4 + 2 + 4);
}

TEST_CASE("a model that a card has no room for is planned elsewhere") {
  const TemporaryFolder folder;
  const std::string devices = folder.Write("devices.yaml", R"(
devices:
  - {name: cpu0, platform: cpu, evidence: stated, idle_w: 1, max_w: 2, curves: [
      {class: decode, points: [{items: 1, ms: 90}]}]}
  - name: u55c
    platform: fpga
    evidence: modelled
    idle_w: 1
    max_w: 2
    card:
      name: u55c
      model: {layers: 40, dim: 5120, ffn_dim: 13824, heads: 40, kv_heads: 40, head_dim: 128,
              vocabulary: 32000}
)");
  const std::string workload = folder.Write("workload.yaml", R"(
requests: [{name: a, per_second: 0.1, stages: [{class: decode, items: 20}]}]
)");
  const Planned planned = CallPlan(workload, devices);
  CHECK(planned.exit_code == kExitOk);
  CHECK_THAT(planned.out, Contains("too large: the model: its weights take ") &&
                              Contains("of each of 24 banks, which have 536870912"));
  CHECK_THAT(planned.out, !Contains("tok/s modelled"));
}

TEST_CASE("plan names what is wrong with its files") {
  const TemporaryFolder folder;
  const Planned absent = CallPlan(folder.path() + "/absent.yaml", kExamples + "gpu.yaml");
  CHECK(absent.exit_code == kExitUsage);
  CHECK_THAT(absent.err, Contains("absent.yaml"));
  const std::string wrong = folder.Write("wrong.yaml", "requests:\n  - {nmae: a}\n");
  const Planned misspelt = CallPlan(wrong, kExamples + "gpu.yaml");
  CHECK(misspelt.exit_code == kExitUsage);
  CHECK_THAT(misspelt.err, Contains("wrong.yaml:2: unknown key \"requests[0].nmae\""));
  // No curve for one of its classes.
  const Planned lacking = CallPlan(kExamples + "rag.yaml", kExamples + "gpu.yaml");
  CHECK(lacking.exit_code == kExitUsage);
  CHECK_THAT(lacking.err, Contains("no device has a curve of embed"));
}

}  // namespace
}  // namespace baton::ctl
