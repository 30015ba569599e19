#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/request/hints.h"
#include "engine/request/route.h"

namespace baton {

// How a piece of work would be classified and routed now.
struct ExplainRequest {
  enum class Kind : uint8_t { kGenerate, kEmbed, kSearch, kUpsert, kAsk, kRerank, kCluster };
  Envelope envelope;
  Kind kind = Kind::kGenerate;
  int32_t items = 1;  // queries, texts, documents or points
};

// An executor considered for a stage. Its score is the weighted sum of the four parts.
struct RouteCandidate {
  Platform platform = Platform::kCpu;
  std::string device;
  bool eligible = false;
  std::string reason;  // where not eligible: why
  double score = 0;
  double score_performance = 0;
  double score_queue = 0;
  double score_capability = 0;
  double score_residency = 0;
  // What is expected of it, by what it took before; 0: nothing is known.
  double predicted_us = 0;
  double predicted_us_high = 0;  // 19 of 20 take less
  int64_t samples = 0;
  bool sure = false;   // enough samples, and no wide interval
  double speedup = 0;  // over the best other one; 0: one of them is not sure
  double predicted_joules = 0;
};

struct ExplainedStage {
  std::string name;
  Route route;  // where nothing is eligible: device is empty and reason says why
  std::vector<RouteCandidate> candidates;
};

}  // namespace baton
