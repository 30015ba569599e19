#include "engine/placement/placement_plan.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

namespace baton {
namespace {

using Catch::Matchers::Contains;

// `nodes` NUMA nodes, one to a package, of `cores` cores with `threads` hardware threads each.
struct Machine {
  int nodes = 2;
  int cores = 4;
  int threads = 1;
};
Topology Make(const Machine& machine) {
  Topology topology;
  int next = 0;
  for (int n = 0; n < machine.nodes; ++n) {
    TopologyNode node{.number = n, .package = n};
    for (int c = 0; c < machine.cores; ++c) {
      std::vector<int> cpus;
      for (int t = 0; t < machine.threads; ++t) cpus.push_back(next++);
      node.cores.emplace_back(cpus);
    }
    topology.nodes.push_back(std::move(node));
  }
  return topology;
}

PlacedDevice Cpu() { return {.platform = Platform::kCpu, .name = "cpu0"}; }
PlacedDevice Gpu(std::string name, int node) {
  return {.platform = Platform::kGpu, .name = std::move(name), .numa_node = node};
}
PlacedDevice Fpga(std::string name, int node) {
  return {.platform = Platform::kFpga, .name = std::move(name), .numa_node = node};
}

std::string CpusOf(const PlacementPlan& plan, size_t device) {
  return plan.executors[device].threads.cpus().ToString();
}

PlacementPlan Plan(const Topology& topology, const std::vector<PlacedDevice>& devices,
                   const ThreadPlacementOptions& options = {}) {
  const auto plan = PlanPlacement(topology, options, devices);
  REQUIRE(plan.ok());
  REQUIRE(plan->executors.size() == devices.size());
  return *plan;
}

void CheckNothing(const PlacementPlan& plan, const std::string& why) {
  CHECK_THAT(plan.nothing, Contains(why));
  CHECK(plan.application.empty());
  for (const ExecutorPlacement& placed : plan.executors) CHECK(placed.threads.anywhere());
}

TEST_CASE("with one NUMA node nothing is bound, and that is said") {
  const std::vector<PlacedDevice> devices = {Cpu(), Gpu("gpu", 0), Fpga("fpga", 0)};
  const PlacementPlan plan = Plan(Make({.nodes = 1, .cores = 2}), devices);
  CheckNothing(plan, "1 package, 1 NUMA node, 2 cores, 2 processors every core is as near");
  CHECK(plan.Lines(devices).empty());
}

TEST_CASE("placement that is off binds nothing") {
  CheckNothing(Plan(Make({}), {Cpu(), Gpu("gpu", 1)}, {.mode = "off"}), "placement.mode is off");
  CheckNothing(PlacementPlan(), "not asked for");
}

TEST_CASE("a device's threads have cores of its node for themselves") {
  const PlacementPlan plan =
      Plan(Make({.nodes = 2, .cores = 4, .threads = 2}),
           {Cpu(), Gpu("gpu", 1), Fpga("fpga0", 0), Fpga("fpga1", 1)}, {.device_cores = 1});
  CHECK(CpusOf(plan, 1) == "14-15");  // both hardware threads of a core
  CHECK(CpusOf(plan, 2) == "6-7");
  CHECK(CpusOf(plan, 3) == "12-13");
  CHECK(CpusOf(plan, 0) == "0-5,8-11");
  CHECK(plan.application.ToString() == "0-5,8-11");
  // The CPU executor's threads stay on a node each, in proportion to what is left of it.
  CHECK(plan.executors[0].threads.CpusOf({.index = 0, .count = 10}).ToString() == "0-5");
  CHECK(plan.executors[0].threads.CpusOf({.index = 9, .count = 10}).ToString() == "8-11");
  CHECK(plan.executors[1].nodes == std::vector{1});
}

TEST_CASE("a GPU and an FPGA on one package are a pair, whatever their nodes") {
  Topology topology = Make({.nodes = 4, .cores = 2});
  topology.nodes[1].package = 0;
  topology.nodes[2].package = 1;
  topology.nodes[3].package = 1;
  const std::vector<PlacedDevice> devices = {Cpu(), Gpu("gpu", 1), Fpga("same", 0),
                                             Fpga("other", 2), Gpu("gpu1", 0)};
  const PlacementPlan plan = Plan(topology, devices);
  CHECK(plan.Paired(1, 2));
  CHECK_FALSE(plan.Paired(1, 3));
  CHECK_FALSE(plan.Paired(1, 4));  // two GPUs are none
  CHECK_FALSE(plan.Paired(1, 0));
  CHECK(plan.HasPair(1));
  CHECK(plan.HasPair(2));
  CHECK_FALSE(plan.HasPair(3));
  const std::vector<std::string> lines = plan.Lines(devices);
  REQUIRE(lines.size() == 6);
  CHECK(lines[1] == "gpu: processors 3, near NUMA node 1, on one package with same");
  CHECK(lines[5] == "all other threads: processors 0,2,4,6-7");
  CHECK_FALSE(PlacementPlan().Paired(0, 1));
  CHECK_FALSE(PlacementPlan().HasPair(0));
}

TEST_CASE("each node keeps a core for the others") {
  const PlacementPlan plan = Plan(Make({.nodes = 2, .cores = 2}),
                                  {Cpu(), Gpu("gpu", 0), Fpga("fpga", 0)}, {.device_cores = 4});
  CHECK(CpusOf(plan, 1) == "1");
  CHECK(CpusOf(plan, 2) == "0-1");  // nothing left for it alone: the whole node, shared
  CHECK(CpusOf(plan, 0) == "0,2-3");
}

TEST_CASE("without cores of their own devices' threads share their node's") {
  const PlacementPlan plan = Plan(Make({}), {Cpu(), Gpu("gpu", 1)}, {.device_cores = 0});
  CHECK(CpusOf(plan, 1) == "4-7");
  CHECK(CpusOf(plan, 0) == "0-7");
  CHECK(plan.application.empty());  // anywhere, as before
}

TEST_CASE("a device of unknown place, absent or without work is not bound") {
  Topology topology = Make({});
  topology.devices.push_back({.address = "0000:3b:00.0", .nodes = {}});
  PlacedDevice absent = Gpu("absent", 1);
  absent.present = false;
  PlacedDevice idle = Gpu("idle", 1);
  idle.works = false;
  PlacedDevice untold = Gpu("untold", -1);
  untold.pci_address = "3B:00.0";
  PlacedDevice unknown = Fpga("unknown", -1);
  unknown.pci_address = "0000:99:00.0";
  const PlacementPlan plan =
      Plan(topology, {Cpu(), absent, idle, untold, unknown, Fpga("nowhere", 17)});
  for (size_t i = 1; i < plan.executors.size(); ++i) CHECK(plan.executors[i].threads.anywhere());
  CHECK(plan.executors[2].nodes == std::vector{1});  // its place is known all the same
  CHECK(CpusOf(plan, 0) == "0-7");
  CHECK(plan.application.empty());
}

TEST_CASE("what placement.cpus names is taken as it is") {
  const std::vector<PlacedDevice> devices = {Cpu(), Gpu("gpu0", 0), Gpu("gpu1", 0)};
  // A device's name goes before its platform's; the application's processors are not the CPU
  // executor's.
  const PlacementPlan plan =
      Plan(Make({}), devices, {.cpus = "gpu=5; gpu1 = 6-7 ;application=0-1"});
  CHECK(CpusOf(plan, 1) == "5");
  CHECK(CpusOf(plan, 2) == "6-7");
  CHECK(CpusOf(plan, 0) == "2-4");
  CHECK(plan.application.ToString() == "0-1");
  // Also where the topology tells nothing.
  const PlacementPlan flat = Plan(FlatTopology(CpuSet({0, 1, 4})), devices, {.cpus = "cpu=4"});
  CHECK(flat.nothing.empty());
  CHECK(CpusOf(flat, 0) == "4");
  CHECK(flat.executors[1].threads.anywhere());
  CHECK(flat.application.empty());
  // Given to everybody, it is shared.
  const PlacementPlan all = Plan(Make({}), devices, {.cpus = "gpu=0-7;application=0-7"});
  CHECK(CpusOf(all, 0) == "0-7");
}

TEST_CASE("a placement that cannot be is refused by its key") {
  struct Case {
    const char* cpus;
    const char* says;
  };
  for (const Case& c :
       {Case{"gpu", "must be NAME=PROCESSORS"},
        {"tpu=1", "names \"tpu\""},
        {"gpu=8", "processors 8 are not among those that this process may use, 0-7"},
        {"gpu=1-", "placement.cpus: gpu: processors must be a list such as"},
        {"gpu=", "no processors are named"},
        {"gpu=1;gpu=2", "names gpu twice"},
        {"gpu=1;;cpu=2", "must be NAME=PROCESSORS"}}) {
    INFO(c.cpus);
    const absl::Status status =
        PlanPlacement(Make({}), {.cpus = c.cpus}, std::vector{Cpu(), Gpu("gpu0", 0)}).status();
    CHECK(absl::IsInvalidArgument(status));
    CHECK_THAT(std::string(status.message()), Contains("placement.cpus"));
    CHECK_THAT(std::string(status.message()), Contains(c.says));
  }
  CHECK(absl::IsInvalidArgument(
      PlanPlacement(Make({}), {.mode = "off", .cpus = "cpu=1"}, std::vector{Cpu()}).status()));
}

TEST_CASE("any machine: no two devices share cores of their own and everybody has some") {
  std::mt19937 random(20'261);
  for (int round = 0; round < 500; ++round) {
    const auto pick = [&](int least, int most) {
      return std::uniform_int_distribution(least, most)(random);
    };
    const Machine machine{.nodes = pick(2, 8), .cores = pick(1, 16), .threads = pick(1, 2)};
    const Topology topology = Make(machine);
    std::vector<PlacedDevice> devices = {Cpu()};
    for (int i = pick(0, 12); i-- > 0;) {
      devices.push_back(pick(0, 1) == 0 ? Gpu("g" + std::to_string(i), pick(-1, machine.nodes))
                                        : Fpga("f" + std::to_string(i), pick(-1, machine.nodes)));
    }
    const int own = pick(0, 4);
    const PlacementPlan plan = Plan(topology, devices, {.device_cores = own});
    const CpuSet rest = plan.executors[0].threads.cpus();
    INFO("round " << round);
    CHECK_FALSE(rest.empty());
    for (const TopologyNode& node : topology.nodes) CHECK_FALSE((node.cpus() & rest).empty());
    CHECK((plan.application.empty() ? topology.cpus() : plan.application) == rest);
    for (size_t i = 1; i < devices.size(); ++i) {
      const CpuSet cpus = plan.executors[i].threads.cpus();
      const TopologyNode* const node = topology.Node(devices[i].numa_node);
      REQUIRE(cpus.empty() == (node == nullptr));
      if (node == nullptr) continue;
      CHECK(node->cpus().Contains(cpus));
      const bool alone = (cpus & rest).empty();
      if (!alone) CHECK(cpus == node->cpus());
      CHECK((!alone || cpus.size() <= own * machine.threads));
      for (size_t j = 1; alone && j < i; ++j) {
        const CpuSet other = plan.executors[j].threads.cpus();
        CHECK(((cpus & other).empty() || !(other & rest).empty()));
      }
    }
  }
}

}  // namespace
}  // namespace baton
