// batond --fpga emulate: a card that is not there, under the real XRT.
#include <string>
#include <vector>

#include "tests/integration/client.h"
#include "tests/support/gguf_writer.h"

namespace baton {
namespace {

const v1::Device& FpgaOf(const v1::DevicesResponse& devices) {
  for (const v1::Device& device : devices.devices()) {
    if (device.platform() == v1::PLATFORM_FPGA) return device;
  }
  FAIL("no FPGA among the devices");
  return devices.devices(0);
}

TEST_CASE("one Ask is prefilled on the CPU and decoded on the emulated FPGA and says so") {
  const TempFile model(RandomModelBytes({.context_tokens = 1024}));
  Daemon daemon({"--fpga", "emulate", "--model", "random=" + model.path(),
                 "--route.platforms.prefill=cpu", "--route.platforms.decode=fpga,cpu",
                 "--cost_model.route=false", "--kv.memory_mb=16"});
  const Client client(daemon);
  const auto devices = Must(client.admin, &v1::AdminService::Stub::Devices, {});
  const v1::Device& fpga = FpgaOf(devices);
  INFO(fpga.DebugString());
  CHECK(fpga.available());
  CHECK(fpga.emulated());
  CHECK_THAT(daemon.Log(), Catch::Contains("(emulated)"));
  CHECK(daemon.Metric("baton_executor_up{device=\"" + fpga.device() +
                      "\",emulated=\"true\",platform=\"fpga\"}") == 1);

  Must(client.rag, &v1::RagService::Stub::Ingest,
       IngestOf("facts", {{"a.md", "The tower of Bodegu is 12345 millimetres tall."}}));
  v1::AskRequest request = AskOf("facts", "How tall is the tower of Bodegu?");
  request.set_max_tokens(6);
  request.set_min_tokens(6);
  const Asked asked = Ask(client, request);
  REQUIRE_RPC_OK(asked.status);
  REQUIRE(asked.is_finished);
  INFO(asked.finished.DebugString());
  CHECK(asked.ids.size() == 6);
  const v1::Stage* prefill = nullptr;
  const v1::Stage* handoff = nullptr;
  const v1::Stage* decode = nullptr;
  for (const v1::Stage& stage : asked.finished.timings().stages()) {
    if (stage.name() == "prefill") prefill = &stage;
    if (stage.name() == "handoff") handoff = &stage;
    if (stage.name() == "decode") decode = &stage;
  }
  REQUIRE(prefill != nullptr);
  REQUIRE(handoff != nullptr);
  REQUIRE(decode != nullptr);
  CHECK(prefill->route().platform() == v1::PLATFORM_CPU);
  CHECK_FALSE(prefill->route().emulated());
  CHECK(handoff->route().reason() == "path staged_host_to_fpga:0/0");
  CHECK(decode->route().platform() == v1::PLATFORM_FPGA);
  CHECK(decode->route().emulated());
  CHECK(daemon.Metric("baton_handoff_bytes_total{path=\"staged_host_to_fpga:0/0\"}").value_or(0) >
        0);
  CHECK(daemon.Terminate() == 0);
}

TEST_CASE("without a word of it there is no emulated FPGA") {
  Daemon daemon;
  const Client client(daemon);
  const auto devices = Must(client.admin, &v1::AdminService::Stub::Devices, {});
  CHECK_FALSE(FpgaOf(devices).emulated());
  CHECK_FALSE(FpgaOf(devices).available());
}

}  // namespace
}  // namespace baton
