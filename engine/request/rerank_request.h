#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/request/hints.h"
#include "engine/request/route.h"

namespace baton {

struct RerankRequest {
  Envelope envelope;
  std::string model;  // a cross-encoder or an embedder; empty: the first cross-encoder, if any
  std::string query;
  std::vector<std::string> documents;  // 1 to 1,024, each non-empty and at most 1 MiB
  std::optional<int32_t> top_n;        // at least 1; absent: all
  bool return_documents = false;
};

enum class RerankMethod : uint8_t {
  kCrossEncoder,  // a model read the query and each document together
  kEmbedding,     // cosine similarity of their embeddings
};

struct RankedDocument {
  int32_t index = 0;  // in the request
  // kCrossEncoder: 1 / (1 + exp(-raw_score)), 0 to 1. kEmbedding: the cosine, -1 to 1.
  float score = 0;
  float raw_score = 0;     // what the model gave: its logit, or the cosine
  bool truncated = false;  // its end was not read
  std::string document;    // where the request wants it
};

struct RerankResult {
  RerankMethod method = RerankMethod::kCrossEncoder;
  std::vector<RankedDocument> documents;  // by score, best first; equal ones by index
  bool query_truncated = false;
  std::string model;
  Timings timings;
};

}  // namespace baton
