// Keys and values on their way while a prompt is computed, layer by layer, and between memories
// whose blocks hold different numbers of positions: by executors that write and check every vector.
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/simd_level.h"
#include "engine/exec/cpu/kernels/kv_convert.h"
#include "engine/lane_kv.h"
#include "engine/transfer/host_copy_path.h"
#include "tests/engine/engine/engine_fixture.h"
#include "tests/support/eventually.h"

namespace baton {
namespace {

constexpr MemorySpace kPromptSpace{.kind = MemorySpace::Kind::kCuda};
constexpr MemorySpace kDecodeSpace{.kind = MemorySpace::Kind::kFpga, .bank = 1};
constexpr int32_t kChunk = 64;
constexpr int32_t kTokens = 12;

float Mark(int32_t layer, int32_t position) {
  return static_cast<float>(1 + layer * 1000 + position);
}

// Calls `visit` with each element of a position's keys and values in one layer.
template <class Visit>
void ForEach(const KvLayout& layout, const LlmItem& item, int32_t layer, int32_t position,
             Visit visit) {
  std::byte* const block = item.blocks[static_cast<size_t>(position / layout.block_tokens)];
  for (int32_t area = 0; area < 2 * layout.kv_heads; ++area) {
    auto* vector =
        reinterpret_cast<float*>(block + layer * layout.layer_bytes() + area * layout.area_bytes());
    vector += position % layout.block_tokens * layout.head_dim;
    for (int32_t i = 0; i < layout.head_dim; ++i) visit(vector[i]);
  }
}

int32_t Fed(const LlmItem& item) {
  const auto tokens = static_cast<int32_t>(item.tokens.size());
  return item.work_class == WorkClass::kDecode ? tokens + 1 : tokens;
}

// Copies at once, counts, and refuses one copy where a test says so.
class CountingPath final : public CopyPath {
 public:
  const std::string& name() const override { return name_; }
  bool Connects(const MemorySpace& source, const MemorySpace& destination) const override {
    return source == kPromptSpace && destination == kDecodeSpace;
  }
  bool Converts() const override { return true; }
  absl::StatusOr<Ticket> Post(const Job& job) override {
    if (++posts == refuse_at) return absl::UnavailableError("refused by the test");
    bytes += job.bytes();
    return direct_.Post(job);
  }
  absl::StatusOr<bool> Poll(Ticket) override { return true; }
  void Cancel(Ticket) override {}

  std::atomic<int> posts{0};
  std::atomic<int64_t> bytes{0};
  int refuse_at = 0;  // the Nth; set before the engine starts

 private:
  const std::string name_ = "counting";
  HostDirectPath direct_{KvConverterFor(DetectedSimdLevel()), SystemClock()};
};

// One executor prefills, another one decodes, each in a memory of its own.
class TwoMemories : public EngineFixture {
 public:
  TwoMemories(std::string prompt_block, std::string decode_block, bool ahead = true) {
    options.kv.type = "f32";
    options.kv.gpu_block_tokens = std::move(prompt_block);
    options.kv.fpga_block_tokens = std::move(decode_block);
    options.transfer.ahead_kb_min = ahead ? 0 : -1;
    options.transfer.on_failure = "fail";
    options.schedule.prefill_chunk_tokens_max = kChunk;
    options.schedule.plans_in_flight_max = 1;
    options.cost_model.route = false;
    options.health.error_batches_min = 100000;
    AddRandomModel({.context_tokens = 256});
    const auto token = [this](const LlmItem& item) -> absl::StatusOr<TokenId> {
      if (item.work_class == WorkClass::kPrefill && fail_prompt) {
        return absl::InvalidArgumentError("failed by the test");
      }
      return 260 + (item.position + Fed(item)) * 7 % 20;
    };
    AddExecutor(std::make_unique<ScriptedExecutor>(
        token, ScriptedExecutor::Options{.platform = Platform::kGpu,
                                         .device = "gpu0",
                                         .kv_space = kPromptSpace,
                                         .tells_layers = true,
                                         .on_batch = [this](const LlmBatch& b) { Compute(b); }}));
    AddExecutor(std::make_unique<ScriptedExecutor>(
        token, ScriptedExecutor::Options{.platform = Platform::kFpga,
                                         .device = "fpga0",
                                         .kv_space = kDecodeSpace,
                                         .on_batch = [this](const LlmBatch& b) { Compute(b); }}));
    auto counting = std::make_unique<CountingPath>();
    path = counting.get();
    paths.push_back(std::move(counting));
  }
  ~TwoMemories() {
    open = true;  // whatever a test left waiting goes on
    engine.reset();
  }

