#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/request/vector_request.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/view_prober.h"
#include "engine/vector/view_walker.h"

namespace baton {

// Asked about once per millisecond of work whether to go on; an error ends the search with it.
using SearchPoll = absl::FunctionRef<absl::Status()>;

// Whether a graph walk that keeps `ef` candidates is quicker than scanning all `rows` of a segment.
bool WalkPays(const CollectionSpec& spec, int64_t rows, int64_t ef);

// The k nearest live points of a view that match params.filter, for each query: by distance, then
// id, behind params.offset of them, as far as params.score_threshold allows. All of them where
// there are no more than k. `queries` are prepared (PrepareQuery). With params.exact, exactly the
// nearest; else segments are searched by their graphs where that pays. Either way distances are
// those of DistanceFor, bit for bit. Errors: those of `poll`, and of a filter that the view's
// payload indexes cannot answer (CheckFilter). UNAVAILABLE where a segment's file cannot be read;
// with params.allow_partial, such segments are left out instead, and `unsearched_points`, which may
// be null, is how many live points of the view they have. Runs on the caller's thread; thread safe.
absl::Status SearchView(const CollectionView& view, std::span<const std::vector<float>> queries,
                        const SearchParams& params, SearchPoll poll,
                        std::vector<std::vector<Neighbor>>* neighbors,
                        int64_t* unsearched_points = nullptr, ViewWalker* walker = nullptr,
                        ViewProber* prober = nullptr);

// Candidates that a walk of this segment keeps without a filter; 0: all its rows are compared.
int64_t WalkEf(const CollectionView& view, const CollectionView::SegmentPart& part,
               const SearchParams& params);

// The same of a walk by a ViewWalker, with a filter that this part of the segment's rows match,
// live or not: the walk goes past rows that do not and keeps as many more. 0: all that match are
// compared.
int64_t MatchingWalkEf(const CollectionView& view, const CollectionView::SegmentPart& part,
                       const SearchParams& params, double filter_share);

// Candidates that a search keeps of a segment's inverted file.
int64_t ProbeCandidates(const SearchParams& params);

// ---- For those who search a view in another way, and answer as SearchView does

// INVALID_ARGUMENT: the view's index takes no such parameters.
absl::Status CheckSearchParams(const CollectionView& view, const SearchParams& params);
// The farthest that params.score_threshold allows; infinity without one. A score is the distance or
// its negative, so it is exact.
float FarthestAllowed(const CollectionView& view, const SearchParams& params);
// Leaves those within the threshold, without params.offset of them. `found`: nearest first.
void CutNeighbors(const CollectionView& view, const SearchParams& params,
                  std::vector<Neighbor>& found);

}  // namespace baton
