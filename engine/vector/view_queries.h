#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/request/vector_request.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/view_search.h"

namespace baton {

// Questions to a view that are not searches. A null filter means all points; others must be such
// as CheckFilter takes, whose errors they return. On the caller's thread; thread safe.

absl::StatusOr<int64_t> CountView(const CollectionView& view, const Filter* filter);

// The ids of all points that match, in no order; RESOURCE_EXHAUSTED where they are more than `max`.
absl::StatusOr<std::vector<PointId>> MatchingIds(const CollectionView& view, const Filter& filter,
                                                 int64_t max);

// The ids from `first` on, ascending, `limit` at most.
struct IdPage {
  std::vector<PointId> ids;
  std::optional<PointId> next;  // where the next page begins; nothing after the last
};
absl::StatusOr<IdPage> ScrollView(const CollectionView& view, const Filter* filter, PointId first,
                                  int32_t limit);

// The `limit` most frequent values of a field with a keyword, integer or boolean index, the most
// frequent first, then by value.
absl::StatusOr<std::vector<FacetHit>> FacetView(const CollectionView& view,
                                                const std::string& field, const Filter* filter,
                                                int32_t limit);

// The params.k values of a field with a keyword or integer index that have the nearest points, each
// with its group_size nearest. `query` is prepared. `unsearched_points`: as SearchView's.
struct NeighborGroup {
  FilterValue value;
  std::vector<Neighbor> neighbors;  // nearest first
};
absl::Status SearchViewGroups(const CollectionView& view, const std::vector<float>& query,
                              const SearchParams& params, const GroupBy& group_by, SearchPoll poll,
                              std::vector<NeighborGroup>* groups,
                              int64_t* unsearched_points = nullptr);

}  // namespace baton
