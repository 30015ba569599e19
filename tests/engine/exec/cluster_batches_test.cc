#include "engine/exec/cluster_batches.h"

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <random>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

ClusterBatch Batch(int vectors, int iterations = 10) {
  std::mt19937 random(81);
  std::normal_distribution<float> normal;
  ClusterBatch batch;
  for (int i = 0; i < vectors; ++i) {
    std::vector<float>& vector = batch.vectors.emplace_back(8);
    for (float& value : vector) value = normal(random);
  }
  batch.params = {.k = 20, .iterations = iterations, .metric = Metric::kL2};
  batch.cancelled = std::make_shared<std::atomic<bool>>(false);
  return batch;
}

std::future<ClusterBatchResult> Submit(ClusterBatches& cluster, ClusterBatch batch) {
  auto promise = std::make_shared<std::promise<ClusterBatchResult>>();
  std::future<ClusterBatchResult> future = promise->get_future();
  cluster.Execute(std::move(batch),
                  [promise](ClusterBatchResult result) { promise->set_value(std::move(result)); });
  return future;
}

TEST_CASE("vectors are clustered") {
  ClusterBatches cluster({}, SystemClock(), HostCentroidMath());
  const ClusterBatchResult result = Submit(cluster, Batch(500)).get();
  REQUIRE_OK(result.status);
  CHECK(result.clusters.clusters.size() == 20);
  CHECK(result.clusters.points == 500);
  CHECK(result.times.run_us >= 0);
  CHECK(cluster.queue_depth() == 0);
}

TEST_CASE("what is too much for the sample's memory is refused by name") {
  ClusterBatches cluster({.sample_bytes_max = 100}, SystemClock(), HostCentroidMath());
  REQUIRE_STATUS(Submit(cluster, Batch(500)).get().status, absl::StatusCode::kResourceExhausted,
                 "100 bytes");
}

TEST_CASE("a long batch ends when it is cancelled, and a full queue refuses") {
  ClusterBatches cluster({.queue_batches = 1}, SystemClock(), HostCentroidMath());
  ClusterBatch endless = Batch(5000, 1'000'000);
  const auto cancelled = std::make_shared<std::atomic<bool>>(false);
  endless.cancelled = cancelled;
  auto running = Submit(cluster, std::move(endless));
  // The first may still wait for the thread, then the second finds the queue full; else the third.
  auto second = Submit(cluster, Batch(100));
  auto third = Submit(cluster, Batch(100));
  const bool second_refused = second.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  REQUIRE_STATUS((second_refused ? second : third).get().status,
                 absl::StatusCode::kResourceExhausted, "k-means queue is full: 1 requests");
  *cancelled = true;
  REQUIRE_STATUS(running.get().status, absl::StatusCode::kCancelled, "ended");
}

TEST_CASE("a batch past its deadline, and one that runs when the executor ends") {
  FakeClock clock;
  auto cluster =
      std::make_unique<ClusterBatches>(ClusterBatches::Options{}, clock, HostCentroidMath());
  ClusterBatch late = Batch(100);
  late.deadline_us = clock.NowUs();
  REQUIRE_STATUS(Submit(*cluster, std::move(late)).get().status,
                 absl::StatusCode::kDeadlineExceeded, "k-means");
  auto running = Submit(*cluster, Batch(5000, 1'000'000));
  auto waiting = Submit(*cluster, Batch(100));
  cluster.reset();
  REQUIRE_STATUS(running.get().status, absl::StatusCode::kCancelled, "shutting down");
  REQUIRE_STATUS(waiting.get().status, absl::StatusCode::kCancelled, "shutting down");
}

}  // namespace
}  // namespace baton
