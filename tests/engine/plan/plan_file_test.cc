#include "engine/plan/plan_file.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "engine/plan/break_even.h"
#include "tests/support/status_matchers.h"

namespace baton::plan {
namespace {

std::string ReadExample(const std::string& name) {
  const std::ifstream file("deploy/examples/plan/" + name);
  REQUIRE(file);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST_CASE("a workload as the file says it") {
  const auto workload = ParseWorkload(R"(
requests:
  - name: ask
    per_second: 2.5
    sla_ms: 80
    sla_quantile: 0.99
    stages: [{class: embed}, {class: prefill, items: 900}, {class: decode, items: 50, input_mb: 3}]
batching: {embed: {requests_max: 8, wait_ms: 1.5}}
placement: {decode: fpga0}
)",
                                      "w.yaml");
  REQUIRE_OK(workload.status());
  const Request& ask = workload->requests.at(0);
  CHECK(ask.name == "ask");
  CHECK(ask.per_second == 2.5);
  CHECK(ask.sla_ms == 80);
  CHECK(ask.sla_quantile == 0.99);
  REQUIRE(ask.stages.size() == 3);
  CHECK(ask.stages[0].items == 1);
  CHECK(ask.stages[1].work_class == WorkClass::kPrefill);
  CHECK(ask.stages[1].items == 900);
  CHECK(ask.stages[2].input_mb == 3);
  CHECK(workload->batching[static_cast<size_t>(WorkClass::kEmbed)].requests_max == 8);
  CHECK(workload->batching[static_cast<size_t>(WorkClass::kEmbed)].wait_ms == 1.5);
  CHECK(workload->batching[static_cast<size_t>(WorkClass::kPrefill)].requests_max == 1);
  CHECK(workload->placement[static_cast<size_t>(WorkClass::kDecode)] == "fpga0");
}

TEST_CASE("devices as the file says them") {
  const auto fleet = ParseFleet(R"(
currency: EUR
price_per_kwh: 0.3
host_w: 100
host_cost_per_hour: 0.5
devices:
  - name: gpu0
    platform: gpu
    evidence: measured
    count: 2
    lanes: 3
    idle_w: 50
    max_w: 300
    price: 8766
    lifetime_years: 2
    cost_per_hour: 0.25
    link_gb_per_s: 20
    curves:
      - {class: prefill, variation: 0.5, points: [{items: 1, ms: 2}, {items: 100, ms: 9.5}]}
)",
                                "d.yaml");
  REQUIRE_OK(fleet.status());
  CHECK(fleet->currency == "EUR");
  CHECK(fleet->price_per_kwh == 0.3);
  CHECK(fleet->host_w == 100);
  CHECK(fleet->host_cost_per_hour == 0.5);
  const Device& gpu = fleet->devices.at(0);
  CHECK(gpu.platform == Platform::kGpu);
  CHECK(gpu.evidence == Evidence::kMeasured);
  CHECK(gpu.count == 2);
  CHECK(gpu.lanes == 3);
  CHECK(gpu.cost_per_hour == Approx(0.25 + 0.5));  // 8766 hours in a year
  CHECK(gpu.link_gb_per_s == 20);
  REQUIRE(gpu.CurveOf(WorkClass::kPrefill) != nullptr);
  CHECK(gpu.CurveOf(WorkClass::kPrefill)->run_scv == 0.25);
  CHECK(gpu.CurveOf(WorkClass::kPrefill)->items_max() == 100);
  CHECK(gpu.CurveOf(WorkClass::kDecode) == nullptr);
}

constexpr char kCardHead[] =
    "devices:\n  - {name: f, platform: fpga, evidence: modelled, idle_w: 1, max_w: 2, ";
constexpr char kCardModel[] =
    "model: {layers: 2, dim: 64, ffn_dim: 128, heads: 4, kv_heads: 2, head_dim: 16, "
    "vocabulary: 100}";

std::string WithCard(const std::string& rest) { return kCardHead + rest + "}\n"; }

TEST_CASE("a card instead of curves") {
  const auto fleet = ParseFleet(
      WithCard(std::string("card: {name: u55c, clock_mhz: 200, run_us: 10, positions: 99, "
                           "sequences: 3, ") +
               kCardModel + ", collection: {vectors: 1000, dimension: 96, degree: 16, ef: 40}}"),
      "d.yaml");
  REQUIRE_OK(fleet.status());
  const Device& device = fleet->devices.at(0);
  REQUIRE(device.card);
  CHECK(device.card->clock_mhz == 200);
  CHECK(device.card->decode->run_ms == 0.01);
  CHECK(device.CurveOf(WorkClass::kDecode)->items_max() == 3);
  CHECK(device.CurveOf(WorkClass::kSearchSingle) != nullptr);
  CHECK(device.CurveOf(WorkClass::kPrefill) == nullptr);
  // A walk follows at most ef nodes of 16 links each.
  CHECK_THAT(
      device.card->assumptions,
      Catch::VectorContains(std::string("a walk scores 640 codes, those of a step read together")));
}

TEST_CASE("a wrong card is refused by field and line") {
  const std::pair<std::string, std::string> cases[] = {
      {"card: {name: u56c}",
       "d.yaml:2: devices[0].card.name must be one of: u55c, u250, but is u56c"},
      {"card: {name: u55c}", "devices[0].card: model or collection is missing"},
      {"card: {model: {}}", "devices[0].card.model.layers is missing"},
      {std::string("card: {") + kCardModel + "}", "devices[0].card.name is missing"},
      {std::string("card: {name: u55c, clock_mhz: 300, ") + kCardModel + "}",
       "devices[0].card.clock_mhz must be at most 225, but is 300"},
      {std::string("lanes: 2, card: {name: u55c, ") + kCardModel + "}",
       "devices[0].lanes must be 1 where there is a card, but is 2"},
      {std::string("curves: [{class: decode, points: [{items: 1, ms: 1}]}], card: {name: u55c, ") +
           kCardModel + "}",
       "devices[0].curves: decode is modelled of the card already"},
      {"card: {name: u55c, model: {layers: 2, dim: 64, ffn_dim: 128, heads: 4, kv_heads: 3, "
       "head_dim: 16, vocabulary: 100}}",
       "devices[0].card.model.heads must be a multiple of kv_heads, 3, but is 4"},
      {"card: {name: u55c, collection: {vectors: 5, dimension: 8, ef: 1000}}",
       "devices[0].card.collection.ef must be an integer, 1 to 256, but is 1000"},
      {"card: 5", "devices[0].card must be a map"}};
  for (const auto& [rest, part] : cases) {
    CAPTURE(rest);
    const absl::Status status = ParseFleet(WithCard(rest), "d.yaml").status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()), Catch::Contains(part));
  }
  const std::string card = std::string("card: {name: u55c, ") + kCardModel + "}}\n";
  for (const auto& [head, part] :
       {std::pair<std::string, std::string>{"{name: f, platform: gpu, evidence: modelled",
                                            "platform must be fpga where there is a card"},
        {"{name: f, platform: fpga, evidence: measured", "evidence must be modelled"}}) {
    const absl::Status status =
        ParseFleet("devices:\n  - " + head + ", idle_w: 1, max_w: 2, " + card, "d.yaml").status();
    CHECK_THAT(std::string(status.message()), Catch::Contains(part));
  }
}

