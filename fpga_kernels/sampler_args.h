#pragma once

// What `sampler` is told and answers: the contract of host and device. Whatever changes logits
// (grammar, bias, penalties) is the host's: then it asks for the logits and chooses itself. The
// rules are those of engine/model/sampler.h: top_p and min_p look at probabilities at
// temperature 1.

#include <stdint.h>

namespace baton {
namespace fpga {

constexpr int kSamplerKept = 64;  // the largest top_k

enum SamplerOutcome : uint32_t {
  kTokenChosen = 1,
  // More tokens than kSamplerKept could be chosen: the host chooses among the logits.
  kHostChooses = 2,
};

struct SamplerArgs {
  uint32_t vocabulary;     // logits of a token; 0: the sampler's run ends
  uint32_t logits_wanted;  // 1: they are written out, [vocabulary] Q16
  // log2(e) / temperature, Q16, below 2^30; 0: greedy, the lowest of equal tokens
  uint32_t sharpness;
  uint32_t top_k;      // 0: all
  uint32_t top_p;      // Q16; from 65536: all. Of what top_k leaves
  uint32_t min_p;      // Q16: as likely as this share of the best; 0: all. Of what top_p leaves
  uint32_t random;     // uniform, Q32
  uint32_t logits_at;  // where they are written, in int32s
};
static_assert(sizeof(SamplerArgs) == 32, "read as it lies");

// Null: none.
inline const char* FaultOf(const SamplerArgs& a) {
  if (a.vocabulary == 0) return "sampler: vocabulary must be at least 1";
  if (a.sharpness >= 1u << 30) return "sampler: sharpness must be below 2^30";
  return nullptr;
}

struct SamplerResult {
  uint32_t outcome;  // SamplerOutcome
  uint32_t token;    // the best one where the host chooses
  int32_t logit;     // of it, Q16
  uint32_t kept;     // tokens that could have been chosen
};
static_assert(sizeof(SamplerResult) == 16, "written as it lies");

}  // namespace fpga
}  // namespace baton
