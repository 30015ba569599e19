#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "engine/engine_loop.h"

namespace baton {

// A generation, and what another attempt at it takes.
struct Engine::Loop::GenerateRun {
  RequestPtr active;
  LlmLane* lane = nullptr;
  // Without callbacks; empty once they are started and cannot be started again.
  std::vector<LlmJob> jobs;
  std::vector<absl::AnyInvocable<void(PromptChunk)>> on_prompt;  // by job
  std::vector<absl::AnyInvocable<void(TokenChunk)>> on_tokens;
  absl::AnyInvocable<void(GenerateResult)> then;
  std::vector<Stage> before;
  std::array<Stage, 2> routed;
  ExecutorBoard::Work prefill;
  ExecutorBoard::Work decode;
  int32_t retries_left = 0;
  uint32_t number = 0;  // of the attempt: what comes of an earlier one is dropped
  bool delivered = false;
  std::shared_ptr<const GivenKv> given = {};  // by a peer, until it is started
};

}  // namespace baton
