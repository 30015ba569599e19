#pragma once

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

struct EmbedResult {
  std::vector<std::vector<float>> embeddings;  // [texts][dimension]
  std::string model;
  Timings timings;
};

}  // namespace baton
