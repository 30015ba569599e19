#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/exec/executor.h"

// Work of several requests as one batch for an executor, and the answers apart again.
namespace baton {

// What batches must have in common to be done as one; empty: this one goes alone.
std::string LaunchKind(const SearchBatch& batch);
std::string LaunchKind(const EmbedBatch& batch);

int64_t ItemsOf(const SearchBatch& batch);
int64_t ItemsOf(const EmbedBatch& batch);

// Adds `more`, of the same kind, behind what is there. Its deadline is the last one's: who is late
// alone is ended by the loop.
void Append(SearchBatch more, SearchBatch& batch);
void Append(EmbedBatch more, EmbedBatch& batch);

// The answers to batches of so many items each. Status and times are those of the whole.
std::vector<SearchBatchResult> Split(SearchBatchResult result, const std::vector<int64_t>& items);
std::vector<EmbedBatchResult> Split(EmbedBatchResult result, const std::vector<int64_t>& items);

}  // namespace baton
