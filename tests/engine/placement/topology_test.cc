#include "engine/placement/topology.h"

#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "engine/placement/placement_plan.h"

namespace baton {
namespace {

// A PCI root with one device, as lstopo writes it.
std::string PciXml(const std::string& address) {
  return absl::StrCat(R"(<object type="Bridge" bridge_type="0-1" depth="0" bridge_pci="0000:[)",
                      address.substr(5, 2), "-", address.substr(5, 2),
                      R"(]"><object type="PCIDev" pci_busid=")", address,
                      R"(" pci_type="0302 [10de:2330] [10de:16c1] a1" pci_link_speed="31.5"/>)",
                      "</object>");
}

std::string CoresXml(int first, int count) {
  std::string xml;
  for (int i = first; i < first + count; ++i) {
    char mask[16];
    std::snprintf(mask, sizeof(mask), "0x%08x", 1u << i);
    const std::string sets =
        absl::StrCat(" os_index=\"", i, "\" cpuset=\"", mask, "\" complete_cpuset=\"", mask, "\"");
    absl::StrAppend(&xml, "<object type=\"Core\"", sets, "><object type=\"PU\"", sets,
                    "/></object>");
  }
  return xml;
}

// Two packages of four cores, a NUMA node each, and what hangs on each of them.
std::string TwoPackages(const std::string& on_first, const std::string& on_second,
                        const std::string& on_machine = "") {
  const auto package = [](int number, const std::string& cpus, const std::string& devices) {
    const std::string sets =
        absl::StrCat(" os_index=\"", number, "\" cpuset=\"", cpus, "\" complete_cpuset=\"", cpus,
                     "\" nodeset=\"", 1 << number, "\" complete_nodeset=\"", 1 << number, "\"");
    return absl::StrCat("<object type=\"Package\"", sets, "><object type=\"NUMANode\"", sets,
                        " local_memory=\"1073741824\"/>", CoresXml(4 * number, 4), devices,
                        "</object>");
  };
  return absl::StrCat(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n",
      R"(<topology version="2.0"><object type="Machine" os_index="0" cpuset="0xff")",
      R"( complete_cpuset="0xff" allowed_cpuset="0xff" nodeset="0x3" complete_nodeset="0x3")",
      R"( allowed_nodeset="0x3">)", package(0, "0x0000000f", on_first),
      package(1, "0x000000f0", on_second), on_machine, "</object></topology>");
}

TEST_CASE("a synthetic machine has the nodes and cores of its description") {
  const auto topology = SyntheticTopology("package:2 numanode:2 core:4 pu:2");
  REQUIRE(topology.ok());
  CHECK(topology->ToString() == "2 packages, 4 NUMA nodes, 16 cores, 32 processors");
  REQUIRE(topology->nodes.size() == 4);
  CHECK(topology->nodes[1].package == 0);
  CHECK(topology->nodes[2].package == 1);
  CHECK(topology->nodes[1].cpus().ToString() == "8-15");
  CHECK(topology->nodes[1].cores[0].ToString() == "8-9");
  CHECK(topology->devices.empty());
  CHECK(topology->Node(3) != nullptr);
  CHECK(topology->Node(4) == nullptr);
}

TEST_CASE("memory without processors is no node") {
  const auto topology =
      XmlTopology(TwoPackages("", "",
                              R"(<object type="NUMANode" os_index="2" cpuset="0x0")"
                              R"( complete_cpuset="0x0" nodeset="0x4" complete_nodeset="0x4")"
                              R"( local_memory="1073741824"/>)"));
  REQUIRE(topology.ok());
  CHECK(topology->nodes.size() == 2);
}

TEST_CASE("PCI devices are near the nodes of what they hang on") {
  const auto topology = XmlTopology(
      TwoPackages(PciXml("0000:17:00.0"), PciXml("0000:b1:00.0"), PciXml("0001:03:00.0")));
  REQUIRE(topology.ok());
  REQUIRE(topology->nodes.size() == 2);
  REQUIRE(topology->devices.size() == 3);
  CHECK(topology->Device("0000:17:00.0")->nodes == std::vector{0});
  CHECK(topology->Device("B1:00.0")->nodes == std::vector{1});
  CHECK(topology->Device("0001:03:00.0")->nodes.empty());  // of the machine: not told
  CHECK(topology->Device("0000:18:00.0") == nullptr);
}

TEST_CASE("a GPU and an FPGA are placed by their PCI addresses") {
  const auto topology = XmlTopology(
      TwoPackages(PciXml("0000:17:00.0"), PciXml("0000:b1:00.0") + PciXml("0000:ca:00.1")));
  REQUIRE(topology.ok());
  const std::vector<PlacedDevice> devices = {
      {.platform = Platform::kCpu, .name = "cpu0"},
      {.platform = Platform::kGpu, .name = "gpu", .pci_address = "0000:B1:00.0"},
      {.platform = Platform::kFpga, .name = "near", .pci_address = "0000:ca:00.1"},
      {.platform = Platform::kFpga, .name = "far", .pci_address = "0000:17:00.0"}};
  const auto plan = PlanPlacement(*topology, {}, devices);
  REQUIRE(plan.ok());
  CHECK(plan->nothing.empty());
  CHECK(plan->executors[1].threads.cpus().ToString() == "7");
  CHECK(plan->executors[2].threads.cpus().ToString() == "6");
  CHECK(plan->executors[3].threads.cpus().ToString() == "3");
  CHECK(plan->executors[0].threads.cpus().ToString() == "0-2,4-5");
  CHECK(plan->application.ToString() == "0-2,4-5");
  CHECK(plan->Paired(1, 2));
  CHECK(plan->Paired(2, 1));
  CHECK_FALSE(plan->Paired(1, 3));
}

TEST_CASE("what is no topology is refused") {
  CHECK(absl::IsInvalidArgument(SyntheticTopology("nonsense:").status()));
  CHECK(absl::IsInvalidArgument(XmlTopology("").status()));
  CHECK(absl::IsInvalidArgument(XmlTopology("<topology").status()));
}

TEST_CASE("this machine is read as far as the process may use it") {
  const CpuSet allowed = ThreadCpus();
  const auto all = ReadTopology();
  REQUIRE(all.ok());
  CHECK(all->cpus() == allowed);
  const CpuSet one({allowed.cpus().back()});
  std::thread([&] {
    REQUIRE(BindThread(one).ok());
    const auto topology = ReadTopology();
    REQUIRE(topology.ok());
    CHECK(topology->cpus() == one);
    CHECK(topology->nodes.size() == 1);
  }).join();
}

}  // namespace
}  // namespace baton
