#include "engine/exec/gpu/plugin/kmeans_job.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "cuda_kernels/kmeans.h"
#include "engine/exec/gpu/plugin/arena.h"
#include "engine/exec/gpu/plugin/staged_copies.h"

namespace baton::gpu {
namespace {

class KmeansJob {
 public:
  KmeansJob(Device& device, const baton_kmeans_job& job) : device_(device), job_(job) {}

  Fault Run() {
    BATON_GPU_TRY(Check());
    if (job_.rows == 0) return {};
    BATON_GPU_TRY(copies_.Create(device_, "k-means"));
    Arena counts;
    Place(counts);
    BATON_GPU_TRY(device_.Allocate("k-means", counts.bytes(), &memory_));
    Arena arena(memory_.data());
    Place(arena);
    const Fault fault = Cluster();
    if (!fault.failed() || fault.code() == BATON_UNAVAILABLE) return fault;
    BATON_GPU_TRY(copies_.stream().Wait());  // what was launched still uses the memory
    return fault;
  }

 private:
  Fault Check() {
    const auto refuse = [](const auto&... why) -> Fault {
      return {BATON_INVALID_ARGUMENT, Text("k-means of ", why...)};
    };
    constexpr int64_t kRowsMax = std::numeric_limits<int32_t>::max();
    if (job_.rows < 0 || job_.rows > kRowsMax) {
      return refuse(job_.rows, " rows, must be 0 to ", kRowsMax);
    }
    if (job_.dimension < 1)
      return refuse("rows of dimension ", job_.dimension, ", must be 1 or more");
    if (job_.centroid_count < 1) {
      return refuse(job_.centroid_count, " centroids, must be 1 or more");
    }
    if (job_.iterations < 0) return refuse(job_.iterations, " iterations, must be 0 or more");
    const int64_t values = job_.rows * job_.dimension;
    largest_ = 0;
    for (int64_t i = 0; i < values; ++i) {
      if (!std::isfinite(job_.vectors[i])) {
        return refuse("a row ", i / job_.dimension, " that is not finite");
      }
      largest_ = std::max(largest_, std::fabs(job_.vectors[i]));
    }
    return {};
  }

  void Place(Arena& arena) {
    const int64_t centroid_values = int64_t{job_.centroid_count} * job_.dimension;
    vectors_ = arena.Take<float>(job_.rows * job_.dimension);
    centroids_ = arena.Take<float>(centroid_values);
    nearest_ = arena.Take<uint32_t>(job_.rows);
    if (job_.iterations == 0) return;
    counts_ = arena.Take<int64_t>(job_.centroid_count);
    sums_ = arena.Take<int64_t>(centroid_values);
  }

  Fault Cluster() {
    const int64_t centroid_bytes =
        int64_t{job_.centroid_count} * job_.dimension * static_cast<int64_t>(sizeof(float));
    BATON_GPU_TRY(copies_.Send(
        job_.vectors, job_.rows * job_.dimension * static_cast<int64_t>(sizeof(float)), vectors_));
    BATON_GPU_TRY(copies_.Send(job_.centroids, centroid_bytes, centroids_));
    // All zeros have no magnitude, and any unit will do.
    const double unit = cuda::KmeansUnit(job_.rows, largest_ > 0 ? largest_ : 1);
    for (int32_t i = 0; i < job_.iterations; ++i) {
      BATON_GPU_TRY(Assign());
      BATON_GPU_TRY(device_.Check(cuda::KmeansUpdate({.vectors = vectors_,
                                                      .nearest = nearest_,
                                                      .centroids = centroids_,
                                                      .counts = counts_,
                                                      .sums = sums_,
                                                      .unit = unit,
                                                      .rows = job_.rows,
                                                      .dimension = job_.dimension,
                                                      .centroid_count = job_.centroid_count,
                                                      .spherical = job_.spherical != 0},
                                                     copies_.stream().get()),
                                  "KmeansUpdate"));
    }
    if (job_.iterations > 0)
      BATON_GPU_TRY(copies_.Fetch(centroids_, centroid_bytes, job_.centroids));
    if (job_.nearest == nullptr) return {};
    BATON_GPU_TRY(Assign());
    return copies_.Fetch(nearest_, job_.rows * static_cast<int64_t>(sizeof(uint32_t)),
                         job_.nearest);
  }

  // An iteration is what is done between two questions whether to stop.
  Fault Assign() {
    BATON_GPU_TRY(copies_.stream().Wait());
    if (job_.stop(job_.stop_context) != 0) return {BATON_CANCELLED, "k-means was stopped"};
    return device_.Check(cuda::KmeansAssign({.vectors = vectors_,
                                             .centroids = centroids_,
                                             .nearest = nearest_,
                                             .distances = nullptr,
                                             .rows = job_.rows,
                                             .dimension = job_.dimension,
                                             .centroid_count = job_.centroid_count,
                                             .spherical = job_.spherical != 0},
                                            copies_.stream().get()),
                         "KmeansAssign");
  }

  Device& device_;
  const baton_kmeans_job& job_;
  float largest_ = 0;  // magnitude of the rows' values
  StagedCopies copies_;
  DeviceMemory memory_;
  float* vectors_ = nullptr;     // [rows, dimension]
  float* centroids_ = nullptr;   // [centroids, dimension]
  uint32_t* nearest_ = nullptr;  // [rows]
  int64_t* counts_ = nullptr;    // [centroids]
  int64_t* sums_ = nullptr;      // [centroids, dimension]
};

}  // namespace

Fault RunKmeans(Device& device, const baton_kmeans_job& job) {
  return KmeansJob(device, job).Run();
}

}  // namespace baton::gpu
