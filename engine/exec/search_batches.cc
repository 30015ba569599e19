#include "engine/exec/search_batches.h"

#include <optional>
#include <utility>

#include "engine/base/strings.h"
#include "engine/base/thread_name.h"

namespace baton {

SearchBatches::SearchBatches(Options options, const Clock& clock, Search search)
    : device_(std::move(options.device)),
      clock_(clock),
      search_(std::move(search)),
      jobs_(static_cast<size_t>(options.queue_batches)) {
  for (int i = 0; i < options.threads; ++i) {
    threads_.emplace_back([this, i, count = options.threads, placement = options.placement] {
      NameThread("search", i);
      placement.Bind({.index = i, .count = count});
      ThreadMain();
    });
  }
}

SearchBatches::~SearchBatches() {
  stopping_ = true;
  jobs_.Close();
  for (std::thread& thread : threads_) thread.join();
}

void SearchBatches::Execute(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) {
  Job job = {.batch = std::move(batch), .done = std::move(done), .queued_us = clock_.NowUs()};
  ++batches_;
  if (jobs_.TryPush(std::move(job))) return;
  --batches_;  // a refused push leaves the job untouched
  SearchBatchResult refused;
  refused.status = absl::ResourceExhaustedError(StrCat(
      "the ", device_, "'s search queue is full: ", jobs_.capacity(), " batches; retry in 100 ms"));
  job.done(std::move(refused));
}

void SearchBatches::ExecuteHere(SearchBatch batch,
                                absl::AnyInvocable<void(SearchBatchResult)> done) {
  ++batches_;
  RunJob({.batch = std::move(batch), .done = std::move(done), .queued_us = clock_.NowUs()});
}

void SearchBatches::ThreadMain() {
  while (std::optional<Job> job = jobs_.Pop()) RunJob(*std::move(job));
}

void SearchBatches::RunJob(Job job) {
  SearchBatchResult result;
  const TimeUs start_us = clock_.NowUs();
  result.status = search_(
      job.batch, [this, &job] { return MayGoOn(job.batch); }, result);
  if (!result.status.ok()) result.neighbors.clear();
  result.times = {.queue_us = start_us - job.queued_us, .run_us = clock_.NowUs() - start_us};
  job.batch.view.reset();  // what the view pinned may be freed before the answer is used
  --batches_;
  job.done(std::move(result));
}

absl::Status SearchBatches::MayGoOn(const SearchBatch& batch) const {
  if (stopping_) return absl::CancelledError(StrCat("the ", device_, " executor is shutting down"));
  if (clock_.NowUs() >= batch.deadline_us) {
    return absl::DeadlineExceededError(StrCat("the search of ", batch.queries.size(),
                                              " queries over ", batch.view->points(),
                                              " points did not end before its deadline"));
  }
  return absl::OkStatus();
}

}  // namespace baton
