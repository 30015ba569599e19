// Steps of decodes as CUDA graphs, on the host runtime for kernels: it keeps what a graph is made
// of with the arguments of its capture, so that whatever changes and was not updated shows.
#include <cuda_runtime_api.h>

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "engine/exec/plugin_forward.h"
#include "engine/model/sampler.h"
#include "tests/engine/exec/gpu/forward_checks.h"
#include "tests/support/cuda_host/cuda_host.h"

namespace baton {
namespace {

struct Runtime {
  ~Runtime() { cuda_host::ForgetFailures(); }
};

// What a decode gave: logits, or a token that was chosen on the device.
struct Given {
  std::vector<float> logits;
  TokenId token = -1;
};

// Sequences that decode, on a device with graphs and on one without.
class Decodes {
 public:
  Decodes(const std::shared_ptr<const LanguageModel>& model, bool f32, int32_t graphs,
          bool early = false)
      : device_(OpenGpu(f32, /*step_tokens_max=*/64, graphs, early)),
        layout_(LayoutOf(model->shape(), 16, f32 ? KvType::kF32 : KvType::kF16)),
        vocabulary_(model->shape().vocabulary) {
    auto loaded = PluginForward::Load(device_, model);
    REQUIRE_OK(loaded);
    forward_ = *std::move(loaded);
    NewPool();
  }

  // From now on sequences have their blocks in memory of their own.
  void NewPool() { pools_.push_back(std::make_unique<DeviceBlocks>(*device_, layout_, 64)); }
  void FreePools() {
    for (Sequence& sequence : sequences_) sequence.blocks.clear();
    pools_.clear();
  }

  // Of a prompt of `length` tokens, which is computed.
  size_t Open(size_t length, uint32_t seed) {
    std::mt19937 random(seed);
    Sequence sequence;
    sequence.blocks = pools_.back()->Take(64);
    const std::vector<TokenId> prompt = RandomTokens(length, vocabulary_, random);
    const ForwardItem item = {.tokens = prompt, .position = 0, .blocks = sequence.blocks};
    REQUIRE_OK(Run({&item, 1}).second);
    sequence.length = static_cast<int32_t>(length);
    sequences_.push_back(std::move(sequence));
    return sequences_.size() - 1;
  }

  struct Decode {
    size_t sequence;
    TokenId token;
    std::optional<PlainSampling> sampling = {};
  };
  std::pair<std::vector<Given>, absl::Status> TryStep(const std::vector<Decode>& decodes,
                                                      bool deterministic = false) {
    std::vector<ForwardItem> items;
    for (const Decode& decode : decodes) {
      const Sequence& of = sequences_[decode.sequence];
      items.push_back({.tokens = {&decode.token, 1},
                       .position = of.length,
                       .blocks = of.blocks,
                       .logits = 1,
                       .sampling = decode.sampling,
                       .deterministic = deterministic});
    }
    auto given = Run(items);
    if (given.second.ok()) {
      for (const Decode& decode : decodes) ++sequences_[decode.sequence].length;
    }
    return given;
  }
  std::vector<Given> Step(const std::vector<Decode>& decodes, bool deterministic = false) {
    auto [given, status] = TryStep(decodes, deterministic);
    REQUIRE_OK(status);
    return given;
  }

  PluginDevice& device() { return *device_; }
  void Unload() { forward_.reset(); }

 private:
  struct Sequence {
    std::vector<std::byte*> blocks;
    int32_t length = 0;
  };

  std::pair<std::vector<Given>, absl::Status> Run(std::span<const ForwardItem> items) {
    std::vector<Given> given(items.size());
    absl::Status status = forward_->Run(
        layout_, items,
        [&](size_t item, std::span<const float> logits) {
          given[item].logits.assign(logits.begin(), logits.end());
        },
        [&](size_t item, const ChosenToken& chosen) { given[item].token = chosen.token; });
    return {std::move(given), std::move(status)};
  }

