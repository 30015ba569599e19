#pragma once

#include <cstdint>

#include "engine/base/clock.h"

namespace baton {

// What an executor's steps take, learnt from those that it has completed: a line over the sequences
// that decode in them, and what each prompt token adds. Says how many prompt tokens a step with
// decodes has room for where the time between a sequence's tokens is to stay bounded. On a device
// whose step hardly grows with them that is all of it; on a CPU, where each costs a share of a
// decode, few. Not thread safe.
class StepForecast {
 public:
  // Each observation moves what was known by a share of the difference.
  void Observe(int64_t decode_tokens, int64_t prompt_tokens, TimeUs run_us);

  // Prompt tokens beside `decodes`, so that a step takes at most `percent` of one without them in
  // which all `running` sequences decode, those of the prompts with them: were it of fewer, few
  // decodes would keep many prompts waiting, and so remain few. At least kTokensMin, so that
  // prompts get on; INT64_MAX where too little is known.
  int64_t PromptTokens(int64_t percent, int64_t decodes, int64_t running) const;

  static constexpr int64_t kTokensMin = 8;

 private:
  double DecodeUs(double decodes) const;  // of a step of so many, without prompts

  // Means of steps of decodes alone.
  struct Decodes {
    double count = 0;
    double us = 0;
    double count_square = 0;
    double count_us = 0;
  };
  Decodes decodes_;             // count 0: not known
  double prompt_token_us_ = 0;  // of each prompt token; 0: not known
};

}  // namespace baton
