// batond --fpga emulate: a card that is not there, under the real XRT.
#include <map>
#include <string>
#include <vector>

#include "tests/engine/exec/fpga/golden_tokens.h"
#include "tests/integration/client.h"
#include "tests/support/eventually.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

constexpr char kGpuToFpga[] = "staged_cuda:0_to_fpga:0/0";
constexpr char kHandoffBytes[] = "baton_handoff_bytes_total{path=\"staged_cuda:0_to_fpga:0/0\"}";

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

const v1::Stage& StageOf(const v1::AskFinished& finished, const std::string& name) {
  for (const v1::Stage& stage : finished.timings().stages()) {
    if (stage.name() == name) return stage;
  }
  FAIL("no stage " << name << " in " << finished.DebugString());
  return finished.timings().stages(0);
}

// The GPU plug-in on the host runtime for kernels, beside the emulated card.
TEST_CASE("one Ask is searched on the FPGA and prefilled on the GPU and decoded on the FPGA") {
  const std::string gpu = BATON_GPU_HOST_PLUGIN;
  if (gpu.empty()) {
    WARN("skipped: this build has no host runtime for kernels");
    return;
  }
  const TempFile model(RandomModelBytes({.context_tokens = 2048}));
  Daemon daemon({"--executors.gpu.plugin=" + gpu, "--executors.gpu.build_graphs=false",
                 "--executors.gpu.warm_up=false", "--fpga", "emulate", "--require", "gpu",
                 "--model", "random=" + model.path(), "--route.platforms.search_single=fpga,cpu",
                 "--route.platforms.prefill=gpu,cpu", "--route.platforms.decode=fpga,cpu",
                 "--cost_model.route=false", "--kv.memory_mb=16", "--vector.seal_points=2400",
                 "--rag.context_passages_max=1"});
  const Client client(daemon);
  constexpr int kTowers = 2400;
  for (int first = 0; first < kTowers; first += 800) {
    std::map<std::string, std::string> documents;
    for (int i = first; i < first + 800; ++i) {
      documents["tower-" + std::to_string(i)] = "The tower of Bodegu" +
                                                std::to_string(i * 7919 % 10007) + " is " +
                                                std::to_string(1000 + i) + " millimetres tall.";
    }
    Must(client.rag, &v1::RagService::Stub::Ingest, IngestOf("facts", documents));
  }
  v1::AskRequest request = AskOf("facts", "How tall is the tower of Bodegu7919?");
  request.set_max_tokens(8);
  request.set_min_tokens(8);
  // Until the segment has a graph, the CPU compares all rows.
  v1::AskRequest look = request;
  look.set_retrieval_only(true);
  v1::Route searched_by;
  const bool on_fpga = Eventually([&] {
    const Asked found = Ask(client, look);
    REQUIRE_RPC_OK(found.status);
    searched_by = StageOf(found.finished, "search").route();
    return searched_by.platform() == v1::PLATFORM_FPGA;
  });
  INFO(searched_by.DebugString());
  REQUIRE(on_fpga);
  CHECK_FALSE(daemon.Metric(kHandoffBytes).value_or(0) > 0);

  const Asked asked = Ask(client, request);
  REQUIRE_RPC_OK(asked.status);
  REQUIRE(asked.is_finished);
  INFO(asked.finished.DebugString());
  REQUIRE_FALSE(asked.passages.empty());
  CHECK_THAT(asked.passages.at(0).text(), Catch::Contains("Bodegu7919 is 1001 millimetres"));
  CHECK(asked.ids.size() == 8);
  const v1::Stage& search = StageOf(asked.finished, "search");
  CHECK(search.route().platform() == v1::PLATFORM_FPGA);
  CHECK(search.route().emulated());
  const auto devices = Must(client.admin, &v1::AdminService::Stub::Devices, {});
  const v1::Device& fpga = FpgaOf(devices);
  const auto of_fpga = [&](const std::string& metric, const std::string& labels) {
    return daemon.Metric(metric + "{device=\"" + fpga.device() + "\"," + labels +
                         "platform=\"fpga\"}");
  };
  // The daemon looks at its devices now and then.
  CHECK(Eventually([&] {
    return of_fpga("baton_device_graph_walks_total", "").value_or(0) >= 2 &&
           of_fpga("baton_device_graph_events_total", "event=\"loaded\",").value_or(0) == 1;
  }));
  CHECK(of_fpga("baton_device_graphs", "") == 1);
  CHECK(of_fpga("baton_device_graph_bytes", "").value_or(0) > 0);
  for (const char* event : {"evicted", "dropped", "lost"}) {
    CAPTURE(event);
    CHECK(of_fpga("baton_device_graph_events_total", std::string("event=\"") + event + "\",") == 0);
  }
  const v1::Stage& prefill = StageOf(asked.finished, "prefill");
  CHECK(prefill.route().platform() == v1::PLATFORM_GPU);
  CHECK(prefill.route().emulated());
  const v1::Stage& handoff = StageOf(asked.finished, "handoff");
  CHECK(handoff.route().reason() == "path " + std::string(kGpuToFpga));
  // The prompt's positions, as the GPU has packed them: 2 layers' keys and values of 2 heads, 16
  // int8 and a scale each.
  constexpr int64_t kTokenBytes = 2 * 2 * 2 * (16 + 4);
  CHECK(handoff.items() == asked.finished.prompt_tokens() * kTokenBytes);
  CHECK(daemon.Metric(kHandoffBytes).value_or(0) == static_cast<double>(handoff.items()));
  const v1::Stage& decode = StageOf(asked.finished, "decode");
  CHECK(decode.route().platform() == v1::PLATFORM_FPGA);
  CHECK(decode.route().emulated());

  // All of it on the CPU: the same passages, and the same tokens.
  v1::AskRequest pinned = request;
  pinned.mutable_options()->mutable_hints()->set_platform(v1::PLATFORM_CPU);
  const Asked on_cpu = Ask(client, pinned);
  REQUIRE_RPC_OK(on_cpu.status);
  CHECK(StageOf(on_cpu.finished, "decode").route().platform() == v1::PLATFORM_CPU);
  REQUIRE(on_cpu.passages.size() == asked.passages.size());
  for (size_t i = 0; i < asked.passages.size(); ++i) {
    CHECK(on_cpu.passages[i].text() == asked.passages[i].text());
  }
  CHECK(on_cpu.ids == asked.ids);

  CHECK(daemon.Terminate() == 0);
}

