#include "engine/exec/cpu/cpu_cluster.h"

#include <sys/resource.h>

#include <optional>
#include <utility>

#include "engine/base/strings.h"
#include "engine/vector/view_clusters.h"

namespace baton {
namespace {

// As a segment builder's: searches and token generation come first.
constexpr int kNice = 5;

}  // namespace

CpuCluster::CpuCluster(const CpuClusterOptions& options, const Clock& clock)
    : sample_bytes_max_(options.sample_bytes_max),
      clock_(clock),
      jobs_(static_cast<size_t>(options.queue_batches)),
      thread_([this] { ThreadMain(); }) {}

CpuCluster::~CpuCluster() {
  stopping_ = true;
  jobs_.Close();
  thread_.join();
}

void CpuCluster::Execute(ClusterBatch batch, absl::AnyInvocable<void(ClusterBatchResult)> done) {
  Job job = {.batch = std::move(batch), .done = std::move(done), .queued_us = clock_.NowUs()};
  ++batches_;
  if (jobs_.TryPush(std::move(job))) return;
  --batches_;  // a refused push leaves the job untouched
  ClusterBatchResult refused;
  refused.status = absl::ResourceExhaustedError(
      StrCat("the CPU's k-means queue is full: ", jobs_.capacity(), " requests"));
  job.done(std::move(refused));
}

void CpuCluster::ThreadMain() {
  setpriority(PRIO_PROCESS, 0, kNice);  // on Linux: of this thread
  while (std::optional<Job> job = jobs_.Pop()) RunJob(*std::move(job));
}

void CpuCluster::RunJob(Job job) {
  ClusterBatchResult result;
  const TimeUs start_us = clock_.NowUs();
  const ClusterBatch& batch = job.batch;
  result.status = MayGoOn(batch);
  if (result.status.ok()) {
    const auto poll = [this, &batch] { return MayGoOn(batch); };
    auto clusters = batch.view != nullptr
                        ? ClusterView(*batch.view, batch.params, sample_bytes_max_, poll)
                        : ClusterVectors(batch.vectors, batch.params, sample_bytes_max_, poll);
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

absl::Status CpuCluster::MayGoOn(const ClusterBatch& batch) const {
  if (stopping_) return absl::CancelledError("the CPU executor is shutting down");
  if (*batch.cancelled) return absl::CancelledError("the request has ended");
  if (clock_.NowUs() >= batch.deadline_us) {
    return absl::DeadlineExceededError("k-means did not end before its deadline");
  }
  return absl::OkStatus();
}

}  // namespace baton
