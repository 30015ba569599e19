// Encoders on the GPU, on the host runtime for kernels, beside the CPU's.
#include <cuda_runtime_api.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <future>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "engine/exec/cpu/cpu_embed.h"
#include "engine/exec/cpu/encoder_forward.h"
#include "engine/exec/plugin_encoder.h"
#include "tests/engine/exec/gpu/gpu_harness.h"
#include "tests/support/cuda_host/cuda_host.h"
#include "tests/support/encoder_file.h"

namespace baton {
namespace {

struct Runtime {
  ~Runtime() {
    cuda_host::ForgetFailures();
    cuda_host::SetDeviceMemory(0);
  }
};

std::shared_ptr<const TextEncoder> Encoder(const RandomEncoderOptions& options) {
  const TempFile file(RandomEncoderBytes(options));
  auto encoder = LoadTextEncoder("random", file.path());
  REQUIRE_OK(encoder);
  return *std::move(encoder);
}

using Texts = std::vector<std::vector<TokenId>>;

Texts RandomTexts(const std::vector<size_t>& lengths, int32_t vocabulary) {
  std::mt19937 random(20261123);
  Texts texts;
  for (const size_t length : lengths) {
    std::vector<TokenId>& text = texts.emplace_back();
    for (size_t i = 0; i < length; ++i) {
      text.push_back(static_cast<TokenId>(random() % static_cast<uint32_t>(vocabulary)));
    }
  }
  return texts;
}

std::vector<EncoderText> Inputs(const Texts& texts, bool pairs) {
  std::vector<EncoderText> inputs;
  for (const auto& text : texts) {
    const auto second = static_cast<int32_t>(1 + text.size() / 3);
    inputs.push_back({.tokens = text, .second = pairs ? second : 0});
  }
  return inputs;
}

std::vector<std::vector<float>> Run(EncoderPass& pass, std::span<const EncoderText> texts) {
  std::vector<std::vector<float>> values;
  REQUIRE_OK(pass.Run(texts, &values));
  REQUIRE(values.size() == texts.size());
  return values;
}

std::vector<std::vector<float>> OnCpu(const std::shared_ptr<const TextEncoder>& encoder,
                                      std::span<const EncoderText> texts) {
  ThreadTeam team(1);
  EncoderForward forward(encoder, KernelsFor(SimdLevel::kBaseline), team);
  return Run(forward, texts);
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) squares += std::pow(double{a[i]} - b[i], 2);
  return std::sqrt(squares);
}

EmbedBatchResult Execute(EmbedSkill& skill, const std::shared_ptr<const Embedder>& embedder,
                         std::vector<std::string> texts, std::optional<std::string> query = {}) {
  auto promise = std::make_shared<std::promise<EmbedBatchResult>>();
  skill.Execute({.embedder = embedder, .texts = std::move(texts), .query = std::move(query)},
                [promise](EmbedBatchResult result) { promise->set_value(std::move(result)); });
  return promise->get_future().get();
}

}  // namespace

TEST_CASE("embeddings on the GPU are the CPU's for every type and shape") {
  struct Case {
    RandomEncoderOptions options;
    double f32_max;
    double bf16_max;
  };
  // Where quantised weights meet activations of 8 bits, those are what is lost.
  const Case test = GENERATE(
      Case{{}, 2e-5, 2e-2},
      Case{
          {.dim = 96, .ffn_dim = 33, .layers = 3, .heads = 4, .pooling = 2, .seed = 2}, 2e-5, 2e-2},
      Case{{.dim = 96,
            .ffn_dim = 172,
            .heads = 1,
            .context_tokens = 300,
            .token_types = 0,
            .type = TensorType::kF16,
            .seed = 3},
           2e-5,
           2e-2},
      Case{{.dim = 64, .heads = 8, .token_types = 1, .type = TensorType::kBF16, .seed = 4},
           2e-5,
           2e-2},
      Case{{.dim = 64, .ffn_dim = 256, .type = TensorType::kQ8_0, .seed = 5}, 3e-2, 3e-2},
      Case{{.dim = 256, .ffn_dim = 512, .layers = 1, .type = TensorType::kQ4K, .seed = 7},
           3e-2,
           3e-2});
  const bool f32 = GENERATE(true, false);
  CAPTURE(test.options.seed, f32);
  const auto encoder = Encoder(test.options);
  auto pass = PluginEncoder::Load(OpenGpu(f32, /*step_tokens_max=*/300), encoder);
  REQUIRE_OK(pass);
  CHECK((*pass)->step_tokens_max() == 300);
  std::vector<size_t> lengths = {1, 2, 3, 17, 63, 64};
  if (test.options.context_tokens > 64) lengths = {65, 235};  // of several tiles
  const Texts texts = RandomTexts(lengths, test.options.vocabulary);
  const auto inputs = Inputs(texts, /*pairs=*/false);
  const auto want = OnCpu(encoder, inputs);
  const auto got = Run(**pass, inputs);
  for (size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(texts[i].size());
    CHECK(Distance(got[i], want[i]) <= (f32 ? test.f32_max : test.bf16_max));
    // Texts of a step do not see one another.
    const auto alone = Run(**pass, {&inputs[i], 1});
    CHECK(Distance(alone[0], want[i]) <= (f32 ? test.f32_max : test.bf16_max));
  }
  CHECK(Run(**pass, {}).empty());
}