  std::shared_ptr<PluginDevice> device_;
  const KvLayout layout_;
  const int32_t vocabulary_;
  std::vector<std::unique_ptr<DeviceBlocks>> pools_;
  std::vector<Sequence> sequences_;
  std::unique_ptr<PluginForward> forward_;
};

void CheckSame(const std::vector<Given>& got, const std::vector<Given>& want, double error) {
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(got[i].token == want[i].token);
    REQUIRE(got[i].logits.size() == want[i].logits.size());
    if (got[i].logits.empty()) continue;
    CHECK(RelativeError(got[i].logits, {want[i].logits.begin(), want[i].logits.end()}) <= error);
  }
}

constexpr double kExact = 1e-6;

}  // namespace

TEST_CASE("a decode that was captured is one launch and follows its sequences") {
  const bool f32 = GENERATE(true, false);
  CAPTURE(f32);
  const auto model = RandomModel({});
  Decodes graphs(model, f32, /*graphs=*/64);
  Decodes plain(model, f32, /*graphs=*/0);
  std::mt19937 random(kGpuSeed);
  for (uint32_t i = 0; i < 9; ++i) {
    const size_t length = 2 + 5 * i;
    graphs.Open(length, i);
    plain.Open(length, i);
  }
  const int64_t launches_before = cuda_host::GraphLaunches();
  // Other numbers of other sequences, tokens and settings; the same ones again and again.
  constexpr size_t kSizes[] = {1, 3, 1, 3, 9, 4, 1, 9, 2, 3, 9, 4, 5, 1};
  int64_t steps_by_graph = 0;
  for (size_t round = 0; round < std::size(kSizes); ++round) {
    for (const bool chosen : {false, true}) {
      std::vector<Decodes::Decode> step;
      for (size_t i = 0; i < kSizes[round]; ++i) {
        Decodes::Decode decode = {.sequence = (round + i) % 9,
                                  .token = RandomTokens(1, model->shape().vocabulary, random)[0]};
        if (chosen) {
          decode.sampling = PlainSampling{.temperature = i % 2 == 0 ? 0.0f : 0.9f,
                                          .top_k = static_cast<int32_t>(round),
                                          .top_p = 0.9f,
                                          .min_p = 0,
                                          .random_state = 100 * round + i};
        }
        step.push_back(decode);
      }
      CAPTURE(round, chosen, step.size());
      const int64_t submissions = cuda_host::Submissions();
      const int64_t launches = cuda_host::GraphLaunches();
      const std::vector<Given> got = graphs.Step(step);
      if (cuda_host::GraphLaunches() > launches) {
        ++steps_by_graph;
        // The graph alone, and the logits that the host wants of each.
        CHECK(cuda_host::Submissions() - submissions ==
              1 + (chosen ? 0 : static_cast<int64_t>(step.size())));
      }
      // bf16's attention is split by what the graph has room for.
      CheckSame(got, plain.Step(step), f32 ? kExact : 2e-2);
    }
  }
  CHECK(steps_by_graph >= 18);
  CHECK(cuda_host::GraphLaunches() - launches_before == steps_by_graph);
}

TEST_CASE("a row that the host samples beside rows that the device does") {
  const auto model = RandomModel({});
  Decodes graphs(model, /*f32=*/true, /*graphs=*/8);
  Decodes plain(model, /*f32=*/true, /*graphs=*/0);
  for (uint32_t i = 0; i < 3; ++i) {
    graphs.Open(4 + i, i);
    plain.Open(4 + i, i);
  }
  const PlainSampling greedy = {.temperature = 0, .top_p = 1};
  for (TokenId token = 10; token < 14; ++token) {
    const std::vector<Decodes::Decode> step = {{.sequence = 0, .token = token, .sampling = greedy},
                                               {.sequence = 1, .token = token},
                                               {.sequence = 2, .token = token, .sampling = greedy}};
    CheckSame(graphs.Step(step), plain.Step(step), kExact);
  }
}

TEST_CASE("a graph is not used for other memory than it was captured with") {
  const auto model = RandomModel({});
  Decodes graphs(model, /*f32=*/true, /*graphs=*/8);
  Decodes plain(model, /*f32=*/true, /*graphs=*/0);
  const auto decode = [&](size_t sequence, int steps) {
    for (int i = 0; i < steps; ++i) {
      const std::vector<Decodes::Decode> step = {{.sequence = sequence, .token = 20 + i}};
      CheckSame(graphs.Step(step), plain.Step(step), kExact);
    }
  };
  for (Decodes* of : {&graphs, &plain}) of->Open(5, 1);
  decode(0, 3);
  // Other KV memory, beside the first and in its place.
  for (Decodes* of : {&graphs, &plain}) {
    of->NewPool();
    of->Open(7, 2);
  }
  decode(1, 3);
  decode(0, 1);
  for (Decodes* of : {&graphs, &plain}) {
    of->FreePools();
    of->NewPool();
    of->Open(6, 3);
  }
  decode(2, 3);
  // A longer step's inputs take the place of those that graphs read.
  for (Decodes* of : {&graphs, &plain}) of->Open(60, 4);
  decode(2, 1);
  decode(3, 3);
}

