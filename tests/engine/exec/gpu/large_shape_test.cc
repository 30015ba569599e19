// On a device alone: shapes that plain loops take too long for.
#include <catch2/catch.hpp>
#include <vector>

#include "engine/exec/cpu/decoder_forward.h"
#include "tests/engine/exec/gpu/forward_checks.h"

namespace baton {

TEST_CASE("two layers of an 8B shape stay within 2 percent of the CPU's logits") {
  const auto model = RandomModel({.dim = 4096,
                                  .ffn_dim = 14336,
                                  .layers = 2,
                                  .heads = 32,
                                  .kv_heads = 8,
                                  .vocabulary = 32000,
                                  .context_tokens = 1024,
                                  .type = TensorType::kF16,
                                  .tied_output = false,
                                  .distinct_rows = 512});
  std::mt19937 random(kGpuSeed);
  const std::vector<TokenId> tokens = RandomTokens(300, model->shape().vocabulary, random);
  ThreadTeam team(8);
  DecoderForward cpu(model, KernelsFor(DetectedSimdLevel()), team, 512);
  const KvLayout cpu_layout = LayoutOf(model->shape(), 16);
  SequenceBlocks sequence(cpu_layout, 512);
  const std::vector<TokenId> prompt(tokens.begin(), tokens.end() - 1);
  LogitsAfter(cpu, cpu_layout, sequence, prompt, 0);
  const std::vector<float> want =
      LogitsAfter(cpu, cpu_layout, sequence, {&tokens.back(), 1}, 299, /*generated=*/1);

  const auto device = OpenGpu(/*f32=*/false, /*step_tokens_max=*/512);
  auto forward = PluginForward::Load(device, model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf(model->shape(), 16, KvType::kF16);
  DeviceBlocks blocks(*device, layout, 32);
  const auto got = LogitsOf(**forward, layout, blocks.Take(512), tokens, 299);
  CHECK(RelativeError(got.back(), {want.begin(), want.end()}) <= 2e-2);
}

}  // namespace baton
