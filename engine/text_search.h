#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request/vector_request.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/view_search.h"

namespace baton {

// The texts of a search, and how they and its vectors become one answer.

// Whether a request's texts and vectors go together and its numbers are within their limits, as far
// as that can be told without a view. INVALID_ARGUMENT.
absl::Status ValidateTexts(const SearchRequest& request);

// Nothing is looked for by vector.
bool IsTextOnly(const SearchRequest& request);

// What the search by vector is to find: where its hits are fused with those by text, the
// candidates; of a range, one more than are asked for.
SearchParams DenseParams(const SearchRequest& request);

struct TextHits {
  std::vector<std::vector<Neighbor>> neighbors;  // [queries]: distances are negated scores
  std::vector<std::vector<ScoreParts>> parts;    // the same of each neighbor
};
// The answers of a request that has texts, which were checked (CheckTextQuery), on the view of all
// points: the one that was searched by vector, unless that has a name. Its vectors are not looked
// at.
//   metric: of the search by vector
//   dense: [queries], what DenseParams found; empty where IsTextOnly
absl::StatusOr<TextHits> SearchTexts(const CollectionView& view, Metric metric,
                                     const SearchRequest& request,
                                     const std::vector<std::vector<Neighbor>>& dense,
                                     SearchPoll poll);

}  // namespace baton
