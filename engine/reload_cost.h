#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/executor_board.h"

namespace baton {

// A part of a prompt, as one of a model's executors would compute it.
struct PromptPart {
  int executor = 0;
  int32_t begin = 0;  // positions
  int32_t end = 0;
  int32_t chunk_tokens_max = 1;
  double parameters = 0;  // of the model
};

// How long that is expected to take; nothing: not known for sure. Thread safe.
std::optional<double> ComputeUs(const ExecutorBoard& board, const PromptPart& part);

// Keys and values of a prompt that the tier below has: brought back, or computed.
struct ReloadCost {
  int32_t tokens = 0;
  std::optional<double> reload_us;  // nothing: not known for sure
  std::optional<double> compute_us;

  // Where one of the two is not known, they are brought back, so that it will be.
  bool reload_pays() const { return !reload_us || !compute_us || *compute_us >= *reload_us; }
  std::string ToString() const;  // both times, for a route's reason
};

}  // namespace baton
