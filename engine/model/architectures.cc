#include "engine/model/architectures.h"

#include <iterator>

#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr Architecture kArchitectures[] = {
    {
        .name = "llama",  // Mistral's and many others' files, too
        .qkv_bias = Presence::kOptional,
        .output_bias = Presence::kOptional,
        .rope_factors = RopeFactors::kOne,
    },
    {
        .name = "mistral",
        .qkv_bias = Presence::kOptional,
        .output_bias = Presence::kOptional,
        .rope_factors = RopeFactors::kOne,
    },
    {
        .name = "qwen2",
        .qkv_bias = Presence::kRequired,
        .rope_pairs = RopePairs::kHalves,
    },
    {
        .name = "qwen3",
        .qkv_bias = Presence::kOptional,
        .qk_norms = true,
        .rope_pairs = RopePairs::kHalves,
    },
    {
        .name = "gemma2",
        .post_norms = true,
        .rope_pairs = RopePairs::kHalves,
        .activation = Activation::kGeluTanh,
        .scaled_embedding = true,
        .score_cap = 50,
        .logit_cap = 30,
        .window = 4096,
        .window_period = 2,
        .width_scaled_layers = 46,  // 27B: 4608 / 32 heads of 128
    },
    {
        .name = "gemma3",
        .qk_norms = true,
        .post_norms = true,
        .rope_pairs = RopePairs::kHalves,
        .activation = Activation::kGeluTanh,
        .scaled_embedding = true,
        .window_period = 6,
        .window_rope_base = 10000,
        .width_scaled_layers = 62,  // 27B: 5376 / 32 heads of 128
    },
    {
        .name = "phi3",
        .fused_qkv = true,
        .fused_gate_up = true,
        .qkv_bias = Presence::kOptional,
        .rope_factors = RopeFactors::kShortAndLong,
        .rope_pairs = RopePairs::kHalves,
    },
};

}  // namespace

const Architecture* FindArchitecture(std::string_view name) {
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) {
      return &architecture;
    }
  }
  return nullptr;
}

std::string SupportedArchitectures() {
  std::string names;
  for (const Architecture& architecture : kArchitectures) {
    const bool last = &architecture == std::end(kArchitectures) - 1;
    names += StrCat(names.empty() ? "" : last ? " and " : ", ", "'", architecture.name, "'");
  }
  return names;
}

}  // namespace baton
