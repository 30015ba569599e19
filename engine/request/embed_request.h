#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/request/hints.h"
#include "engine/request/route.h"

namespace baton {

struct EmbedRequest {
  Envelope envelope;
  std::string model;               // empty: the default embedder
  std::vector<std::string> texts;  // 1 to 1,024, each non-empty and at most 1 MiB
};

// What a model read of a text.
struct EmbedInput {
  int32_t tokens = 0;      // those that frame it counted; 0 where the embedder has none
  bool truncated = false;  // the text is longer than the model's context: its beginning was read
};

struct EmbedResult {
  std::vector<std::vector<float>> embeddings;  // [texts][dimension]
  std::vector<EmbedInput> inputs;              // [texts]
  std::string model;
  Timings timings;
};

}  // namespace baton
