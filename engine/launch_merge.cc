#include "engine/launch_merge.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/base/strings.h"

namespace baton {
namespace {

// An address as a number, which stands for the object while somebody holds it.
uint64_t AddressOf(const void* object) { return reinterpret_cast<uintptr_t>(object); }

template <class T>
std::string OrNone(const std::optional<T>& value) {
  return value ? StrCat(*value) : "-";
}

template <class T>
void AppendTo(std::vector<T>& all, std::vector<T>&& more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

// The next `count` of a list; none where the whole failed.
template <class T>
std::vector<T> TakeFrom(std::vector<T>& all, size_t begin, int64_t count) {
  if (all.empty()) return {};
  const auto first = all.begin() + static_cast<ptrdiff_t>(begin);
  return {std::make_move_iterator(first), std::make_move_iterator(first + count)};
}

}  // namespace

std::string LaunchKind(const SearchBatch& batch) {
  const SearchParams& params = batch.params;
  return StrCat(AddressOf(batch.view.get()), " ", params.k, " ", params.exact, " ", params.ef, " ",
                OrNone(params.recall_target), " ", params.with_payload, " ", params.with_vectors,
                " ", OrNone(params.nprobe), " ", AddressOf(params.filter.get()), " ",
                OrNone(params.score_threshold), " ", params.offset, " ", params.allow_partial);
}

std::string LaunchKind(const EmbedBatch& batch) {
  return batch.query ? "" : StrCat(AddressOf(batch.embedder.get()));
}

int64_t ItemsOf(const SearchBatch& batch) { return std::ssize(batch.queries); }
int64_t ItemsOf(const EmbedBatch& batch) { return std::ssize(batch.texts); }

void Append(SearchBatch more, SearchBatch& batch) {
  AppendTo(batch.queries, std::move(more.queries));
  batch.deadline_us = std::max(batch.deadline_us, more.deadline_us);
}

void Append(EmbedBatch more, EmbedBatch& batch) {
  AppendTo(batch.texts, std::move(more.texts));
  batch.deterministic |= more.deterministic;
  batch.deadline_us = std::max(batch.deadline_us, more.deadline_us);
}

std::vector<SearchBatchResult> Split(SearchBatchResult result, const std::vector<int64_t>& items) {
  std::vector<SearchBatchResult> parts;
  size_t begin = 0;
  for (const int64_t count : items) {
    parts.push_back({.status = result.status,
                     .neighbors = TakeFrom(result.neighbors, begin, count),
                     .unsearched_points = result.unsearched_points,
                     .times = result.times});
    begin += static_cast<size_t>(count);
  }
  return parts;
}

std::vector<EmbedBatchResult> Split(EmbedBatchResult result, const std::vector<int64_t>& items) {
  std::vector<EmbedBatchResult> parts;
  size_t begin = 0;
  for (const int64_t count : items) {
    parts.push_back({.status = result.status,
                     .embeddings = TakeFrom(result.embeddings, begin, count),
                     .inputs = TakeFrom(result.inputs, begin, count),
                     .query_truncated = result.query_truncated,
                     .texts = TakeFrom(result.texts, begin, count),
                     .times = result.times});
    begin += static_cast<size_t>(count);
  }
  return parts;
}

}  // namespace baton