TEST_CASE("a deterministic text is embedded to the same bits in any company") {
  const TensorType type = GENERATE(TensorType::kF16, TensorType::kQ8_0);
  const bool f32 = GENERATE(true, false);
  CAPTURE(Name(type), f32);
  const auto encoder = Encoder({.ffn_dim = 160, .type = type});
  auto pass = PluginEncoder::Load(OpenGpu(f32, /*step_tokens_max=*/256), encoder);
  REQUIRE_OK(pass);
  const Texts texts = RandomTexts({9, 1, 64, 33, 40}, 160);
  auto inputs = Inputs(texts, /*pairs=*/false);
  inputs[3].deterministic = true;
  const auto together = Run(**pass, inputs);
  const auto few = Run(**pass, std::span(inputs).subspan(2, 2));
  const auto alone = Run(**pass, {&inputs[3], 1});
  CHECK(together[3] == alone[0]);
  CHECK(few[1] == alone[0]);
}

TEST_CASE("scores of pairs on the GPU are the CPU's") {
  const RandomEncoderOptions options = GENERATE(
      RandomEncoderOptions{.pooling = 4},
      RandomEncoderOptions{.dim = 48, .heads = 3, .token_types = 1, .pooling = 4},
      RandomEncoderOptions{.token_types = 0, .pooling = 4, .dense_head = false, .seed = 2},
      RandomEncoderOptions{.token_types = 3, .pooling = 4, .score_head = false, .seed = 3});
  const bool f32 = GENERATE(true, false);
  CAPTURE(options.seed, options.token_types, f32);
  const auto encoder = Encoder(options);
  auto pass = PluginEncoder::Load(OpenGpu(f32, /*step_tokens_max=*/256), encoder);
  REQUIRE_OK(pass);
  const Texts texts = RandomTexts({3, 4, 7, 16, 33, 64}, options.vocabulary);
  const auto pairs = Inputs(texts, /*pairs=*/true);
  const auto want = OnCpu(encoder, pairs);
  const auto got = Run(**pass, pairs);
  for (size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(texts[i].size());
    CHECK(Distance(got[i], want[i]) <= (f32 ? 2e-4 : 1e-1));
  }
}

TEST_CASE("encoders and texts that do not fit are refused by name") {
  const auto device = OpenGpu(/*f32=*/true, /*step_tokens_max=*/32);
  const absl::Status heads = PluginEncoder::Load(device, Encoder({.dim = 60, .heads = 5})).status();
  CHECK(absl::IsUnimplemented(heads));
  CHECK(heads.message() ==
        "the GPU cannot run model random: heads of 12 dimensions, must be a "
        "multiple of 8 up to 256");
  auto pass = PluginEncoder::Load(device, Encoder({.context_tokens = 40}));
  REQUIRE_OK(pass);
  CHECK((*pass)->step_tokens_max() == 40);
  const auto refused = [&](const Texts& texts) {
    std::vector<std::vector<float>> values;
    const absl::Status status = (*pass)->Run(Inputs(texts, false), &values);
    CHECK(absl::IsInvalidArgument(status));
    CHECK(values.empty());
    return std::string(status.message());
  };
  CHECK(refused({std::vector<TokenId>(41, 5)}) ==
        "a text of 41 tokens, model random takes 1 to 40");
  CHECK(refused({{}}) == "a text of 0 tokens, model random takes 1 to 40");
  CHECK(refused({{5, 160}}) == "token 160 is not in [0, 160) of model random");
  CHECK(refused({{5, -1}}) == "token -1 is not in [0, 160) of model random");
  CHECK(refused({std::vector<TokenId>(20, 5), std::vector<TokenId>(21, 5)}) ==
        "a step of 41 tokens, at most 40 fit");
}