  static GenerateRequest Request(int32_t prompt_tokens) {
    GenerateRequest request;
    request.prompt = std::vector<TokenId>(static_cast<size_t>(prompt_tokens), 261);
    request.max_tokens = kTokens;
    request.ignore_eos = true;
    request.sampling.seed = 3;
    return request;
  }

  bool Clean() {
    return Eventually([&] {
      double used = 0;
      for (const MemorySpace& space : {kPromptSpace, kDecodeSpace}) {
        for (const char* state : {"used", "reserved"}) {
          used += metrics.Gauge(MetricId::kKvBlocks, {"random", ToString(space), state}).Value();
        }
      }
      return engine->InFlight() == 0 && used == 0 &&
             metrics.Gauge(MetricId::kSequencesRunning, {"random"}).Value() == 0;
    });
  }

  CountingPath* path = nullptr;
  // The last chunk of a prompt waits behind its first layer until so many copies were posted ...
  std::atomic<int> await_posts{0};
  // ... and until this is true.
  std::atomic<bool> open{true};
  std::atomic<bool> fail_prompt{false};
  std::atomic<int> wrong{0};  // elements that are not what was written there
  std::atomic<int> told{0};   // batches that were asked for their layers
  std::atomic<bool> overlapped{true};

 private:
  void Compute(const LlmBatch& batch) {
    for (int32_t layer = 0; layer < batch.layout.layers; ++layer) {
      bool last_chunk = false;
      for (const LlmItem& item : batch.items) {
        for (int32_t position = 0; position < item.position; ++position) {
          ForEach(batch.layout, item, layer, position,
                  [&](float& element) { wrong += element != Mark(layer, position); });
        }
        for (int32_t i = 0; i < Fed(item); ++i) {
          ForEach(batch.layout, item, layer, item.position + i,
                  [&](float& element) { element = Mark(layer, item.position + i); });
        }
        last_chunk = last_chunk || (item.work_class == WorkClass::kPrefill && item.sample);
      }
      if (batch.layers_done == nullptr) continue;
      batch.layers_done->store(layer + 1, std::memory_order_release);
      if (layer > 0 || !last_chunk) continue;
      ++told;
      if (!Eventually([&] { return path->posts >= await_posts && open; })) overlapped = false;
    }
  }
};

TEST_CASE("blocks of another size are cut anew on their way") {
  const auto sizes = GENERATE(std::pair("64", "8"), std::pair("8", "64"), std::pair("16", "32"),
                              std::pair("32", "32"), std::pair("auto", "16"));
  const bool ahead = GENERATE(true, false);
  CAPTURE(sizes.first, sizes.second, ahead);
  TwoMemories f(sizes.first, sizes.second, ahead);
  f.Start();
  std::vector<std::shared_ptr<GenerateRecorder>> sinks;
  const std::vector<int32_t> prompts = {1, 7, 8, 9, 63, 64, 65, 128, 150, 200};
  for (const int32_t tokens : prompts) sinks.push_back(f.Submit(f.Request(tokens)));
  for (size_t i = 0; i < prompts.size(); ++i) {
    CAPTURE(prompts[i]);
    const auto outcome = sinks[i]->Wait();
    REQUIRE_OK(outcome.status);
    REQUIRE(sinks[i]->ids.size() == kTokens);
    for (int32_t t = 0; t < kTokens; ++t) {
      CHECK(sinks[i]->ids[static_cast<size_t>(t)] == 260 + (prompts[i] + t) * 7 % 20);
    }
    REQUIRE(outcome.result.timings.stages.size() == 3);
    CHECK(outcome.result.timings.stages[1].route.reason == "path counting");
    CHECK(outcome.result.timings.stages[2].route.platform == Platform::kFpga);
  }
  CHECK(f.wrong == 0);
  CHECK(f.metrics.Counter(MetricId::kHandoffBytes, {"counting"}).Value() ==
        static_cast<double>(f.path->bytes.load()));
  CHECK(f.Clean());
}

TEST_CASE("the first layers of a prompt go while those behind are computed") {
  const auto sizes = GENERATE(std::pair("64", "64"), std::pair("32", "8"), std::pair("8", "16"));
  const int32_t prompt = GENERATE(1, 20, 64);  // one chunk: nothing else goes ahead
  CAPTURE(sizes.first, sizes.second, prompt);
  TwoMemories f(sizes.first, sizes.second);
  f.await_posts = 1;
  f.Start();
  const auto sink = f.Submit(f.Request(prompt));
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(f.overlapped);
  CHECK(f.told == 1);
  CHECK(f.path->posts == 2);
  CHECK(f.wrong == 0);
  // One handoff, of all its bytes.
  CHECK(f.metrics.Counter(MetricId::kHandoffs, {"counting"}).Value() == 1);
  CHECK(outcome.result.timings.stages.at(1).items == f.path->bytes);
  CHECK(f.Clean());
}

TEST_CASE("layers that no path takes go with the handoff") {
  const int refused = GENERATE(1, 2, 3);  // 3: a whole chunk, its prompt's last layers, the rest
  const int32_t prompt = GENERATE(20, 84);
  CAPTURE(refused, prompt);
  TwoMemories f("16", "64");
  f.path->refuse_at = refused;
  f.options.transfer.on_failure = "local";  // where the handoff's own copy is refused
  f.Start();
  const auto sink = f.Submit(f.Request(prompt));
  REQUIRE_OK(sink->Wait().status);
  CHECK(sink->ids.size() == kTokens);
  CHECK(f.wrong == 0);
  CHECK(f.Clean());
}

TEST_CASE("a prompt that ends between its layers leaves nothing") {
  const bool cancel = GENERATE(true, false);
  CAPTURE(cancel);
  TwoMemories f("16", "64");
  f.open = false;
  f.fail_prompt = !cancel;
  f.Start();
  const auto sink = f.Submit(f.Request(20));
  REQUIRE(Eventually([&] { return f.path->posts == 1; }));
  if (cancel) f.engine->Cancel(f.last);
  if (cancel) CHECK(sink->Wait().status.code() == absl::StatusCode::kCancelled);
  f.open = true;
  if (!cancel) CHECK(sink->Wait().status.code() == absl::StatusCode::kInvalidArgument);
  CHECK(sink->ids.empty());
  CHECK(f.Clean());
  CHECK(f.path->posts == 1);
}

TEST_CASE("a block that is too large is refused by name") {
  KvOptions kv;
  kv.type = "f32";
  kv.block_tokens = "64";
  const LlmShape large{.layers = 32, .kv_heads = 8, .head_dim = 128, .context_tokens = 4096};
  const auto shapes = LaneKv::ShapesFor(large, {}, kv, {});
  CHECK(shapes.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(shapes.status().message() ==
        "kv.block_tokens is 64, but at most 8 positions fit a KV block of the model");
  kv.block_tokens = "8";
  REQUIRE_OK(LaneKv::ShapesFor(large, {}, kv, {}));
}

}  // namespace
}  // namespace baton
