#pragma once

#include <optional>
#include <string_view>

#include "tests/support/gguf_writer.h"

namespace baton {

// Shapes of published models, for weights that are random: "8b" is Llama 3 8B's, "1b" Llama 3.2
// 1B's; "tiny" is for tests.
inline std::optional<RandomModelOptions> SyntheticShape(std::string_view name) {
  RandomModelOptions shape = {.heads = 32,
                              .kv_heads = 8,
                              .vocabulary = 128256,
                              .context_tokens = 8192,
                              .type = TensorType::kBF16,
                              .distinct_rows = 64};
  if (name == "8b") {
    shape.dim = 4096;
    shape.ffn_dim = 14336;
    shape.layers = 32;
    shape.tied_output = false;
    return shape;
  }
  if (name == "1b") {
    shape.dim = 2048;
    shape.ffn_dim = 8192;
    shape.layers = 16;
    return shape;
  }
  if (name == "tiny") {
    shape.dim = 64;
    shape.ffn_dim = 256;
    shape.layers = 2;
    shape.heads = 4;
    shape.kv_heads = 2;
    shape.vocabulary = 320;
    shape.context_tokens = 512;
    return shape;
  }
  return std::nullopt;
}

}  // namespace baton
