#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "tests/engine/exec/forward_harness.h"

namespace baton {

// A model of every architecture, with all that it may have; windows are shorter than the prompts.
struct ModelCase {
  const char* name;
  RandomModelOptions options;
  void (*add_keys)(GgufWriter&) = [](GgufWriter&) {};
};

inline const std::vector<ModelCase>& ModelCases() {
  static const std::vector<ModelCase> cases = {
      {"llama", {.dim = 96, .ffn_dim = 172, .layers = 3, .heads = 6, .kv_heads = 1}},
      {"llama, scaled",
       {.heads = 8, .kv_heads = 8, .tied_output = false, .rope_factors = true, .seed = 3},
       [](GgufWriter& w) { w.AddFloat("llama.rope.scaling.factor", 4); }},
      {"llama, biases", {.head_dim = 24, .biases = true, .seed = 4}},
      {"mistral, window", {.architecture = "mistral", .window = 5, .tied_output = false}},
      {"qwen2, window", {.architecture = "qwen2", .window = 9}},
      {"qwen2, yarn",
       {.architecture = "qwen2", .dim = 128, .heads = 2, .kv_heads = 1},
       [](GgufWriter& w) {
         w.AddString("qwen2.rope.scaling.type", "yarn");
         w.AddFloat("qwen2.rope.scaling.factor", 4);
         w.AddUint32("qwen2.rope.scaling.original_context_length", 512);
       }},
      {"qwen3", {.architecture = "qwen3", .head_dim = 32, .tied_output = false}},
      {"gemma2",
       {.architecture = "gemma2", .layers = 4, .head_dim = 32, .window = 4},
       [](GgufWriter& w) {
         w.AddFloat("gemma2.attn_logit_softcapping", 0.5f);
         w.AddFloat("gemma2.final_logit_softcapping", 1.5f);
       }},
      {"gemma3",
       {.architecture = "gemma3",
        .layers = 7,
        .heads = 4,
        .kv_heads = 1,
        .head_dim = 32,
        .window = 6},
       [](GgufWriter& w) {
         w.AddFloat("gemma3.rope.freq_base", 1e6f);
         w.AddFloat("gemma3.rope.scaling.factor", 8);
         w.AddFloat("gemma3.attention.scale", 0.4f);
       }},
      {"phi3, long factors",
       {.architecture = "phi3", .rope_dims = 12, .rope_factors = true},
       [](GgufWriter& w) {
         w.AddUint32("phi3.rope.scaling.original_context_length", 32);
         w.AddFloat("phi3.rope.scaling.attn_factor", 1.19f);
       }},
      {"phi3, short factors",
       {.architecture = "phi3", .window = 7, .rope_factors = true, .biases = true}},
  };
  return cases;
}

inline std::vector<TokenId> RandomTokens(size_t count, int32_t vocabulary, std::mt19937& random) {
  std::vector<TokenId> tokens;
  for (size_t i = 0; i < count; ++i) tokens.push_back(static_cast<TokenId>(random() % vocabulary));
  return tokens;
}

inline double RelativeError(const std::vector<float>& a, const std::vector<double>& b) {
  double error = 0;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error = std::max(error, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return error / largest;
}

}  // namespace baton
