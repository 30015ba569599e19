#pragma once

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/exec/executor.h"
#include "engine/kv/block_pool.h"
#include "engine/model/language_model.h"

namespace baton {

// A model that an executor has taken, before it has a sequence.
struct WarmUpJob {
  LlmSkill* skill = nullptr;
  std::shared_ptr<const LanguageModel> model;
  KvBlockPool* blocks = nullptr;  // in the executor's memory, one of them free
  int32_t first_slot = 0;         // those from here on are the model's
  int32_t sequences_max = 1;      // that run side by side
  int32_t chunk_tokens_max = 1;   // of a prompt in a step
};

// Has the executor run what it says warms it up: a chunk of a prompt, then each of its steps of
// decodes twice, over one block of KV that all positions share, so that no model is too large
// for it. The number of steps; 0 where it has nothing to warm up. Blocks, and lets other models'
// batches go between the steps. `go_on` is asked before each with how many are done, of how many;
// false: CANCELLED. An error is the executor's, DEADLINE_EXCEEDED of one that does not come back;
// its block is then lost to the pool.
absl::StatusOr<int32_t> WarmUp(const WarmUpJob& job,
                               absl::FunctionRef<bool(int32_t done, int32_t all)> go_on);

}  // namespace baton
