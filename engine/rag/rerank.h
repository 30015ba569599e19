#pragma once

#include <string_view>
#include <vector>

#include "engine/request/rag_request.h"

namespace baton {

// Orders found passages anew, best first: an embedding blurs rare words, such as the one name that
// a question is about, and here every word counts by how few of the passages hold it.
//
// A passage's score becomes a mean of its cosine similarity (two thirds) and of its coverage: the
// share, by weight, of the question's words that it holds (0 to 1; BM25's weights over the passages
// given, without its length norm). Where it has no similarity, its coverage alone. Equal scores by
// ascending id. Linear in the texts.
void Rerank(std::string_view question, std::vector<Passage>& passages,
            bool has_similarities = true);

// The highest score first; equal scores by ascending id.
void SortByScore(std::vector<Passage>& passages);

}  // namespace baton
