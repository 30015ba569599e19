// k-means on the GPU, on the host runtime for kernels, beside FAISS on the CPU.
#include <cuda_runtime_api.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/exec/plugin_cluster.h"
#include "tests/engine/exec/gpu/gpu_harness.h"
#include "tests/support/cuda_host/cuda_host.h"

namespace baton {
namespace {

constexpr int kDimension = 13;

bool Never() { return false; }

// Around so many centers, far from one another.
std::vector<std::vector<float>> Blobs(int count, int centers, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> center(static_cast<size_t>(centers));
  for (auto& of : center) {
    for (int i = 0; i < kDimension; ++i) of.push_back(20 * normal(random));
  }
  std::vector<std::vector<float>> vectors;
  for (int i = 0; i < count; ++i) {
    std::vector<float>& vector = vectors.emplace_back(center[static_cast<size_t>(i % centers)]);
    for (float& value : vector) value += normal(random);
  }
  return vectors;
}

std::vector<float> Flat(const std::vector<std::vector<float>>& vectors) {
  std::vector<float> flat;
  for (const auto& vector : vectors) flat.insert(flat.end(), vector.begin(), vector.end());
  return flat;
}

ClusterBatch BatchOf(std::vector<std::vector<float>> vectors, Metric metric, int32_t k) {
  return {.view = nullptr,
          .vectors = std::move(vectors),
          .params = {.k = k, .iterations = 12, .metric = metric, .with_assignment = true},
          .cancelled = std::make_shared<std::atomic<bool>>(false)};
}

ClusterBatchResult RunOn(ClusterSkill& skill, ClusterBatch batch) {
  auto promise = std::make_shared<std::promise<ClusterBatchResult>>();
  std::future<ClusterBatchResult> future = promise->get_future();
  skill.Execute(std::move(batch),
                [promise](ClusterBatchResult result) { promise->set_value(std::move(result)); });
  return future.get();
}

struct Runtime {
  ~Runtime() {
    cuda_host::ForgetFailures();
    cuda_host::SetDeviceMemory(0);
  }
};

}  // namespace

TEST_CASE("the GPU assigns rows to the centroids that FAISS assigns them to") {
  const PluginKmeans gpu(OpenGpu(/*f32=*/false));
  const bool spherical = GENERATE(false, true);
  CAPTURE(spherical);
  const std::vector<float> rows = Flat(Blobs(150, 7, 3));
  const std::vector<float> centroids = Flat(Blobs(11, 11, 4));
  const TrainingRows of = {.vectors = rows.data(), .rows = 150, .dimension = kDimension};
  std::vector<uint32_t> want(150);
  std::vector<uint32_t> got(150, 99);
  REQUIRE_OK(AssignToCentroids(of, centroids, spherical, Never, want.data()));
  REQUIRE_OK(gpu.Assign(of, centroids, spherical, Never, got.data()));
  CHECK(got == want);
  REQUIRE_OK(gpu.Assign({.vectors = rows.data(), .rows = 0, .dimension = kDimension}, centroids,
                        spherical, Never, got.data()));
}

TEST_CASE("clusters of the GPU are as good as the CPU's and the same each time") {
  PluginExecutor gpu = MakeGpu();
  ClusterSkill* const skill = gpu.executor->cluster();
  REQUIRE(skill != nullptr);
  ClusterBatches cpu({}, SystemClock(), HostCentroidMath());
  const Metric metric = GENERATE(Metric::kL2, Metric::kCosine, Metric::kDot);
  CAPTURE(static_cast<int>(metric));
  const auto vectors = Blobs(400, 6, 5);
  // More clusters than blobs: both end in some local optimum.
  const ClusterBatchResult got = RunOn(*skill, BatchOf(vectors, metric, 24));
  REQUIRE_OK(got.status);
  auto promise = std::make_shared<std::promise<ClusterBatchResult>>();
  cpu.Execute(BatchOf(vectors, metric, 24),
              [promise](ClusterBatchResult result) { promise->set_value(std::move(result)); });
  const ClusterBatchResult want = promise->get_future().get();
  REQUIRE_OK(want.status);
  CHECK(got.clusters.points == 400);
  REQUIRE(got.clusters.clusters.size() == 24);
  CHECK(got.clusters.ids.size() == 400);
  int64_t points = 0;
  for (const Cluster& cluster : got.clusters.clusters) points += cluster.points;
  CHECK(points == 400);
  // Of L2 the smaller is better, of the others the larger.
  if (metric == Metric::kL2) {
    CHECK(got.clusters.mean_score <= 1.5 * want.clusters.mean_score);
  } else {
    CHECK(got.clusters.mean_score >= 0.98 * want.clusters.mean_score);
  }
  const ClusterBatchResult again = RunOn(*skill, BatchOf(vectors, metric, 24));
  REQUIRE_OK(again.status);
  CHECK(again.clusters.cluster_of == got.clusters.cluster_of);
  CHECK(again.clusters.mean_score == got.clusters.mean_score);
}

TEST_CASE("as many clusters as points have one each") {
  const PluginKmeans gpu(OpenGpu(/*f32=*/false));
  const std::vector<float> rows = Flat(Blobs(9, 9, 6));
  const TrainingRows of = {.vectors = rows.data(), .rows = 9, .dimension = kDimension};
  const auto centroids = gpu.Train(of, {.k = 9, .iterations = 3, .seed = 2}, Never);
  REQUIRE_OK(centroids);
  std::vector<uint32_t> nearest(9);
  REQUIRE_OK(gpu.Assign(of, *centroids, false, Never, nearest.data()));
  std::sort(nearest.begin(), nearest.end());
  CHECK(std::unique(nearest.begin(), nearest.end()) == nearest.end());
}

TEST_CASE("k-means that is stopped or has bad rows or finds no room says so") {
  const Runtime runtime;
  const auto device = OpenGpu(/*f32=*/false);
  const PluginKmeans gpu(device);
  std::vector<float> rows = Flat(Blobs(50, 5, 7));
  const TrainingRows of = {.vectors = rows.data(), .rows = 50, .dimension = kDimension};
  int asked = 0;
  const auto stop = [&asked] { return ++asked > 3; };
  CHECK(absl::IsCancelled(gpu.Train(of, {.k = 5, .iterations = 100}, stop).status()));
  CHECK(asked == 4);

  cuda_host::InjectFailure({.call = "cudaMalloc", .error = cudaErrorMemoryAllocation});
  const absl::Status no_room = gpu.Train(of, {.k = 5}, Never).status();
  CHECK(absl::IsUnavailable(no_room));  // others may have it
  CHECK_THAT(std::string(no_room.message()), Catch::StartsWith("k-means needs "));
  REQUIRE_OK(gpu.Train(of, {.k = 5}, Never).status());

  rows[3 * kDimension] = NAN;
  const absl::Status bad = gpu.Train(of, {.k = 5}, Never).status();
  CHECK(absl::IsInvalidArgument(bad));
  CHECK(std::string(bad.message()) == "k-means of a row 3 that is not finite");
  const auto refused = [&](const TrainingRows& wrong, const KmeansParams& params) {
    return std::string(gpu.Train(wrong, params, Never).status().message());
  };
  CHECK(refused(of, {.k = 0}) == "k-means of 0 centroids, must be 1 or more");
  CHECK(refused(of, {.k = 5, .iterations = -1}) == "k-means of -1 iterations, must be 0 or more");

  cuda_host::InjectFailure(
      {.call = "cudaLaunchKernelEx", .after = 2, .error = cudaErrorIllegalAddress, .sticky = true});
  rows[3 * kDimension] = 0;
  CHECK(absl::IsUnavailable(gpu.Train(of, {.k = 5}, Never).status()));
  CHECK_FALSE(device->TakeSample().lost.empty());
}

TEST_CASE("a GPU that is given no memory for samples does not cluster") {
  GpuOptions options;
  options.cluster_sample_mb = 0;
  CHECK(MakeGpu(options).executor->cluster() == nullptr);
}

}  // namespace baton
