#include "config/simulation_file.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr char kGpu[] =
    "devices:\n- name: g\n  platform: gpu\n  latency: {search_bulk: {fixed_us: 9}}\n";

TEST_CASE("the examples are read") {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(BATON_SIMULATE_EXAMPLES)) {
    CAPTURE(entry.path().string());
    const auto read = ReadSimulation(entry.path().string());
    REQUIRE_OK(read);
    CHECK_FALSE(read->devices.empty());
    ++count;
  }
  CHECK(count >= 2);
}

TEST_CASE("what a simulation says is taken") {
  const auto read = ParseSimulation(R"(
seed: 3
devices:
- name: g
  platform: gpu
  memory_mb: 2
  latency:
    prefill: {fixed_us: 10, per_item_us: 0.5}
    decode: {points: [[1, 5], [8, 9]], context_points: [[0, 1]], per_context_us: 0.25}
  faults: [{at_s: 1.5, do: slow, factor: 3}, {at_batch: 7, do: lose}]
- {name: f, platform: fpga, bank: 4, numa_node: 1, search_lanes: 5,
   latency: {search_single: {fixed_us: 500}}}
- {name: f2, platform: fpga, exclusive: true, latency: {kmeans: {fixed_us: 500}}}
paths:
- {name: p, from: g, to: f, gb_per_s: 10, latency_us: 15}
- {name: q, from: host, to: g, gb_per_s: 5, both_ways: false, faults: [{at_batch: 1, do: hang}]}
)",
                                    "f");
  REQUIRE_OK(read);
  REQUIRE(read->devices.size() == 3);
  const SimulatedDeviceOptions& gpu = read->devices[0];
  CHECK(gpu.space == MemorySpace{.kind = MemorySpace::Kind::kCuda});
  CHECK(gpu.memory_bytes == 2 << 20);
  const CurveOptions& decode = *gpu.latency[static_cast<size_t>(WorkClass::kDecode)];
  CHECK(decode.points.at(1).us == 9);
  CHECK(decode.per_context_us == 0.25);
  REQUIRE(gpu.faults.size() == 2);
  CHECK(gpu.faults[0].factor == 3);
  CHECK(gpu.faults[1].at_batch == 7);
  CHECK(read->devices[1].space ==
        MemorySpace{.kind = MemorySpace::Kind::kFpga, .device = 0, .bank = 4});
  CHECK(read->devices[1].numa_node == 1);
  CHECK(gpu.numa_node == -1);
  CHECK(read->devices[2].space.device == 1);
  CHECK(read->devices[1].seed != read->devices[2].seed);
  REQUIRE(read->paths.size() == 3);
  CHECK(read->paths[1].name == "p-back");
  CHECK(read->paths[1].to == gpu.space);
  CHECK(read->paths[2].from.kind == MemorySpace::Kind::kHost);
}

