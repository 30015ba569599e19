#include "engine/text_search.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/fusion.h"
#include "engine/vector/view_text.h"

namespace baton {
namespace {

constexpr int32_t kCandidates = 100;
constexpr int32_t kCandidatesMax = 10'000;
constexpr int32_t kRankConstantMax = 10'000;
constexpr double kWeightMax = 1e6;

int32_t Candidates(const SearchRequest& request) {
  return request.fusion.candidates.value_or(
      std::max(kCandidates, request.params.k + request.params.offset));
}

absl::Status ValidateWeight(const char* name, double weight) {
  if (weight >= 0 && weight <= kWeightMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("fusion.", name, " must be 0 to 1000000, but is ", weight));
}

absl::Status ValidateFusion(const FusionParams& fusion) {
  if (fusion.rank_constant < 1 || fusion.rank_constant > kRankConstantMax) {
    return absl::InvalidArgumentError(StrCat("fusion.rank_constant must be 1 to ", kRankConstantMax,
                                             ", but is ", fusion.rank_constant));
  }
  RETURN_IF_ERROR(ValidateWeight("dense_weight", fusion.dense_weight));
  RETURN_IF_ERROR(ValidateWeight("text_weight", fusion.text_weight));
  if (fusion.dense_weight + fusion.text_weight <= 0) {
    return absl::InvalidArgumentError("fusion.dense_weight and fusion.text_weight are both 0");
  }
  if (fusion.candidates.has_value() &&
      (*fusion.candidates < 1 || *fusion.candidates > kCandidatesMax)) {
    return absl::InvalidArgumentError(
        StrCat("fusion.candidates must be 1 to ", kCandidatesMax, ", but is ", *fusion.candidates));
  }
  return absl::OkStatus();
}

// What is left of fused hits by the request's threshold, offset and k.
void Cut(const SearchParams& params, std::vector<FusedHit>& hits) {
  if (params.score_threshold.has_value()) {
    std::erase_if(hits, [&params](const FusedHit& hit) {
      return hit.neighbor.distance > -*params.score_threshold;
    });
  }
  const auto first = std::min<int64_t>(params.offset, std::ssize(hits));
  const auto end = std::min<int64_t>(first + params.k, std::ssize(hits));
  hits.erase(hits.begin() + end, hits.end());
  hits.erase(hits.begin(), hits.begin() + first);
}

}  // namespace

absl::Status ValidateTexts(const SearchRequest& request) {
  if (request.texts.empty()) return absl::OkStatus();
  if (request.texts.size() != request.queries.size()) {
    return absl::InvalidArgumentError(StrCat("there are ", request.queries.size(),
                                             " queries and texts for ", request.texts.size(),
                                             " of them: all must have one or none"));
  }
  for (size_t i = 1; i < request.queries.size(); ++i) {
    if (request.queries[i].empty() == request.queries[0].empty()) continue;
    return absl::InvalidArgumentError(
        StrCat("queries[", i, "] has ", request.queries[i].empty() ? "no" : "a",
               " vector beside its text, other than queries[0]: all must be alike"));
  }
  return ValidateFusion(request.fusion);
}

bool IsTextOnly(const SearchRequest& request) {
  return !request.texts.empty() && request.queries.front().empty();
}

SearchParams DenseParams(const SearchRequest& request) {
  SearchParams params = request.params;
  if (request.is_range) ++params.k;  // which tells whether there are more
  if (request.texts.empty()) return params;
  params.k = Candidates(request);
  params.offset = 0;
  params.score_threshold.reset();
  return params;
}

absl::StatusOr<TextHits> SearchTexts(const CollectionView& view, Metric metric,
                                     const SearchRequest& request,
                                     const std::vector<std::vector<Neighbor>>& dense,
                                     SearchPoll poll) {
  const bool fuses = !dense.empty();
  const SearchParams params = fuses ? DenseParams(request) : request.params;
  TextHits found;
  for (size_t i = 0; i < request.texts.size(); ++i) {
    std::vector<Neighbor> text;
    RETURN_IF_ERROR(SearchViewText(view, request.texts[i], params, poll, &text));
    std::vector<ScoreParts> parts;
    if (!fuses) {
      for (const Neighbor& neighbor : text) {
        const auto rank = static_cast<int32_t>(parts.size()) + params.offset + 1;
        parts.push_back({.text_score = -neighbor.distance, .text_rank = rank});
      }
      found.neighbors.push_back(std::move(text));
    } else {
      std::vector<FusedHit> hits = Fuse(dense[i], text, metric, request.fusion);
      Cut(request.params, hits);
      std::vector<Neighbor>& neighbors = found.neighbors.emplace_back();
      for (const FusedHit& hit : hits) {
        neighbors.push_back(hit.neighbor);
        parts.push_back(hit.parts);
      }
    }
    found.parts.push_back(std::move(parts));
  }
  return found;
}

}  // namespace baton
