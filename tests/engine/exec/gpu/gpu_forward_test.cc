// The GPU plug-in's forward pass of every architecture on the host runtime for kernels, beside
// plain loops.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/engine/exec/gpu/forward_checks.h"

namespace baton {
TEST_CASE("in f32 the GPU's forward pass of every architecture equals plain loops") {
  const auto device = OpenGpu(/*f32=*/true);
  for (const ModelCase& c : ModelCases()) {
    CAPTURE(c.name, kGpuSeed);
    const auto model = RandomModel(c.options, c.add_keys);
    auto forward = PluginForward::Load(device, model);
    REQUIRE_OK(forward);
    std::mt19937 random(kGpuSeed);
    const std::vector<TokenId> tokens = RandomTokens(17, model->shape().vocabulary, random);
    const auto want = NaiveLogits(*model, tokens);
    const KvLayout layout = LayoutOf(model->shape(), 8);
    DeviceBlocks blocks(*device, layout, 16);
    for (const size_t chunk : {tokens.size(), size_t{4}}) {
      CAPTURE(chunk);
      CHECK(WorstError(LogitsOf(**forward, layout, blocks.Take(17), tokens, chunk), want) <= 2e-5);
    }
  }
}

// The bound is of bf16 activations and weights, and f16 keys and values.
TEST_CASE("in bf16 the GPU's forward pass stays near plain loops") {
  const auto device = OpenGpu(/*f32=*/false);
  for (const ModelCase& c : ModelCases()) {
    CAPTURE(c.name, kGpuSeed);
    const auto model = RandomModel(c.options, c.add_keys);
    auto forward = PluginForward::Load(device, model);
    REQUIRE_OK(forward);
    std::mt19937 random(kGpuSeed);
    const std::vector<TokenId> tokens = RandomTokens(17, model->shape().vocabulary, random);
    const auto want = NaiveLogits(*model, tokens);
    const KvLayout layout = LayoutOf(model->shape(), 16, KvType::kF16);
    DeviceBlocks blocks(*device, layout, 16);
    for (const size_t chunk : {tokens.size(), size_t{4}}) {
      CAPTURE(chunk);
      CHECK(WorstError(LogitsOf(**forward, layout, blocks.Take(17), tokens, chunk), want) <= 6e-2);
    }
  }
}

}  // namespace baton