TEST_CASE("deterministic decodes are captured for themselves") {
  const auto model = RandomModel({.type = TensorType::kQ8_0, .finer_type = TensorType::kQ8_0});
  Decodes graphs(model, /*f32=*/false, /*graphs=*/8);
  Decodes plain(model, /*f32=*/false, /*graphs=*/0);
  for (Decodes* of : {&graphs, &plain}) {
    for (uint32_t i = 0; i < 11; ++i) of->Open(3 + i, i);
  }
  for (int round = 0; round < 4; ++round) {
    for (const size_t company : {0, 10}) {
      std::vector<Decodes::Decode> step;
      for (size_t i = 0; i <= company; ++i) {
        step.push_back({.sequence = i, .token = 30 + round});
      }
      CheckSame(graphs.Step(step, /*deterministic=*/true), plain.Step(step, true), 0);
    }
  }
}

// Each kernel that is launched early has to wait for those before, which the host runtime checks.
TEST_CASE("kernels of a graph that are launched early come to the same") {
  const auto type = GENERATE(TensorType::kF32, TensorType::kQ8_0, TensorType::kQ4_0);
  const bool f32 = GENERATE(true, false);
  CAPTURE(static_cast<int>(type), f32);
  const auto model = RandomModel({.type = type, .finer_type = type});
  Decodes early(model, f32, /*graphs=*/8, /*early=*/true);
  Decodes plain(model, f32, /*graphs=*/8);
  for (Decodes* of : {&early, &plain}) {
    for (uint32_t i = 0; i < 10; ++i) of->Open(3 + i, i);
  }
  const PlainSampling greedy = {.temperature = 0, .top_p = 1};
  const int64_t launches = cuda_host::EarlyLaunches();
  for (int round = 0; round < 3; ++round) {
    for (const size_t size : {1, 10}) {
      std::vector<Decodes::Decode> step;
      for (size_t i = 0; i < size; ++i) {
        step.push_back({.sequence = i, .token = 30 + round});
        if (i % 2 == 1) step.back().sampling = greedy;
      }
      const std::vector<Given> got = early.Step(step);
      const int64_t by_early = cuda_host::EarlyLaunches();
      CheckSame(got, plain.Step(step), 0);
      CHECK(cuda_host::EarlyLaunches() == by_early);
    }
  }
  // Two norms, keys and values, attention and gate of two layers, whatever their products are.
  CHECK(cuda_host::EarlyLaunches() - launches >= 6 * 2 * 5);
}

TEST_CASE("graphs count as memory in use until they go") {
  const Runtime runtime;
  const int64_t alive = cuda_host::LiveGraphs();
  const auto model = RandomModel({});
  Decodes graphs(model, /*f32=*/true, /*graphs=*/2);
  for (uint32_t i = 0; i < 8; ++i) graphs.Open(4, i);
  const auto used = [&] { return graphs.device().TakeSample().memory_bytes_used; };
  const auto decode = [&](size_t size) {
    std::vector<Decodes::Decode> step;
    for (size_t i = 0; i < size; ++i) step.push_back({.sequence = i, .token = 9});
    graphs.Step(step);
  };
  const int64_t before = used();
  decode(1);
  CHECK(used() == before);
  decode(1);
  const int64_t one = used() - before;
  CHECK(one >= 10 * cuda_host::kGraphNodeBytes);
  decode(1);
  CHECK(used() == before + one);
  for (const size_t size : {2, 4, 8, 1}) {
    for (int again = 0; again < 2; ++again) decode(size);
  }
  CHECK(used() == before + 2 * one);  // they are of as many launches
  // Where there is no room for one, its step is launched kernel by kernel.
  cuda_host::InjectFailure({.call = "cudaMalloc", .error = cudaErrorMemoryAllocation});
  const int64_t launches = cuda_host::GraphLaunches();
  for (int again = 0; again < 3; ++again) decode(4);
  CHECK(cuda_host::GraphLaunches() == launches);
  CHECK(used() == before + one);
  graphs.Unload();
  CHECK(cuda_host::LiveGraphs() == alive);
}