struct Wrong {
  const char* yaml;
  const char* part;  // of the message
};

TEST_CASE("a wrong workload is refused by field and line") {
  const Wrong cases[] = {
      {"", "w.yaml: must hold one YAML document"},
      {"a: 1\n---\nb: 2\n", "holds more"},
      {"[1]\n", "w.yaml:1: the file must be a map"},
      {"batching: {}\n", "requests is missing"},
      {"requests: []\n", "w.yaml:1: requests must be a list of 1 to 64"},
      {"requests: 5\n", "requests must be a list"},
      {"requests:\n  - {name: a, per_second: 1}\n", "w.yaml:2: requests[0].stages is missing"},
      {"requests:\n  - {name: a, stages: [{class: embed}]}\n", "requests[0].per_second is missing"},
      {"requests:\n  - {name: a b, per_second: 1, stages: [{class: embed}]}\n",
       "requests[0].name must be a name"},
      {"requests:\n  - {name: a, per_second: 0, stages: [{class: embed}]}\n",
       "requests[0].per_second must be a number, 1e-09 to 1e+09, but is 0"},
      {"requests:\n  - {name: a, per_second: fast, stages: [{class: embed}]}\n", "but is \"fast\""},
      {"requests:\n  - {name: a, per_second: nan, stages: [{class: embed}]}\n", "but is \"nan\""},
      {"requests:\n  - {name: a, per_second: [1], stages: [{class: embed}]}\n", "but is none"},
      {"requests:\n  - {name: a, per_second: \"1\", stages: [{class: embed}]}\n", "but is \"1\""},
      {"requests:\n  - {name: a, per_second: 1, sla_quantile: 1, stages: [{class: embed}]}\n",
       "requests[0].sla_quantile must be a number, 0.01 to 0.9999, but is 1"},
      {"requests:\n  - name: a\n    per_second: 1\n    stages:\n      - {class: search}\n",
       "w.yaml:5: requests[0].stages[0].class must be one of: prefill, decode, search_single"},
      {"requests:\n  - {name: a, per_second: 1, stages: [{items: 1}]}\n",
       "requests[0].stages[0].class is missing"},
      {"requests:\n  - {name: a, per_second: 1, stages: [{class: decode, items: 1.5}]}\n",
       "items must be an integer"},
      {"requests:\n  - {name: a, per_second: 1, stages: [{class: embed, itmes: 1}]}\n",
       "unknown key \"requests[0].stages[0].itmes\"; keys there are: class, items, input_mb"},
      {"requests:\n  - {name: a, per_second: 1, stages: [{class: embed}]}\n"
       "  - {name: a, per_second: 1, stages: [{class: embed}]}\n",
       "w.yaml:3: requests[1].name \"a\" is given twice"},
      {"requests:\n  - {name: a, name: b, per_second: 1, stages: [{class: embed}]}\n",
       "requests[0].name is given twice"},
      {"requests: [{name: a, per_second: 1, stages: [{class: embed}]}]\nbatching: {decode: {}}\n",
       "w.yaml:2: batching.decode: decodes share steps"},
      {"requests: [{name: a, per_second: 1, stages: [{class: embed}]}]\n"
       "batching: {embed: {requests_max: 1.5}}\n",
       "batching.embed.requests_max must be an integer, 1 to 4096"},
      {"requests: [{name: a, per_second: 1, stages: [{class: embed}]}]\nplacement: {embed: [x]}\n",
       "placement.embed must be a name"},
      {"requests: [\n", "not valid YAML"},
      {", ms: 15}\n", "w.yaml"},  // yaml-cpp's own loop would not end
      {"}", "w.yaml"},
      {"requests: *x\n", "w.yaml:1: not valid YAML"},
  };
  for (const Wrong& c : cases) {
    INFO(c.yaml);
    REQUIRE_STATUS(ParseWorkload(c.yaml, "w.yaml").status(), absl::StatusCode::kInvalidArgument,
                   c.part);
  }
  REQUIRE_STATUS(ParseWorkload(std::string(kPlanFileBytesMax + 1, ' '), "w.yaml").status(),
                 absl::StatusCode::kInvalidArgument, "longer than");
}

