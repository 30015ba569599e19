#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/request/vector_request.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/view_search.h"

namespace baton {

// Distinct words that are looked for at once at most.
inline constexpr size_t kTextWordsMax = 256;

// The first kTextWordsMax distinct words of a text, as a text; empty where it has none.
std::string FirstWords(std::string_view text);

// Whether the view's payload indexes answer the query, and its numbers are within their limits.
// FAILED_PRECONDITION: the field has no index, or there is no text index, or there are several and
// none is named. INVALID_ARGUMENT: all else.
absl::Status CheckTextQuery(const CollectionView& view, const TextQuery& query);

// The k live points of a view that match params.filter and score highest by their words, among
// those that have a word of the query: by score, then id, behind params.offset of them, not below
// params.score_threshold. A neighbor's distance is the negated score:
//
//   sum over distinct words w of the query, in the order of their bytes, of
//     ln(1 + (N - n(w) + 0.5) / (n(w) + 0.5)) * f (k1 + 1) / (f + k1 (1 - b + b length / average))
//
// which is BM25 (Robertson and Zaragoza, "The probabilistic relevance framework: BM25 and beyond",
// 2009) with the 1 in its logarithm that Lucene puts there, so that no word counts against a point.
// f: how often the point's field has w; length: its words. N, n(w), average: the view's live points
// with a word in the field, those with w, and their mean length, filter or not. All of it is of the
// view, patches too: a score does not depend on what is sealed, merged or still in memory.
//
// Always exact: ef and `exact` are of no matter. Errors: as CheckTextQuery, those of the filter,
// and those of `poll`. On the caller's thread; thread safe.
absl::Status SearchViewText(const CollectionView& view, const TextQuery& query,
                            const SearchParams& params, SearchPoll poll,
                            std::vector<Neighbor>* neighbors);

}  // namespace baton
