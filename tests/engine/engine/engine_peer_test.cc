// Two engines of one process, linked over UCX on the loopback device: one prefills for the other.
#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/engine/engine_fixture.h"

namespace baton {
namespace {

constexpr int32_t kTokens = 20;

GenerateRequest Greedy(int32_t prompt_tokens, int text = 0) {
  std::vector<TokenId> prompt;
  for (int32_t i = 0; i < prompt_tokens; ++i) {
    prompt.push_back(260 + (i * (7 + text) + i * i / 3) % 30);
  }
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = kTokens;
  request.ignore_eos = true;
  return request;
}

struct PeerFixture : EngineFixture {
  explicit PeerFixture(const std::string& secret_file) {
    options.kv.memory_mb = 16;
    options.peer.secret_file = secret_file;
    options.peer.prefill_tokens_min = 100;
    options.peer.memory_mb = 16;
    options.peer.timeout_ms = 60'000;
    options.cost_model.samples_min = 1 << 20;  // never sure: the threshold decides
  }
  struct Answer {
    absl::Status status;
    std::vector<TokenId> ids;
    std::vector<std::string> stages;
    GenerateResult result;
  };
  Answer Ask(GenerateRequest request) {
    auto sink = std::make_shared<GenerateRecorder>();
    REQUIRE_OK(engine->Submit(std::move(request), sink));
    auto outcome = sink->Wait();
    Answer answer{.status = outcome.status, .ids = sink->ids, .result = outcome.result};
    for (const Stage& stage : outcome.result.timings.stages) answer.stages.push_back(stage.name);
    return answer;
  }
  double Asked(const char* outcome) {
    return metrics.Counter(MetricId::kPeerPrefills, {"asked", outcome}).Value();
  }
  double Served(const char* outcome) {
    return metrics.Counter(MetricId::kPeerPrefills, {"served", outcome}).Value();
  }
  double Gauge(MetricId id, std::initializer_list<std::string_view> labels = {}) {
    return metrics.Gauge(id, labels).Value();
  }
  // Nothing is held for anybody.
  bool IsClean() {
    return Eventually([&] {
      return Gauge(MetricId::kPeerLeases) == 0 &&
             Gauge(MetricId::kPeerMemoryBytes, {"used"}) == 0 &&
             Gauge(MetricId::kKvBlocks, {"random", "host", "used"}) == 0 &&
             Gauge(MetricId::kKvBlocks, {"random", "host", "reserved"}) == 0;
    });
  }
};

struct TwoEngines {
  TempDir dir;
  const std::string secret = dir.Write("secret", "0123456789abcdef");
  PeerFixture p{secret};
  PeerFixture d{secret};
  RandomModelOptions model{.context_tokens = 2048};