TEST_CASE("whatever fails while an encoder is loaded or runs leaves nothing behind") {
  const Runtime runtime;
  const auto device = OpenGpu(/*f32=*/true);
  const auto encoder = Encoder({.type = TensorType::kQ8_0});
  const int64_t used = device->TakeSample().memory_bytes_used;
  int failed = 0;
  for (const char* call : {"cudaMalloc", "cudaHostAlloc", "cudaMemcpyAsync", "cudaMemGetInfo",
                           "cudaStreamCreateWithFlags", "cudaLaunchKernelEx"}) {
    for (int64_t after = 0; after < 3; ++after) {
      CAPTURE(call, after);
      cuda_host::InjectFailure({.call = call, .after = after, .error = cudaErrorMemoryAllocation});
      const absl::Status status = PluginEncoder::Load(device, encoder).status();
      cuda_host::ForgetFailures();
      CHECK((status.ok() || absl::IsResourceExhausted(status)));
      failed += status.ok() ? 0 : 1;
      CHECK(device->TakeSample().memory_bytes_used == used);
    }
  }
  CHECK(failed >= 10);
  auto pass = PluginEncoder::Load(device, encoder);
  REQUIRE_OK(pass);
  const Texts texts = RandomTexts({3, 9}, 160);
  const auto inputs = Inputs(texts, false);
  const auto want = Run(**pass, inputs);
  std::vector<std::vector<float>> values;
  for (int64_t after = 0; after < 12; after += 3) {
    cuda_host::InjectFailure(
        {.call = "cudaLaunchKernelEx", .after = after, .error = cudaErrorInvalidConfiguration});
    CHECK(absl::IsInternal((*pass)->Run(inputs, &values)));
    cuda_host::ForgetFailures();
    CHECK(values.empty());
    CHECK(Run(**pass, inputs) == want);
  }
  cuda_host::InjectFailure(
      {.call = "cudaLaunchKernelEx", .error = cudaErrorIllegalAddress, .sticky = true});
  CHECK(absl::IsUnavailable((*pass)->Run(inputs, &values)));
  cuda_host::ForgetFailures();
  CHECK(absl::IsUnavailable((*pass)->Run(inputs, &values)));
}

TEST_CASE("the GPU's embed skill takes batches of the encoders it has and says why not of others") {
  const Runtime runtime;
  GpuOptions options;
  options.activations = "f32";
  options.warm_up = true;
  options.embed_queue_batches = 8;
  const PluginExecutor gpu = MakeGpu(options);
  REQUIRE(gpu.executor->embed() != nullptr);
  EmbedSkill& skill = *gpu.executor->embed();
  CpuEmbed cpu({.threads = 1}, KernelsFor(SimdLevel::kBaseline), SystemClock());
  const auto encoder = Encoder({});
  const auto ranker = Encoder({.pooling = 4});
  CHECK(skill.Unable(*encoder) == "model random is not on the GPU");
  for (const auto& each : {encoder, ranker}) {
    REQUIRE_OK(skill.LoadModel(each));
    REQUIRE_OK(cpu.LoadModel(each));
    CHECK(skill.Unable(*each).empty());
    CHECK(skill.ModelBytes(*each) == 0);
  }
  CHECK(skill.Unable(*MakeLexicalEmbedder(64)) ==
        "lexical embedders run on the host, not on the GPU");
  const std::vector<std::string> texts = {"a bc", "", "the light house", std::string(400, 'x')};
  for (const bool scores : {false, true}) {
    const std::optional<std::string> query =
        scores ? std::optional<std::string>("who ate it") : std::nullopt;
    const auto& model = scores ? ranker : encoder;
    const EmbedBatchResult want = Execute(cpu, model, texts, query);
    const EmbedBatchResult got = Execute(skill, model, texts, query);
    REQUIRE_OK(want.status);
    REQUIRE_OK(got.status);
    REQUIRE(got.embeddings.size() == texts.size());
    CHECK(got.texts == texts);
    for (size_t i = 0; i < texts.size(); ++i) {
      CHECK(Distance(got.embeddings[i], want.embeddings[i]) <= 2e-4);
      CHECK(got.inputs[i].tokens == want.inputs[i].tokens);
      CHECK(got.inputs[i].truncated == want.inputs[i].truncated);
    }
  }
  // What has no room is not embedded by here, and why is told until it is unloaded.
  const auto other = Encoder({.seed = 9});
  cuda_host::SetDeviceMemory(1 << 20);
  CHECK(absl::IsResourceExhausted(skill.LoadModel(other)));
  CHECK_THAT(skill.Unable(*other), Catch::Contains("needs ") && Catch::Contains(" are free"));
  CHECK(absl::IsInternal(Execute(skill, other, {"a"}).status));
  skill.UnloadModel(*other);
  CHECK(skill.Unable(*other) == "model random is not on the GPU");
  skill.UnloadModel(*encoder);
  CHECK(skill.Unable(*encoder) == "model random is not on the GPU");
}

}  // namespace baton
