#include "engine/exec/cpu/cpu_search.h"

#include <optional>
#include <utility>

#include "engine/base/strings.h"
#include "engine/vector/view_search.h"

namespace baton {

CpuSearch::CpuSearch(const CpuSearchOptions& options, const Clock& clock)
    : clock_(clock), jobs_(static_cast<size_t>(options.queue_batches)) {
  for (int i = 0; i < options.threads; ++i) {
    threads_.emplace_back([this, i, count = options.threads, placement = options.placement] {
      placement.Bind({.index = i, .count = count});
      ThreadMain();
    });
  }
}

CpuSearch::~CpuSearch() {
  stopping_ = true;
  jobs_.Close();
  for (std::thread& thread : threads_) thread.join();
}

void CpuSearch::Execute(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) {
  Job job = {.batch = std::move(batch), .done = std::move(done), .queued_us = clock_.NowUs()};
  ++batches_;
  if (jobs_.TryPush(std::move(job))) return;
  --batches_;  // a refused push leaves the job untouched
  SearchBatchResult refused;
  refused.status = absl::ResourceExhaustedError(
      StrCat("the CPU's search queue is full: ", jobs_.capacity(), " batches"));
  job.done(std::move(refused));
}

void CpuSearch::ThreadMain() {
  while (std::optional<Job> job = jobs_.Pop()) RunJob(*std::move(job));
}

void CpuSearch::RunJob(Job job) {
  SearchBatchResult result;
  const TimeUs start_us = clock_.NowUs();
  result.status = SearchView(
      *job.batch.view, job.batch.queries, job.batch.params,
      [this, &job] { return MayGoOn(job.batch); }, &result.neighbors, &result.unsearched_points);
  if (!result.status.ok()) result.neighbors.clear();
  result.times = {.queue_us = start_us - job.queued_us, .run_us = clock_.NowUs() - start_us};
  job.batch.view.reset();  // what the view pinned may be freed before the answer is used
  --batches_;
  job.done(std::move(result));
}

absl::Status CpuSearch::MayGoOn(const SearchBatch& batch) const {
  if (stopping_) return absl::CancelledError("the CPU executor is shutting down");
  if (clock_.NowUs() >= batch.deadline_us) {
    return absl::DeadlineExceededError(StrCat("the search of ", batch.queries.size(),
                                              " queries over ", batch.view->points(),
                                              " points did not end before its deadline"));
  }
  return absl::OkStatus();
}

}  // namespace baton