// Teacher forced: each step gets all that the other engine had until then; its first token is the
// prefill's, its second one the card's.
TEST_CASE("a trained model that the daemon decodes on the FPGA gives another engine's tokens") {
  const std::string name = GENERATE("stories260K-f32", "baby105-940K-q8_0");
  CAPTURE(name);
  const auto path = SharedData("models/" + name + ".gguf");
  if (!path) return;
  size_t prompt_tokens = 0;
  const std::vector<TokenId> tokens = GoldenTokens(*path, &prompt_tokens);
  REQUIRE(tokens.size() > prompt_tokens + 42);
  Daemon daemon({"--fpga", "emulate", "--model", "golden=" + path->string(),
                 "--route.platforms.prefill=cpu", "--route.platforms.decode=fpga",
                 "--cost_model.route=false", "--kv.memory_mb=16", "--kv.type=f32",
                 "--kv.prefix_cache=false"});
  const Client client(daemon);
  int steps = 0;
  int same = 0;
  for (size_t at = prompt_tokens; at < prompt_tokens + 40; ++at) {
    CAPTURE(at);
    v1::GenerateRequest request;
    for (size_t i = 0; i < at; ++i) request.mutable_tokens()->add_ids(tokens[i]);
    request.set_max_tokens(2);
    request.set_ignore_eos(true);
    const Generated generated = Generate(client, request);
    REQUIRE_RPC_OK(generated.status);
    REQUIRE(generated.ids.size() == 2);
    const auto& stages = generated.finished.timings().stages();
    REQUIRE(stages.size() == 3);
    CHECK(stages[0].route().platform() == v1::PLATFORM_CPU);
    CHECK(stages[1].route().reason() == "path staged_host_to_fpga:0/0");
    CHECK(stages[2].route().platform() == v1::PLATFORM_FPGA);
    CHECK(stages[2].route().emulated());
    if (generated.ids[0] != tokens[at]) continue;  // the card would have decoded something else
    ++steps;
    same += generated.ids[1] == tokens[at + 1];
  }
  WARN(name << ": " << same << " of " << steps << " tokens are the other engine's");
  CHECK(steps >= 38);
  CHECK(same >= 0.95 * steps);
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
