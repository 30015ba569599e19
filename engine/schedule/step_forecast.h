#pragma once

#include <cstdint>

#include "engine/base/clock.h"

namespace baton {

// What an executor's steps take, learnt from those that it has completed: a line over the sequences
// that decode in them, and one over the prompt tokens that come beside, for where weights are
// unpacked for prompts a chunk costs much before its first token. Says how many prompt tokens a
// step with decodes has room for where the time between a sequence's tokens is to stay bounded. On
// a device whose step hardly grows with them that is all of it; on a CPU, where each costs a share
// of a decode, few. Not thread safe.
class StepForecast {
 public:
  // Each observation moves what was known by a share of the difference.
  void Observe(int64_t decode_tokens, int64_t prompt_tokens, TimeUs run_us);

  // Prompt tokens beside `decodes`, so that a step takes at most `percent` of one without them in
  // which all `running` sequences decode, those of the prompts with them: were it of fewer, few
  // decodes would keep many prompts waiting, and so remain few. At least kTokensMin, and as many as
  // cost a sixth of what the chunk costs before its first, so that prompts get on; INT64_MAX
  // where too little is known.
  int64_t PromptTokens(int64_t percent, int64_t decodes, int64_t running) const;

  // How long prompts may run between one step of `decodes` and the next, so that these are as far
  // apart as such a step may take. 0 where too little is known.
  double SpareUs(int64_t percent, int64_t decodes, int64_t running) const;

  // Of a step; 0 where too little is known.
  double StepUs(int64_t decodes, int64_t prompt_tokens) const;

  // Where products are made in tiles of sixteen tokens, fewer take as long.
  static constexpr int64_t kTokensMin = 16;

 private:
  // What is known of some steps, by how many tokens they held: means.
  struct Means {
    void Learn(double of_count, double of_us, double rate);
    // Of their number, of the square of its mean.
    double Variance() const;
    // Time of each token more, by least squares.
    double Slope() const;

    double count = 0;  // 0: not known
    double us = 0;
    double count_square = 0;
    double count_us = 0;
  };

  double DecodeUs(double decodes) const;        // of a step of so many, without prompts
  double PromptTokenUs() const;                 // of each prompt token more
  double PromptUs(double prompt_tokens) const;  // of so many, beside decodes

  Means decodes_;  // steps of decodes alone
  Means prompts_;  // prompts alone, or what they add to a step with decodes
  // What a chunk costs before its first token, when their numbers last differed. What chunks take
  // more while they do not differ is each token's: farther into a prompt it looks at more before
  // it.
  double prompt_before_us_ = 0;
};

}  // namespace baton