  void StartP() {
    p.AddRandomModel(model);
    p.options.peer.listen = "127.0.0.1:0";
    p.Start();
  }
  void StartD(const RandomModelOptions& of_d) {
    d.AddRandomModel(of_d);
    d.options.peer.prefill = {p.engine->PeerAddress()};
    d.Start();
    AwaitLink();
  }
  void AwaitLink() {
    REQUIRE(Eventually([&] { return d.Gauge(MetricId::kPeerLinks, {"out"}) == 1; }));
  }
  void Start() {
    StartP();
    StartD(model);
  }
  // What D says without peers.
  std::vector<TokenId> Alone(const GenerateRequest& request) {
    EngineFixture f;
    f.options.kv.memory_mb = 16;
    f.AddRandomModel(model);
    f.Start();
    auto sink = std::make_shared<GenerateRecorder>();
    REQUIRE_OK(f.engine->Submit(request, sink));
    REQUIRE_OK(sink->Wait().status);
    return sink->ids;
  }
};

bool Has(const std::vector<std::string>& stages, const std::string& name) {
  return std::find(stages.begin(), stages.end(), name) != stages.end();
}

TEST_CASE("a long prompt is prefilled by the peer, and the tokens are those of home") {
  TwoEngines two;
  two.p.options.kv.type = two.d.options.kv.type = "f16";
  two.Start();
  const GenerateRequest request = Greedy(900);
  const auto answer = two.d.Ask(request);
  REQUIRE_OK(answer.status);
  CHECK(answer.ids == two.Alone(request));
  CHECK(Has(answer.stages, "peer_prefill"));
  CHECK(Has(answer.stages, "reload"));
  // Whole blocks of 64, none with the last token.
  CHECK(answer.result.cached_prompt_tokens == 14 * 64);
  CHECK(two.d.Asked("ok") == 1);
  CHECK(two.p.Served("ok") == 1);
  CHECK(two.p.metrics.Counter(MetricId::kPeerSentBytes).Value() > 0);
  CHECK(two.d.metrics.Counter(MetricId::kHandoffs, {"network"}).Value() == 1);
  bool listed = false;
  for (const PathReport& path : two.d.engine->TransferPaths()) {
    if (path.path != "network" || path.copies == 0) continue;
    listed = true;
    CHECK(path.source.kind == MemorySpace::Kind::kPeer);
    CHECK(path.bytes_per_s > 0);
  }
  CHECK(listed);
  CHECK(two.p.IsClean());
  CHECK(two.d.IsClean());

  // It is in the prefix cache now: nobody is asked again.
  const auto again = two.d.Ask(request);
  CHECK(again.ids == answer.ids);
  CHECK_FALSE(Has(again.stages, "peer_prefill"));
  // Nor for what is short.
  CHECK_FALSE(Has(two.d.Ask(Greedy(60)).stages, "peer_prefill"));
  CHECK(two.d.Asked("ok") == 1);
}

TEST_CASE("many at once, beside work of the peer's own") {
  TwoEngines two;
  two.Start();
  std::vector<std::shared_ptr<GenerateRecorder>> sinks;
  std::vector<std::shared_ptr<GenerateRecorder>> own;
  for (int text = 1; text <= 6; ++text) {
    sinks.push_back(std::make_shared<GenerateRecorder>());
    REQUIRE_OK(two.d.engine->Submit(Greedy(300 + 40 * text, text), sinks.back()));
    own.push_back(std::make_shared<GenerateRecorder>());
    REQUIRE_OK(two.p.engine->Submit(Greedy(300 + 40 * text, text), own.back()));
  }
  for (size_t i = 0; i < sinks.size(); ++i) {
    CAPTURE(i);
    REQUIRE_OK(sinks[i]->Wait().status);
    REQUIRE_OK(own[i]->Wait().status);
    CHECK(sinks[i]->ids == own[i]->ids);
  }
  CHECK(two.d.Asked("ok") == 6);
  CHECK(two.p.IsClean());
  CHECK(two.d.IsClean());
}

TEST_CASE("completions of one request share what the peer gave") {
  TwoEngines two;
  two.Start();
  GenerateRequest request = Greedy(500);
  request.completions = 3;
  const auto answer = two.d.Ask(request);
  REQUIRE_OK(answer.status);
  CHECK(two.d.Asked("ok") == 1);
  CHECK(two.d.IsClean());
}

TEST_CASE("a peer with another model or layout is not used, and not asked again") {
  TwoEngines two;
  two.StartP();
  RandomModelOptions other = two.model;
  const bool weights = GENERATE(true, false);
  if (weights) {
    other.seed = 99;
  } else {
    two.d.options.kv.type = "f32";
  }
  two.StartD(other);
  for (int i = 0; i < 2; ++i) {
    const auto answer = two.d.Ask(Greedy(300, i));
    REQUIRE_OK(answer.status);
    CHECK(answer.ids.size() == kTokens);
    CHECK_FALSE(Has(answer.stages, "peer_prefill"));
  }
  CHECK(two.d.Asked("refused") == 1);
  CHECK(two.p.Served("refused") == 1);
  CHECK(two.d.IsClean());
}

TEST_CASE("where the peer fails the policy decides") {
  TwoEngines two;
  two.p.options.peer.memory_mb = 1;
  two.p.options.peer.requests_max = 1;
  // The peer holds the prompt for ever.
  two.p.simulation.peer_hold_at = GENERATE("requested", "prefilling", "ready", "posted", "half");
  CAPTURE(two.p.simulation.peer_hold_at);
  two.d.options.peer.timeout_ms = 300;
  two.Start();
  GenerateRequest request = Greedy(900);
  SECTION("fail") {
    request.envelope.hints.on_handoff_failure = HandoffFailure::kFail;
    const auto answer = two.d.Ask(request);
    CHECK(absl::IsUnavailable(answer.status));
    CHECK_THAT(std::string(answer.status.message()),
               Catch::Contains("the handoff failed: peer 127.0.0.1:"));
    CHECK_THAT(std::string(answer.status.message()), Catch::Contains("peer.timeout_ms"));
  }
  SECTION("recompute") {
    const auto answer = two.d.Ask(request);
    REQUIRE_OK(answer.status);
    CHECK(answer.ids == two.Alone(request));
    CHECK_FALSE(Has(answer.stages, "peer_prefill"));
  }
  CHECK(two.d.Asked("timeout") == 1);
  CHECK(two.d.IsClean());
}

TEST_CASE("a peer that goes is missed by nobody, and found when it is back") {
  TwoEngines two;
  two.Start();
  const std::string address = two.p.engine->PeerAddress();
  REQUIRE_OK(two.d.Ask(Greedy(300, 1)).status);
  two.p.engine.reset();
  REQUIRE(Eventually([&] { return two.d.Gauge(MetricId::kPeerLinks, {"out"}) == 0; }));
  const auto alone = two.d.Ask(Greedy(300, 2));
  REQUIRE_OK(alone.status);
  CHECK_FALSE(Has(alone.stages, "peer_prefill"));
  two.p.Stop();
  two.p.options.peer.listen = address;
  two.p.Start();
  two.AwaitLink();
  CHECK(Has(two.d.Ask(Greedy(300, 3)).stages, "peer_prefill"));
  CHECK(two.d.IsClean());
}

TEST_CASE("a cancelled request is cancelled at the peer, and a deadline holds there") {
  TwoEngines two;
  two.p.simulation.peer_hold_at = "ready";  // its answer is never followed by the KV
  two.Start();
  auto sink = std::make_shared<GenerateRecorder>();
  GenerateRequest request = Greedy(900);
  SECTION("cancelled") {
    const auto id = two.d.engine->Submit(request, sink);
    REQUIRE_OK(id);
    REQUIRE(Eventually([&] { return two.p.Served("ok") == 1; }));
    two.d.engine->Cancel(*id);
    CHECK(absl::IsCancelled(sink->Wait().status));
    CHECK(Eventually([&] { return two.d.Asked("cancelled") == 1; }));
  }
  SECTION("past its deadline") {
    request.envelope.deadline_us = SystemClock().NowUs() + 400'000;
    REQUIRE_OK(two.d.engine->Submit(request, sink));
    CHECK(absl::IsDeadlineExceeded(sink->Wait().status));
  }
  CHECK(two.d.IsClean());
}

TEST_CASE("a prompt that is cancelled while the peer computes it holds nothing there") {
  TwoEngines two;
  two.model = {.dim = 256, .ffn_dim = 512, .layers = 6, .context_tokens = 2048};
  two.Start();
  auto sink = std::make_shared<GenerateRecorder>();
  const auto id = two.d.engine->Submit(Greedy(1900), sink);
  REQUIRE_OK(id);
  REQUIRE(Eventually([&] { return two.p.Gauge(MetricId::kRequestsInFlight) == 1; }));
  two.d.engine->Cancel(*id);
  CHECK(absl::IsCancelled(sink->Wait().status));
  CHECK(Eventually([&] { return two.p.Served("cancelled") + two.p.Served("ok") == 1; }));
  CHECK(two.p.IsClean());
  CHECK(two.d.IsClean());
}

TEST_CASE("a peer short of KV memory preempts and refuses, and the tokens are right") {
  TwoEngines two;
  two.p.options.kv.memory_mb = 1;  // 4,096 positions
  two.p.options.peer.memory_mb = 1;
  two.Start();
  std::vector<std::shared_ptr<GenerateRecorder>> own;
  for (int text = 0; text < 8; ++text) {
    GenerateRequest request = Greedy(300, 20 + text);
    request.max_tokens = 600;
    own.push_back(std::make_shared<GenerateRecorder>());
    REQUIRE_OK(two.p.engine->Submit(request, own.back()));
  }
  std::vector<std::shared_ptr<GenerateRecorder>> sinks;
  for (int text = 0; text < 8; ++text) {
    sinks.push_back(std::make_shared<GenerateRecorder>());
    REQUIRE_OK(two.d.engine->Submit(Greedy(700, text), sinks.back()));
  }
  for (int text = 0; text < 8; ++text) {
    CAPTURE(text);
    REQUIRE_OK(sinks[static_cast<size_t>(text)]->Wait().status);
    REQUIRE_OK(own[static_cast<size_t>(text)]->Wait().status);
    CHECK(sinks[static_cast<size_t>(text)]->ids.size() == kTokens);
  }
  CHECK(sinks[3]->ids == two.Alone(Greedy(700, 3)));
  CHECK(two.p.IsClean());
  CHECK(two.d.IsClean());
}

TEST_CASE("hints that say where are kept, and without memory it is computed here") {
  TwoEngines two;
  two.d.options.peer.memory_mb = 1;  // less than the long prompt's KV
  two.model.layers = 8;
  two.Start();
  GenerateRequest pinned = Greedy(300);
  pinned.envelope.hints.platform = Platform::kCpu;
  CHECK_FALSE(Has(two.d.Ask(pinned).stages, "peer_prefill"));
  GenerateRequest deterministic = Greedy(300, 1);
  deterministic.envelope.hints.deterministic = true;
  CHECK_FALSE(Has(two.d.Ask(deterministic).stages, "peer_prefill"));
  const auto large = two.d.Ask(Greedy(1800, 2));
  REQUIRE_OK(large.status);
  CHECK_FALSE(Has(large.stages, "peer_prefill"));
  CHECK(two.d.Asked("no_memory") == 1);
}

TEST_CASE("options that make no sense are refused by name") {
  TempDir dir;
  PeerFixture f(dir.Write("secret", "0123456789abcdef"));
  f.AddRandomModel();
  const auto refused = [&](const char* part) {
    REQUIRE_STATUS(f.TryStart(), absl::StatusCode::kInvalidArgument, part);
  };
  SECTION("no secret") {
    f.options.peer.listen = "127.0.0.1:0";
    f.options.peer.secret_file.clear();
    refused("peer.secret_file is empty");
  }
  SECTION("no such file") {
    f.options.peer.listen = "127.0.0.1:0";
    f.options.peer.secret_file = dir.File("absent");
    refused("peer.secret_file: cannot read");
  }
  SECTION("no address") {
    f.options.peer.listen = "somewhere";
    refused("peer.listen must be IP:PORT");
  }
  SECTION("no port") {
    f.options.peer.prefill = {"127.0.0.1:0"};
    refused("has no port");
  }
  SECTION("no cache") {
    f.options.peer.prefill = {"127.0.0.1:7"};
    f.options.kv.prefix_cache = false;
    refused("kv.prefix_cache is false");
  }
}

}  // namespace
}  // namespace baton
