#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

// How language-model work is batched.
struct ScheduleOptions {
  int64_t step_tokens_max = 512;
  int64_t prefill_chunk_tokens_max = 512;
  int64_t decode_stall_percent_max = 250;
  int64_t sequences_running_max = 64;
  int64_t sequences_waiting_max = 256;
  int64_t plans_in_flight_max = 2;
  std::string admission = "expected";
  int32_t draft_tokens_max = 16;
  int64_t draft_sequences_max = 8;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("step_tokens_max", step_tokens_max, Range{1, 65536},
      "tokens in one step at most: decodes first, prefill chunks fill the rest");
    v("prefill_chunk_tokens_max", prefill_chunk_tokens_max, Range{1, 65536},
      "prompt tokens of one sequence in one step at most");
    v("decode_stall_percent_max", decode_stall_percent_max, Range{100, 1000000},
      "time between a sequence's tokens that prompts beside decodes are bounded to, in percent of "
      "a "
      "step in which all of these decode; small prompts go first then");
    v("sequences_running_max", sequences_running_max, Range{1, 4096},
      "sequences generating at once, per model");
    v("sequences_waiting_max", sequences_waiting_max, Range{1, 100000},
      "sequences waiting for admission, per model; more are refused");
    v("plans_in_flight_max", plans_in_flight_max, Range{1, 2},
      "steps submitted to one executor before the first has completed");
    v("admission", admission, OneOf{"expected", "worst_case"},
      "KV blocks that must be free before a sequence starts: expected, as many as sequences have "
      "needed lately, where one that then lacks memory waits and is computed again; worst_case, "
      "for the prompt and all of max_tokens");
    v("draft_tokens_max", draft_tokens_max, Range{0, 64},
      "next tokens guessed from the prompt and the retrieved passages, and verified in one step, "
      "at "
      "most; 0: none");
    v("draft_sequences_max", draft_sequences_max, Range{1, 4096},
      "sequences decoding at once on an executor up to which it verifies guesses");
  }
};

}  // namespace baton
