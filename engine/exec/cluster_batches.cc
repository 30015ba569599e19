#include "engine/exec/cluster_batches.h"

#include <sys/resource.h>

#include <optional>
#include <utility>

#include "engine/base/strings.h"
#include "engine/base/thread_name.h"

namespace baton {
namespace {

// As a segment builder's: searches and token generation come first.
constexpr int kClusterNice = 5;

}  // namespace

ClusterBatches::ClusterBatches(const Options& options, const Clock& clock, const CentroidMath& math)
    : device_(options.device),
      sample_bytes_max_(options.sample_bytes_max),
      math_(math),
      clock_(clock),
      jobs_(static_cast<size_t>(options.queue_batches)),
      thread_([this] { ThreadMain(); }) {}

ClusterBatches::~ClusterBatches() {
  stopping_ = true;
  jobs_.Close();
  thread_.join();
}

void ClusterBatches::Execute(ClusterBatch batch,
                             absl::AnyInvocable<void(ClusterBatchResult)> done) {
  Job job = {.batch = std::move(batch), .done = std::move(done), .queued_us = clock_.NowUs()};
  ++batches_;
  if (jobs_.TryPush(std::move(job))) return;
  --batches_;  // a refused push leaves the job untouched
  ClusterBatchResult refused;
  refused.status = absl::ResourceExhaustedError(
      StrCat("the ", device_, "'s k-means queue is full: ", jobs_.capacity(),
             " requests; retry in 1000 ms"));
  job.done(std::move(refused));
}

void ClusterBatches::ThreadMain() {
  NameThread("k-means");
  setpriority(PRIO_PROCESS, 0, kClusterNice);  // on Linux: of this thread
  while (std::optional<Job> job = jobs_.Pop()) RunJob(*std::move(job));
}

void ClusterBatches::RunJob(Job job) {
  ClusterBatchResult result;
  const TimeUs start_us = clock_.NowUs();
  const ClusterBatch& batch = job.batch;
  result.status = MayGoOn(batch);
  if (result.status.ok()) {
    const auto poll = [this, &batch] { return MayGoOn(batch); };
    auto clusters =
        batch.view != nullptr
            ? ClusterView(*batch.view, batch.params, sample_bytes_max_, poll, math_)
            : ClusterVectors(batch.vectors, batch.params, sample_bytes_max_, poll, math_);
    if (clusters.ok()) {
      result.clusters = *std::move(clusters);
    } else {
      result.status = clusters.status();
    }
  }
  result.times = {.queue_us = start_us - job.queued_us, .run_us = clock_.NowUs() - start_us};
  job.batch.view.reset();  // what the view pinned may be freed before the answer is used
  --batches_;
  job.done(std::move(result));
}

absl::Status ClusterBatches::MayGoOn(const ClusterBatch& batch) const {
  if (stopping_) return absl::CancelledError(StrCat("the ", device_, " executor is shutting down"));
  if (*batch.cancelled) return absl::CancelledError("the request has ended");
  if (clock_.NowUs() >= batch.deadline_us) {
    return absl::DeadlineExceededError("k-means did not end before its deadline");
  }
  return absl::OkStatus();
}

}  // namespace baton
