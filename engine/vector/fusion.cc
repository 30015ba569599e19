#include "engine/vector/fusion.h"

#include <algorithm>
#include <cstddef>

#include "absl/container/flat_hash_map.h"

namespace baton {
namespace {

// What each place of a list adds to a score.
std::vector<double> Shares(std::span<const Neighbor> list, double weight,
                           const FusionParams& params) {
  std::vector<double> shares(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    if (params.kind == FusionKind::kReciprocalRank) {
      shares[i] = weight / (params.rank_constant + static_cast<double>(i + 1));
      continue;
    }
    const double width = double{list.back().distance} - double{list.front().distance};
    const double scaled =
        width > 0 ? (double{list.back().distance} - double{list[i].distance}) / width : 1;
    shares[i] = weight * scaled / (params.dense_weight + params.text_weight);
  }
  return shares;
}

}  // namespace

std::vector<FusedHit> Fuse(std::span<const Neighbor> dense, std::span<const Neighbor> text,
                           Metric metric, const FusionParams& params) {
  struct Sum {
    double score = 0;
    ScoreParts parts;
  };
  absl::flat_hash_map<PointId, Sum> sums;
  const std::vector<double> dense_shares = Shares(dense, params.dense_weight, params);
  for (size_t i = 0; i < dense.size(); ++i) {
    Sum& sum = sums[dense[i].id];
    sum.score = dense_shares[i];
    sum.parts.dense_score = ScoreOf(metric, dense[i].distance);
    sum.parts.dense_rank = static_cast<int32_t>(i) + 1;
  }
  const std::vector<double> text_shares = Shares(text, params.text_weight, params);
  for (size_t i = 0; i < text.size(); ++i) {
    Sum& sum = sums[text[i].id];
    sum.score += text_shares[i];
    sum.parts.text_score = -text[i].distance;
    sum.parts.text_rank = static_cast<int32_t>(i) + 1;
  }
  std::vector<FusedHit> hits;
  hits.reserve(sums.size());
  for (const auto& [id, sum] : sums) {
    hits.push_back({.neighbor = {-static_cast<float>(sum.score), id}, .parts = sum.parts});
  }
  std::sort(hits.begin(), hits.end(),
            [](const FusedHit& a, const FusedHit& b) { return a.neighbor < b.neighbor; });
  return hits;
}

}  // namespace baton