TEST_CASE("wrong devices are refused by field and line") {
  const std::string start = "devices:\n  - {name: a, platform: cpu, evidence: stated, ";
  const std::string curve = "curves: [{class: embed, points: [{items: 1, ms: 1}]}]";
  const std::string whole = start + "idle_w: 1, max_w: 2, " + curve + "}\n";
  REQUIRE_OK(ParseFleet(whole, "d.yaml").status());
  const std::pair<std::string, const char*> cases[] = {
      {"price_per_kwh: 1\n", "devices is missing"},
      {"currency: 5 EUR\n", "currency must be a name"},
      {"devices:\n  - {name: a}\n", "d.yaml:2: devices[0].platform is missing"},
      {"devices:\n  - {name: a, platform: tpu}\n", "devices[0].platform must be one of: cpu, gpu"},
      {"devices:\n  - {name: a, platform: cpu, evidence: sure}\n",
       "devices[0].evidence must be one of: measured, stated, modelled"},
      {start + "idle_w: 1, " + curve + "}\n", "devices[0].max_w is missing"},
      {start + "idle_w: -1, max_w: 2, " + curve + "}\n", "devices[0].idle_w must be a number, 0"},
      {start + "idle_w: 3, max_w: 2, " + curve + "}\n", "devices[0].max_w must be at least idle_w"},
      {start + "idle_w: 1, max_w: 2, price: 5, " + curve + "}\n", "need each other"},
      {start + "idle_w: 1, max_w: 2, count: 0, " + curve + "}\n", "devices[0].count must be"},
      {start + "idle_w: 1, max_w: 2, link_gb_per_s: 0, " + curve + "}\n", "link_gb_per_s must be"},
      {start + "idle_w: 1, max_w: 2, curves: []}\n", "devices[0].curves must be a list"},
      {start + "idle_w: 1, max_w: 2, curves: [{class: embed}]}\n", "points is missing"},
      {start + "idle_w: 1, max_w: 2, curves: [{class: embed, points: [{items: 1}]}]}\n",
       "devices[0].curves[0].points[0].ms is missing"},
      {start + "idle_w: 1, max_w: 2, curves: [{class: embed, points: [{items: 1, ms: 0}]}]}\n",
       "points[0].ms must be"},
      {start + "idle_w: 1, max_w: 2, curves: [{class: embed, points: [{items: 2, ms: 1},"
               " {items: 2, ms: 2}]}]}\n",
       "points[1].items must be more than the 2 before it"},
      {start + "idle_w: 1, max_w: 2, curves: [{class: decode, points: [{items: 5000, ms: 1}]}]}\n",
       "1 to 4096, but is 5000"},
      {start + "idle_w: 1, max_w: 2, curves: [{class: embed, points: [{items: 1, ms: 1}]},"
               " {class: embed, points: [{items: 1, ms: 1}]}]}\n",
       "curves[1].class embed is given twice"},
      {whole + whole.substr(9), "d.yaml:3: devices[1].name \"a\" is given twice"},
  };
  for (const auto& [yaml, part] : cases) {
    INFO(yaml);
    REQUIRE_STATUS(ParseFleet(yaml, "d.yaml").status(), absl::StatusCode::kInvalidArgument, part);
  }
}

