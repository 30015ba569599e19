#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/cuda_kernels/paged_fixture.h"

namespace baton::cuda {

struct NaiveAttentionArgs {
  int64_t sequence;
  int32_t kv_head;
  int32_t layer;
  int64_t begin;  // positions
  int64_t end;
  float scale;
  float score_cap;
};

// softmax(cap(q . k * scale)) v in f64, of what the blocks hold; zeros where there is no position.
inline std::vector<float> NaiveAttention(const PagedFixture& fixture,
                                         const std::vector<float>& query,
                                         const NaiveAttentionArgs& args) {
  std::vector<double> scores;
  double highest = -INFINITY;
  for (int64_t position = args.begin; position < args.end; ++position) {
    const std::vector<float> key =
        fixture.Load({args.sequence, position, args.layer, args.kv_head, KvPlane::kKeys});
    double dot = 0;
    for (size_t d = 0; d < key.size(); ++d) dot += double{query[d]} * key[d];
    dot *= args.scale;
    if (args.score_cap > 0) dot = args.score_cap * std::tanh(dot / args.score_cap);
    scores.push_back(dot);
    highest = std::max(highest, dot);
  }
  std::vector<double> sums(query.size());
  double total = 0;
  for (int64_t position = args.begin; position < args.end; ++position) {
    const std::vector<float> value =
        fixture.Load({args.sequence, position, args.layer, args.kv_head, KvPlane::kValues});
    const double weight = std::exp(scores[position - args.begin] - highest);
    total += weight;
    for (size_t d = 0; d < value.size(); ++d) sums[d] += weight * value[d];
  }
  std::vector<float> out(query.size());
  for (size_t d = 0; d < out.size() && total > 0; ++d) {
    out[d] = static_cast<float>(sums[d] / total);
  }
  return out;
}

}  // namespace baton::cuda
