#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "engine/base/clock.h"
#include "engine/base/thread_placement.h"
#include "engine/exec/executor.h"
#include "engine/exec/search_batches.h"

namespace baton {

struct CpuSearchOptions {
  int threads = 1;              // at least 1
  int64_t queue_batches = 256;  // waiting
  ThreadPlacement placement = {};
};

// SearchView on threads of its own (SearchBatches), or the caller's. Thread safe.
class CpuSearch final : public SearchSkill {
 public:
  // `clock` outlives it.
  CpuSearch(const CpuSearchOptions& options, const Clock& clock)
      : batches_({.device = "CPU",
                  .threads = options.threads,
                  .queue_batches = options.queue_batches,
                  .placement = options.placement},
                 clock, [](const SearchBatch& batch, SearchPoll poll, SearchBatchResult& result) {
                   return SearchView(*batch.view, batch.queries, batch.params, poll,
                                     &result.neighbors, &result.unsearched_points);
                 }) {}

  std::string Unable(const CollectionView&, const SearchParams&) const override { return ""; }
  void Execute(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) override {
    batches_.Execute(std::move(batch), std::move(done));
  }
  void ExecuteHere(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) override {
    batches_.ExecuteHere(std::move(batch), std::move(done));
  }

  int32_t queue_depth() const { return batches_.queue_depth(); }  // waiting and running

 private:
  SearchBatches batches_;
};

}  // namespace baton