TEST_CASE("graphs are bounded and go with their model") {
  const int64_t alive = cuda_host::LiveGraphs();
  const auto model = RandomModel({});
  Decodes graphs(model, /*f32=*/true, /*graphs=*/2);
  for (uint32_t i = 0; i < 8; ++i) graphs.Open(4, i);
  for (const size_t size : {1, 2, 4, 8, 1, 2, 4, 8}) {
    for (int again = 0; again < 3; ++again) {
      std::vector<Decodes::Decode> step;
      for (size_t i = 0; i < size; ++i) step.push_back({.sequence = i, .token = 9});
      graphs.Step(step);
      CHECK(cuda_host::LiveGraphs() <= alive + 2);
    }
  }
  CHECK(cuda_host::LiveGraphs() == alive + 2);
  graphs.Unload();
  CHECK(cuda_host::LiveGraphs() == alive);
}

TEST_CASE("a step that cannot be captured is launched as it is") {
  const Runtime runtime;
  const int64_t alive = cuda_host::LiveGraphs();
  const auto model = RandomModel({});
  Decodes graphs(model, /*f32=*/true, /*graphs=*/8);
  Decodes plain(model, /*f32=*/true, /*graphs=*/0);
  for (Decodes* of : {&graphs, &plain}) of->Open(5, 1);
  const auto step = [&](TokenId token) {
    const std::vector<Given> got = graphs.Step({{.sequence = 0, .token = token}});
    CheckSame(got, plain.Step({{.sequence = 0, .token = token}}), kExact);
  };
  step(1);
  const auto [call, error] = GENERATE(
      std::pair("cudaStreamBeginCapture", static_cast<int>(cudaErrorStreamCaptureUnsupported)),
      std::pair("cudaLaunchKernelEx", static_cast<int>(cudaErrorStreamCaptureUnsupported)),
      std::pair("cudaMemcpyAsync", static_cast<int>(cudaErrorStreamCaptureInvalidated)),
      std::pair("cudaStreamEndCapture", static_cast<int>(cudaErrorStreamCaptureInvalidated)),
      std::pair("cudaGraphInstantiate", static_cast<int>(cudaErrorMemoryAllocation)),
      std::pair("cudaGraphUpload", static_cast<int>(cudaErrorMemoryAllocation)));
  CAPTURE(call);
  cuda_host::InjectFailure({.call = call, .error = error});
  const int64_t launches = cuda_host::GraphLaunches();
  for (TokenId token = 2; token < 5; ++token) step(token);
  cuda_host::ForgetFailures();
  CHECK(cuda_host::GraphLaunches() == launches);
  CHECK(cuda_host::LiveGraphs() == alive);
  CHECK(graphs.device().TakeSample().lost.empty());
}

TEST_CASE("a graph whose launch fails fails its step and one that ruins the context the device") {
  const Runtime runtime;
  const auto model = RandomModel({});
  Decodes graphs(model, /*f32=*/true, /*graphs=*/8);
  graphs.Open(5, 1);
  const std::vector<Decodes::Decode> step = {{.sequence = 0, .token = 3}};
  for (int i = 0; i < 3; ++i) graphs.Step(step);
  cuda_host::InjectFailure({.call = "cudaGraphLaunch", .error = cudaErrorMemoryAllocation});
  CHECK(absl::IsResourceExhausted(graphs.TryStep(step).second));
  graphs.Step(step);
  cuda_host::InjectFailure(
      {.call = "cudaGraphLaunch", .error = cudaErrorIllegalAddress, .sticky = true});
  const absl::Status lost = graphs.TryStep(step).second;
  CHECK(absl::IsUnavailable(lost));
  CHECK_THAT(std::string(lost.message()),
             Catch::StartsWith("GPU 0 is lost to this process, restart needed: cudaGraphLaunch"));
  cuda_host::ForgetFailures();
  CHECK(graphs.TryStep(step).second == lost);
}

}  // namespace baton
