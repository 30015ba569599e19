// What an operator sees: health, devices, explanations, metrics, draining.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <string>
#include <vector>

#include "tests/integration/client.h"
#include "tests/support/encoder_file.h"
#include "tests/support/eventually.h"
#include "tests/support/gguf_writer.h"

namespace baton {
namespace {

const std::vector<std::string> kServices = {"baton.v1.InferenceService", "baton.v1.VectorService",
                                            "baton.v1.RagService", "baton.v1.AdminService"};

const v1::Device* Find(const v1::DevicesResponse& devices, v1::Platform platform) {
  for (const v1::Device& device : devices.devices()) {
    if (device.platform() == platform) return &device;
  }
  return nullptr;
}

TEST_CASE("a ready daemon says so everywhere") {
  Daemon daemon;
  CHECK(daemon.Health("") == "SERVING");
  for (const std::string& service : kServices) CHECK(daemon.Health(service) == "SERVING");
  CHECK(daemon.Health("baton.v1.NoSuchService") == "error 5");
  CHECK(daemon.Get("/livez").status == 200);
  CHECK(daemon.Get("/readyz").status == 200);
  CHECK(daemon.Get("/readyz").body == "ready\n");
  CHECK(daemon.Get("/").status == 404);
  CHECK(daemon.Get("/../../etc/passwd").status >= 400);
  CHECK(daemon.Terminate() == 0);
}

TEST_CASE("models are warm before the daemon is ready unless that is switched off") {
  const TempFile writer(RandomModelBytes({}));
  const TempFile encoder(RandomEncoderBytes({}));
  for (const bool warm_up : {true, false}) {
    CAPTURE(warm_up);
    Daemon daemon({"--model=writer=" + writer.path(), "--embedder.path=" + encoder.path(),
                   "--executors.gpu.enabled=off", "--executors.fpga.enabled=off",
                   warm_up ? "--executors.cpu.warm_up=true" : "--executors.cpu.warm_up=false"});
    const std::string log = daemon.Log();
    const std::string before = log.substr(0, log.find(" serves gRPC on "));
    if (warm_up) {
      CHECK_THAT(before, Catch::Contains("executor cpu0: warm: model writer: "));
      CHECK_THAT(before, Catch::Contains(": warm on the CPU after "));
    } else {
      CHECK(log.find("warm") == log.npos);
    }
    CHECK(daemon.Metric("baton_generated_tokens_total").value_or(0) == 0);
  }
}

TEST_CASE("every executor is listed, the absent ones with their reason") {
  const bool is_switched_off = GENERATE(false, true);
  CAPTURE(is_switched_off);
  std::vector<std::string> flags;
  if (is_switched_off) {
    flags = {"--executors.gpu.enabled=off", "--executors.fpga.enabled=off"};
  }
  Daemon daemon(flags);
  const Client client(daemon);
  const auto devices = Must(client.admin, &v1::AdminService::Stub::Devices, {});
  const v1::Device* cpu = Find(devices, v1::PLATFORM_CPU);
  REQUIRE(cpu != nullptr);
  CHECK(cpu->available());
  CHECK_FALSE(cpu->device().empty());
  CHECK_FALSE(cpu->detail().empty());
  CHECK(std::vector<std::string>(cpu->skills().begin(), cpu->skills().end()) ==
        std::vector<std::string>{"llm", "search", "embed", "cluster"});
  REQUIRE(devices.paths_size() >= 2);  // of the host, which nothing has been copied on
  CHECK(devices.paths(0).path() == "host_direct");
  CHECK(devices.paths(1).path() == "host");
  CHECK(devices.paths(1).copies() == 0);
  for (const v1::Platform platform : {v1::PLATFORM_GPU, v1::PLATFORM_FPGA}) {
    const v1::Device* device = Find(devices, platform);
    CAPTURE(v1::Platform_Name(platform));
    REQUIRE(device != nullptr);
    // This machine may have one.
    if (device->available() && !is_switched_off) continue;
    CHECK_FALSE(device->available());
    CHECK(device->reason().size() > 10);
    CHECK(device->skills().empty());
  }
}

TEST_CASE("a platform that is required and absent keeps the daemon from starting") {
  const TempDir dir;
  const ProgramResult result = RunDaemonToItsEnd(
      {"--data-dir=" + dir.File("data"), "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0",
       "--require=gpu", "--executors.gpu.enabled=off"});
  CHECK(result.exit_code == 1);
  CHECK_THAT(TailOf(result.err, 1),
             Catch::StartsWith("batond: executors.require names gpu, but it is absent: "));
}

TEST_CASE("explain says how work would be routed, and executes nothing") {
  const TempFile model(RandomModelBytes({}));
  Daemon daemon({"--model=tiny=" + model.path(), "--executors.gpu.enabled=off",
                 "--executors.fpga.enabled=off"});
  const Client client(daemon);
  const auto explain = [&client](v1::ExplainRequest::Kind kind, int32_t items,
                                 const Metadata& metadata = {}) {
    v1::ExplainRequest request;
    request.set_kind(kind);
    request.set_items(items);
    return Must(client.admin, &v1::AdminService::Stub::Explain, request, metadata);
  };
  struct Expected {
    v1::ExplainRequest::Kind kind;
    int32_t items;
    Metadata metadata;
    v1::WorkClass work_class;  // of the first stage
    std::string rule;
    v1::Platform preferred;
  };
  using Kind = v1::ExplainRequest;
  for (const Expected& e : std::vector<Expected>{
           {Kind::SEARCH, 1, {}, v1::WORK_CLASS_SEARCH_SINGLE, "default", v1::PLATFORM_GPU},
           {Kind::SEARCH, 64, {}, v1::WORK_CLASS_SEARCH_BULK, "search-bulk", v1::PLATFORM_GPU},
           {Kind::SEARCH,
            1,
            {{"baton-latency-sla-us", "100"}},
            v1::WORK_CLASS_SEARCH_SINGLE,
            "search-single",
            v1::PLATFORM_FPGA},
           {Kind::GENERATE, 1, {}, v1::WORK_CLASS_PREFILL, "llm-prefill", v1::PLATFORM_GPU},
           {Kind::EMBED,
            1,
            {{"baton-platform", "cpu"}},
            v1::WORK_CLASS_EMBED,
            "pin",
            v1::PLATFORM_CPU}}) {
    const v1::ExplainResponse response = explain(e.kind, e.items, e.metadata);
    CAPTURE(response.ShortDebugString());
    REQUIRE(response.stages_size() >= 1);
    const v1::ExplainStage& stage = response.stages(0);
    CHECK(stage.route().work_class() == e.work_class);
    CHECK(stage.route().rule() == e.rule);
    CHECK(stage.route().preferred() == e.preferred);
    CHECK(stage.route().platform() == v1::PLATFORM_CPU);
    CHECK(stage.route().fallback() == (e.preferred != v1::PLATFORM_CPU));
    REQUIRE(stage.candidates_size() == 3);
    for (const v1::Candidate& candidate : stage.candidates()) {
      CHECK(candidate.eligible() == (candidate.platform() == v1::PLATFORM_CPU));
      CHECK(candidate.eligible() == candidate.reason().empty());
    }
  }
  std::vector<std::string> names;
  const v1::ExplainResponse ask = explain(Kind::ASK, 1);
  for (const v1::ExplainStage& stage : ask.stages()) {
    names.push_back(stage.name());
  }
  CHECK(names == std::vector<std::string>{"embed", "search", "prefill", "decode"});

  // A pin that cannot be served is an explanation, not an error.
  v1::ExplainRequest pinned;
  pinned.set_kind(Kind::GENERATE);
  pinned.mutable_options()->mutable_hints()->set_platform(v1::PLATFORM_FPGA);
  const auto explained = Must(client.admin, &v1::AdminService::Stub::Explain, pinned);
  CHECK(explained.stages(0).route().platform() == v1::PLATFORM_UNSPECIFIED);
  CHECK_THAT(explained.stages(0).route().reason(), Catch::Contains("fpga"));
  CHECK_RPC_ERROR(Try(client.admin, &v1::AdminService::Stub::Explain, {}).status,
                  grpc::StatusCode::INVALID_ARGUMENT, "kind");
  CHECK(daemon.Metric("baton_generated_tokens_total") == 0);
}

TEST_CASE("calibration makes times known, and explain shows them") {
  const TempFile model(RandomModelBytes({}));
  Daemon daemon({"--model=tiny=" + model.path(), "--executors.gpu.enabled=off",
                 "--executors.fpga.enabled=off"});
  const Client client(daemon);
  const auto calibrated = Must(client.admin, &v1::AdminService::Stub::Calibrate, {});
  CHECK(calibrated.costs_size() >= 4);
  for (const v1::LearnedCost& cost : calibrated.costs()) {
    CHECK(cost.platform() == v1::PLATFORM_CPU);
    CHECK(cost.samples() > 0);
  }
  v1::ExplainRequest request;
  request.set_kind(v1::ExplainRequest::GENERATE);
  request.set_items(32);
  const auto explained = Must(client.admin, &v1::AdminService::Stub::Explain, request);
  const v1::Candidate& cpu = explained.stages(0).candidates(0);
  CHECK(cpu.samples() > 0);
  CHECK(cpu.predicted_us() > 0);
  CHECK(cpu.predicted_us_high() > cpu.predicted_us());
}

TEST_CASE("the power mode is shown and switched") {
  Daemon daemon({"--power.mode=peak"});
  const Client client(daemon);
  CHECK(Must(client.admin, &v1::AdminService::Stub::Power, {}).mode() == v1::POWER_MODE_PEAK);
  v1::PowerRequest request;
  request.set_mode(v1::POWER_MODE_STANDBY);
  const auto switched = Must(client.admin, &v1::AdminService::Stub::Power, request);
  CHECK(switched.mode() == v1::POWER_MODE_STANDBY);
  CHECK(switched.watts() > 0);
}

TEST_CASE("metrics count requests and time first tokens") {
  const TempFile model(RandomModelBytes({}));
  Daemon daemon({"--model=tiny=" + model.path()});
  const Client client(daemon);
  constexpr const char* kOk =
      R"(baton_requests_total{code="OK",method="InferenceService/Generate"})";
  CHECK(daemon.Metric(kOk) == 0);
  for (int i = 0; i < 3; ++i) REQUIRE(Generate(client, GenerateOf("hello", 4)).status.ok());
  v1::GenerateRequest unknown = GenerateOf("hello", 4);
  unknown.set_model("gpt-9");
  REQUIRE_FALSE(Generate(client, unknown).status.ok());

  CHECK(Eventually([&] { return daemon.Metric(kOk) == 3; }));
  CHECK(daemon.Metric(
            R"(baton_requests_total{code="NOT_FOUND",method="InferenceService/Generate"})") == 1);
  CHECK(daemon.Metric(R"(baton_request_seconds_count{method="InferenceService/Generate"})") == 4);
  CHECK(daemon.Metric("baton_time_to_first_token_seconds_count") == 3);
  CHECK(daemon.Metric("baton_time_to_first_token_seconds_sum").value_or(0) > 0);
  CHECK(daemon.Metric(R"(baton_time_to_first_token_seconds_bucket{le="+Inf"})") == 3);
  CHECK(daemon.Metric("baton_generated_tokens_total") == 12);
  CHECK(daemon.Metric(R"(baton_executor_up{device="cpu0",emulated="false",platform="cpu"})") == 1);
  const std::string page = daemon.Get("/metrics").body;
  CHECK_THAT(page, Catch::Contains("# TYPE baton_time_to_first_token_seconds histogram"));
  CHECK_THAT(page, Catch::Contains("# TYPE baton_requests_total counter"));
  CHECK_THAT(page, Catch::Contains("baton_build_info{version=\""));
}

TEST_CASE("SIGTERM: readiness goes off, the running stream finishes, exit 0") {
  const TempFile model(RandomModelBytes({.context_tokens = 32'768}));
  Daemon daemon({"--model=tiny=" + model.path()});
  const Client client(daemon);
  // So many tokens that the stream runs for about a second on this machine.
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE(Generate(client, GenerateOf("hello", 200)).status.ok());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const int32_t tokens = std::clamp(static_cast<int32_t>(200 / took.count()), 200, 4000);
  CAPTURE(tokens);

  std::promise<void> is_streaming;
  bool has_begun = false;
  auto stream = std::async(std::launch::async, [&] {
    return Generate(client, GenerateOf("hello", tokens), {}, std::chrono::seconds(60),
                    [&](grpc::ClientContext&) {
                      if (!std::exchange(has_begun, true)) is_streaming.set_value();
                    });
  });
  is_streaming.get_future().wait();
  daemon.SignalTerm();
  CHECK(Eventually([&] { return daemon.Get("/readyz").status == 503; }));
  CHECK_THAT(daemon.Get("/readyz").body, Catch::Contains("draining"));
  CHECK(daemon.Get("/livez").status == 200);
  CHECK(daemon.Health("") == "SERVING");
  CHECK(daemon.Health("baton.v1.InferenceService") == "NOT_SERVING");
  CHECK_RPC_ERROR(Generate(client, GenerateOf("hello", 4)).status, grpc::StatusCode::UNAVAILABLE,
                  "shutting down");
  const Generated generated = stream.get();
  REQUIRE_RPC_OK(generated.status);
  CHECK(generated.is_finished);
  CHECK(generated.ids.size() == static_cast<size_t>(tokens));
  CHECK(daemon.WaitForExit() == 0);
}

TEST_CASE("a drain ends at its limit, and tells the client that it was cut off") {
  const TempFile model(RandomModelBytes({.context_tokens = 32'768}));
  Daemon daemon({"--model=tiny=" + model.path(), "--server.drain_seconds_max=1"});
  const Client client(daemon);
  bool has_begun = false;
  const Generated generated = Generate(client, GenerateOf("hello", 30'000), {},
                                       std::chrono::seconds(60), [&](grpc::ClientContext&) {
                                         if (!std::exchange(has_begun, true)) daemon.SignalTerm();
                                       });
  CHECK_FALSE(generated.status.ok());
  CHECK_FALSE(generated.is_finished);
  CHECK_FALSE(generated.ids.empty());
  CHECK(daemon.WaitForExit() == 0);
}

TEST_CASE("a second daemon on the same port or the same data says what is in its way") {
  Daemon daemon;
  const TempDir dir;
  struct Clash {
    std::string name;
    std::vector<std::string> flags;
    std::string message;
  };
  for (const Clash& clash : std::vector<Clash>{
           {"the gRPC port",
            {"--data-dir=" + dir.File("data"), "--grpc-address=" + daemon.grpc_address(),
             "--http-address=127.0.0.1:0"},
            "cannot listen on " + daemon.grpc_address() + " (server.grpc_address)"},
           {"the HTTP port",
            {"--data-dir=" + dir.File("data"), "--grpc-address=127.0.0.1:0",
             "--http-address=" + daemon.http_address()},
            "cannot listen on " + daemon.http_address() + " (server.http_address)"},
           {"the data",
            {"--data-dir=" + daemon.data_dir(), "--grpc-address=127.0.0.1:0",
             "--http-address=127.0.0.1:0"},
            "data directory " + daemon.data_dir() + " is in use by another process"}}) {
    CAPTURE(clash.name);
    const ProgramResult result = RunDaemonToItsEnd(clash.flags);
    CHECK(result.exit_code == 1);
    CAPTURE(result.err);
    CHECK_THAT(TailOf(result.err, 1),
               Catch::StartsWith("batond: ") && Catch::Contains(clash.message));
  }
  CHECK(daemon.Health("baton.v1.RagService") == "SERVING");
}

}  // namespace
}  // namespace baton