TEST_CASE("what is wrong is named with its line") {
  struct Bad {
    std::string text;
    const char* message;
  };
  const std::string head = kGpu;
  const std::string device =
      "devices:\n- {name: g, platform: gpu, latency: {kmeans: {fixed_us: 1}}, ";
  for (const Bad& bad : std::vector<Bad>{
           {"", "one YAML document"},
           {"}", "not valid YAML"},
           {", ms: 15}", "YAML"},
           {"devices: []\n", "f:1: devices must be a list of 1 to 16 entries"},
           {"a: 1\n", "f:1: unknown key \"a\"; keys there are: seed, devices, paths, peer"},
           {"seed: 1\n", "f:1: devices is missing"},
           {"peer: {}\n", "f:1: peer.hold_at is missing"},
           {"peer: {hold_at: lunch}\n", "f:1: peer.hold_at must be one of accepted, requested,"},
           {head + "seed: -1\n", "f:5: seed must be an integer, 0 to"},
           {"devices:\n- {name: g}\n", "f:2: devices[0].platform is missing"},
           {"devices:\n- {name: g, platform: tpu, latency: {kmeans: {fixed_us: 1}}}\n",
            "devices[0].platform must be one of: cpu, gpu, fpga"},
           {"devices:\n- {name: g, platform: gpu, latency: {}}\n", "name a class of work"},
           {"devices:\n- {name: host, platform: gpu, latency: {kmeans: {fixed_us: 1}}}\n",
            "devices[0].name must not be \"host\""},
           {"devices:\n- {name: g, platform: gpu,\n   latency: {prefill: {fixed_us: 1}}}\n",
            "f:3: devices[0].latency has prefill or decode, but not both"},
           {"devices:\n- {name: g, platform: gpu, latency: {kmeans: {fixed_us: -1}}}\n",
            "f:2: devices[0].latency.kmeans.fixed_us must be a number, 0 to"},
           {"devices:\n- {name: g, platform: gpu, latency: {kmeans: {fixed_us: \"1\"}}}\n",
            "latency.kmeans.fixed_us must be a number, 0 to 1e+09, but is \"1\""},
           {"devices:\n- {name: g, platform: gpu, latency: {kmeans: {fixed_us: .inf}}}\n",
            "must be a number"},
           {"devices:\n- {name: g, platform: gpu, latency: {kmeans: {fixed_us: 0}}}\n",
            "takes no time at all"},
           {"devices:\n- {name: g, platform: gpu, latency: {kmeans: {points: [[2, 1], [2, 1]]}}}\n",
            "x must ascend"},
           {"devices:\n- {name: g, platform: gpu, latency: {kmeans: {points: [3]}}}\n",
            "latency.kmeans.points[0] must be [x, us]"},
           {device + "bank: 1}\n", "bank belongs to an fpga"},
           {device + "numa_node: 1024}\n", "devices[0].numa_node must be an integer, 0 to 1023"},
           {"devices:\n- {name: c, platform: cpu, numa_node: 0, latency: {kmeans: {fixed_us: "
            "1}}}\n",
            "f:2: devices[0].numa_node belongs to a gpu or an fpga"},
           {device + "power_idle_w: 10, power_max_w: 5}\n", "power_idle_w is 10"},
           {device + "search_lanes: 2, exclusive: true}\n", "contradict each other"},
           {device + "memory_mb: 1.5}\n", "devices[0].memory_mb must be an integer"},
           {device + "name: h}\n", "name is given twice"},
           {device + "faults: [{do: hang}]}\n", "either at_s or at_batch"},
           {device + "faults: [{at_s: 1, at_batch: 2, do: hang}]}\n", "either at_s or at_batch"},
           {device + "faults: [{at_s: 1, do: burn}]}\n",
            "devices[0].faults[0].do must be one of: fail, hang, slow, lose, recover"},
           {device + "faults: [{at_s: 1, do: slow}]}\n", "slow needs it"},
           {device + "faults: [{at_s: 1, do: hang, factor: 2}]}\n", "belongs to slow"},
           {device + "faults: [{at_s: 1, do: hang}, {at_s: 1, do: fail}]}\n", "the same moment"},
           {head + head.substr(9), "name \"g\" is given twice"},
           {head + "paths: [{name: p, from: g, to: g, gb_per_s: 1}]\n", "are one memory"},
           {head + "paths: [{name: p, from: g, to: x, gb_per_s: 1}]\n",
            "f:5: paths[0].to must be host"},
           {head + "paths: [{name: p, from: g, to: host, gb_per_s: 0}]\n",
            "paths[0].gb_per_s must be"},
           {head + "paths: [{name: p, from: g, to: host}]\n", "paths[0].gb_per_s is missing"},
           {head + "paths:\n- {name: p, from: g, to: host, gb_per_s: 1}\n"
                   "- {name: q, from: host, to: g, gb_per_s: 1}\n",
            "f:7: paths[1]: there are two from host to cuda:0"},
           {"devices: [", "not valid YAML"},
       }) {
    CAPTURE(bad.text);
    REQUIRE_STATUS(ParseSimulation(bad.text, "f"), absl::StatusCode::kInvalidArgument, bad.message);
  }
  REQUIRE_STATUS(ReadSimulation("/nowhere/x.yaml"), absl::StatusCode::kNotFound,
                 "simulation file /nowhere/x.yaml");
}

}  // namespace
}  // namespace baton
