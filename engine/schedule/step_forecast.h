#pragma once

#include <cstdint>

#include "engine/base/clock.h"

namespace baton {

// What an executor's steps take, learnt from those that it has completed: one of decodes alone, and
// each prompt token that is added to it. Says how many prompt tokens a step with decodes has room
// for where the time between a sequence's tokens is to stay bounded. On a device whose step hardly
// grows with them that is all of it; on a CPU, where each costs a share of a decode, few. Not
// thread safe.
class StepForecast {
 public:
  // Each observation moves what was known by 1/8 of the difference.
  void Observe(int64_t decode_tokens, int64_t prompt_tokens, TimeUs run_us);

  // Prompt tokens beside decodes, so that a step takes at most `percent` of one without them: at
  // least kTokensMin, so that prompts get on; INT64_MAX where too little is known.
  int64_t PromptTokens(int64_t percent) const;

  static constexpr int64_t kTokensMin = 8;

 private:
  double decode_us_ = 0;        // of a step of decodes alone; 0: not known
  double prompt_token_us_ = 0;  // of each prompt token; 0: not known
};

}  // namespace baton