TEST_CASE("the examples say what they are for") {
  const auto mixed = ParseWorkload(ReadExample("mixed.yaml"), "mixed.yaml");
  REQUIRE_OK(mixed.status());
  const auto gpu = ParseFleet(ReadExample("gpu.yaml"), "gpu.yaml");
  REQUIRE_OK(gpu.status());
  const auto both = ParseFleet(ReadExample("gpu-fpga.yaml"), "gpu-fpga.yaml");
  REQUIRE_OK(both.status());
  CHECK(both->devices.at(1).evidence == Evidence::kModelled);
  // The GPU alone is never within 2 ms; with the FPGA every SLA is kept.
  const auto alone = BestPlan(*mixed, *gpu, {true});
  REQUIRE_OK(alone.status());
  CHECK_FALSE(alone->met);
  const auto hybrid = BestPlan(*mixed, *both, {true, true});
  REQUIRE_OK(hybrid.status());
  CHECK(hybrid->met);
  CHECK(hybrid->placement[static_cast<size_t>(WorkClass::kSearchSingle)] == 1);
  CHECK(hybrid->placement[static_cast<size_t>(WorkClass::kSearchBulk)] == 0);
  // The study's figures: 100,000 a second in bulk, 10,000 a second one by one.
  for (const ClassPlan& planned : hybrid->classes) {
    if (planned.work_class == WorkClass::kSearchBulk) {
      CHECK(planned.capacity_per_second == Approx(100'000));
    }
    if (planned.work_class == WorkClass::kSearchSingle) {
      CHECK(planned.capacity_per_second == Approx(10'000));
    }
  }
  const auto rag = ParseWorkload(ReadExample("rag.yaml"), "rag.yaml");
  REQUIRE_OK(rag.status());
  const auto laptop = ParseFleet(ReadExample("laptop.yaml"), "laptop.yaml");
  REQUIRE_OK(laptop.status());
  const auto small = BestPlan(*rag, *laptop, {true});
  REQUIRE_OK(small.status());
  CHECK(small->met);
}

}  // namespace
}  // namespace baton::plan
