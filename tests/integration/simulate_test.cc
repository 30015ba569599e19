// batond --simulate: what an operator who rehearses a deployment sees.
#include <string>
#include <vector>

#include "engine/base/cpu_set.h"
#include "tests/integration/client.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

constexpr char kNode[] = R"(
devices:
- name: gpu0
  platform: gpu
  power_idle_w: 10
  power_max_w: 100
  latency: {search_bulk: {fixed_us: 30000}, search_single: {fixed_us: 20000}}
- name: fpga0
  platform: fpga
  latency: {search_single: {fixed_us: 500}}
)";

TEST_CASE("simulated devices serve in their time, and say what they are") {
  TempDir dir;
  Daemon daemon({"--simulate", dir.Write("node.yaml", kNode)});
  const Client client(daemon);
  const auto devices = Must(client.admin, &v1::AdminService::Stub::Devices, {});
  REQUIRE(devices.devices_size() == 3);
  for (const v1::Device& device : devices.devices()) {
    CAPTURE(device.device());
    CHECK(device.available());
    CHECK(device.emulated() == (device.platform() != v1::PLATFORM_CPU));
    if (device.emulated()) CHECK_THAT(device.detail(), Catch::StartsWith("simulated: "));
  }

  CreateCollection(client, "c", 4);
  v1::UpsertRequest upsert;
  upsert.set_collection("c");
  AddPoint(upsert, 7, {1, 0, 0, 0});
  AddPoint(upsert, 8, {0, 1, 0, 0});
  Must(client.vectors, &v1::VectorService::Stub::Upsert, upsert);
  v1::SearchRequest search = SearchOf("c", {0, 1, 0, 0}, 1);
  search.mutable_options()->mutable_hints()->set_platform(v1::PLATFORM_GPU);
  const auto found = Must(client.vectors, &v1::VectorService::Stub::Search, search);
  REQUIRE(IdsOf(found.points()) == Ids{8});
  REQUIRE(found.timings().stages_size() == 1);
  const v1::Stage& stage = found.timings().stages(0);
  CHECK(stage.route().device() == "gpu0");
  CHECK(stage.route().emulated());
  CHECK(stage.run_us() >= 20'000);
  CHECK(daemon.Metric("baton_executor_up{device=\"gpu0\",emulated=\"true\",platform=\"gpu\"}") ==
        1);
  CHECK_THAT(daemon.Log(), Catch::Contains("gpu0 (emulated)"));
  CHECK(daemon.Terminate() == 0);
}

size_t CountOf(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST_CASE("threads run where they are told to, and Devices says where") {
  const int cpu = ThreadCpus().cpus().back();
  TempDir dir;
  Daemon daemon({"--simulate", dir.Write("node.yaml", kNode),
                 "--placement.cpus=fpga0=" + std::to_string(cpu) + ";cpu=" + std::to_string(cpu)});
  const Client client(daemon);
  const auto devices = Must(client.admin, &v1::AdminService::Stub::Devices, {});
  REQUIRE(devices.devices_size() == 3);
  CHECK(devices.devices(0).processors() == std::to_string(cpu));
  CHECK(devices.devices(1).processors().empty());
  CHECK(devices.devices(2).processors() == std::to_string(cpu));
  CHECK_THAT(daemon.Log(), Catch::Contains("placement: fpga0: processors " + std::to_string(cpu)));
  CHECK_THAT(devices.devices(0).detail(), Catch::Contains(", 1 cores; threads: 1 llm"));
  CHECK(CountOf(daemon.Log(), "no thread is bound") == 0);
  CHECK(daemon.Terminate() == 0);
}

TEST_CASE("where no thread is bound the log says so once, and why") {
  Daemon daemon({"--placement.mode=off"});
  CHECK(CountOf(daemon.Log(), "placement: ") == 1);
  CHECK_THAT(daemon.Log(), Catch::Contains("no thread is bound: placement.mode is off"));
  CHECK(daemon.Terminate() == 0);
}

TEST_CASE("a placement that cannot be is refused at the start") {
  TempDir dir;
  const auto refused = [&](const std::string& cpus, const std::string& message) {
    const ProgramResult result =
        RunDaemonToItsEnd({"--placement.cpus=" + cpus, "--data-dir=" + dir.File("data")});
    CHECK(result.exit_code == 1);
    CHECK_THAT(result.err, Catch::Contains(message));
  };
  refused("cpu=8000", "placement.cpus: cpu: processors 8000 are not among those");
  refused("tpu=0", "placement.cpus names \"tpu\"");
}

TEST_CASE("a simulation that makes no sense is refused at the start") {
  TempDir dir;
  const auto refused = [&](std::vector<std::string> flags, const std::string& message) {
    flags.push_back("--data-dir=" + dir.File("data"));
    const ProgramResult result = RunDaemonToItsEnd(flags);
    CHECK(result.exit_code == 1);
    CHECK_THAT(result.err, Catch::Contains(message));
  };
  refused({"--simulate", dir.File("absent.yaml")}, "cannot read the simulation file");
  refused({"--simulate", dir.Write("bad.yaml", "devices:\n- {nam: g}\n")},
          "bad.yaml:2: unknown key \"devices[0].nam\"");
  refused({"--simulate", dir.Write("node.yaml", kNode), "--require=gpu"},
          "--simulate puts a simulated one in its place");
}

}  // namespace
}  // namespace baton
