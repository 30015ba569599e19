#include "fpga_kernels/hls/sampler.h"

#include "fpga_kernels/hls/fixed.h"
#include "fpga_kernels/hls/top_list.h"

namespace baton {
namespace fpga {
namespace {

constexpr uint32_t kLog2EQ16 = static_cast<uint32_t>(kLog2EQ30 >> 14);

// The sum of 2^(score - top) in Q30, `top` a whole number at least as large as every score.
struct RunningSum {
  int64_t top;
  uint64_t sum;
};

int64_t ScoreOf(int32_t logit, uint32_t sharpness) {  // Q16
  return Saturate(ShiftRound(static_cast<int64_t>(logit) * sharpness, 16), int64_t{1} << 40);
}

void Add(int64_t score, RunningSum& sum) {
  const int64_t top = (score + 65535) >> 16;
  if (top > sum.top) {
    const int64_t gap = top - sum.top;
    sum.sum = gap > 63 ? 0 : sum.sum >> gap;
    sum.top = top;
  }
  sum.sum += Exp2OfMinus(static_cast<uint64_t>(sum.top * 65536 - score));
}

// Among the best of all logits, whose probabilities add up to `all` at temperature 1.
SamplerResult Choose(const SamplerArgs& a, const TopList<kSamplerKept>& best,
                     const RunningSum& all) {
  SamplerResult answer;
  answer.outcome = kTokenChosen;
  answer.token = best.cells[0].id;
  answer.logit = best.cells[0].score;
  answer.kept = 1;
  if (a.sharpness == 0) {
    return answer;
  }

  uint64_t likely[kSamplerKept];  // at temperature 1, Q30
  uint64_t shares[kSamplerKept];  // at the run's, Q30
  const int64_t best_logit = best.cells[0].score;
  uint64_t likely_sum = 0;
  uint32_t kept = 0;
  for (int i = 0; i < kSamplerKept; ++i) {
#pragma HLS pipeline II = 1
    if (best.cells[i].id == kNoId) continue;
    const int64_t behind = best_logit - best.cells[i].score;
    likely[i] = Exp2OfMinus(
        static_cast<uint64_t>(all.top * 65536 - ScoreOf(best.cells[i].score, kLog2EQ16)));
    shares[i] = Exp2OfMinus(static_cast<uint64_t>(ShiftRound(behind * a.sharpness, 16)));
    likely_sum += likely[i];
    ++kept;
  }
  // What is kept so far is all there is, or what a filter leaves of it.
  bool complete = a.vocabulary <= kSamplerKept || (a.top_k != 0 && a.top_k <= kSamplerKept);
  if (a.top_p < 65536) {
    // 47 bits and 16.
    const uint64_t target = ((complete ? likely_sum : all.sum) * a.top_p) >> 16;
    uint64_t sum = 0;
    uint32_t fewest = 0;
    while (fewest < kept && (fewest == 0 || sum < target)) sum += likely[fewest++];
    complete = complete || sum >= target;
    kept = fewest;
  }
  if (a.min_p != 0) {
    const uint64_t least = (likely[0] * a.min_p) >> 16;
    uint32_t near = 1;
    while (near < kept && likely[near] >= least) ++near;
    complete = complete || near < kept;
    kept = near;
  }
  if (!complete) {
    answer.outcome = kHostChooses;
    answer.kept = kept;
    return answer;
  }
  uint64_t sum = 0;
  for (uint32_t i = 0; i < kept; ++i) sum += shares[i];
  // Of `sum` (at most 37 bits), the place that `random` points to.
  const uint64_t place = ((sum >> 16) * a.random >> 16) + ((sum & 65535) * a.random >> 32);
  uint64_t passed = 0;
  for (uint32_t i = 0; i < kept; ++i) {
#pragma HLS pipeline II = 1
    if (passed <= place) {
      answer.token = best.cells[i].id;
      answer.logit = best.cells[i].score;
    }
    passed += shares[i];
  }
  answer.kept = kept;
  return answer;
}

}  // namespace

extern "C" void sampler(int32_t* logits_out, Stream<SamplerArgs>& args, Stream<int32_t>& logits,
                        Stream<SamplerResult>& results) {
#pragma HLS interface m_axi port = logits_out bundle = logits
#pragma HLS interface axis port = args
#pragma HLS interface axis port = logits
#pragma HLS interface axis port = results
  for (;;) {
    const SamplerArgs a = args.read();
    if (a.vocabulary == 0) return;
    const int kept_max =
        a.top_k == 0 || a.top_k > kSamplerKept ? kSamplerKept : static_cast<int>(a.top_k);
    TopList<kSamplerKept> best;
#pragma HLS array_partition variable = best.cells complete
    Clear(best);
    RunningSum all = RunningSum();
    all.top = -(int64_t{1} << 26);
    for (uint32_t token = 0; token < a.vocabulary; ++token) {
#pragma HLS pipeline II = 1
      const int32_t logit = logits.read();
      if (a.logits_wanted != 0) logits_out[a.logits_at + token] = logit;
      Scored item;
      item.score = logit;
      item.id = token;
      Insert(best, kept_max, item);
      Add(ScoreOf(logit, kLog2EQ16), all);
    }
    results.write(Choose(a, best, all));
  }
}

}  // namespace fpga
}  // namespace baton
