#include "engine/vector/faiss_training.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <new>
#include <utility>

#include "engine/base/strings.h"
#include "faiss/Clustering.h"
#include "faiss/IndexFlat.h"
#include "faiss/impl/AuxIndexStructures.h"
#include "faiss/impl/ProductQuantizer.h"
#include "faiss/utils/distances.h"

// omp.h comes with a compiler's own OpenMP run time; FAISS uses gcc's whoever compiles this.
extern "C" void omp_set_num_threads(int threads);
// Of OpenBLAS, whose header would define BLAS's names.
extern "C" void openblas_set_num_threads(int threads);

namespace baton {
namespace {

// Rows that FAISS multiplies with so many centroids at once. It takes memory for the products each
// time, 4 bytes for each pair: 1 MB stays in a core's cache, where FAISS's own 16 MB are mapped,
// faulted in and unmapped in each iteration of each book.
constexpr int kBlasRows = 1024;
constexpr int kBlasCentroids = 256;

// What this thread's training asks, while there is one.
thread_local const StopTraining* thread_stop = nullptr;

// FAISS has one for all threads.
class AskThread final : public faiss::InterruptCallback {
 public:
  bool want_interrupt() override { return thread_stop != nullptr && (*thread_stop)(); }
};

// While it lives, FAISS on this thread asks `stop` and uses no other thread.
class TrainingScope {
 public:
  explicit TrainingScope(const StopTraining& stop) {
    static const bool prepared = [] {
      openblas_set_num_threads(1);
      faiss::distance_compute_blas_query_bs = kBlasRows;
      faiss::distance_compute_blas_database_bs = kBlasCentroids;
      faiss::InterruptCallback::instance = std::make_unique<AskThread>();
      return true;
    }();
    (void)prepared;
    omp_set_num_threads(1);  // of what this thread begins
    thread_stop = &stop;
  }
  ~TrainingScope() { thread_stop = nullptr; }
  TrainingScope(const TrainingScope&) = delete;
  TrainingScope& operator=(const TrainingScope&) = delete;
};

absl::Status Stopped() { return absl::CancelledError("training was stopped"); }

// Runs `work`, which throws as FAISS does.
template <class Work>
absl::Status Run(StopTraining stop, Work work) {
  const TrainingScope scope(stop);
  try {
    if (stop()) return Stopped();
    work();
    return absl::OkStatus();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory while training");
  } catch (const std::exception& error) {
    if (stop()) return Stopped();  // FAISS has no type for it
    return absl::InternalError(StrCat("FAISS while training: ", error.what()));
  }
}

faiss::MetricType MetricOf(bool spherical) {
  return spherical ? faiss::METRIC_INNER_PRODUCT : faiss::METRIC_L2;
}

// Rows that are assigned before `stop` is asked again.
constexpr int64_t kAssignedRows = 4096;

}  // namespace

absl::StatusOr<std::vector<float>> TrainCentroids(const TrainingRows& rows,
                                                  const KmeansParams& params, StopTraining stop) {
  std::vector<float> centroids;
  const absl::Status status = Run(stop, [&] {
    faiss::Clustering clustering(rows.dimension, params.k);
    clustering.niter = params.iterations;
    clustering.seed = params.seed;
    clustering.spherical = params.spherical;
    clustering.min_points_per_centroid = 1;  // fewer are a warning on stderr
    clustering.max_points_per_centroid = kTrainingRowsPerCentroid;
    faiss::IndexFlat index(rows.dimension, MetricOf(params.spherical));
    clustering.train(rows.rows, rows.vectors, index);
    centroids = std::move(clustering.centroids);
  });
  if (!status.ok()) return status;
  return centroids;
}

absl::Status AssignToCentroids(const TrainingRows& rows, const std::vector<float>& centroids,
                               bool spherical, StopTraining stop, uint32_t* nearest) {
  bool stopped = false;
  const absl::Status status = Run(stop, [&] {
    faiss::IndexFlat index(rows.dimension, MetricOf(spherical));
    index.add(static_cast<int64_t>(centroids.size()) / rows.dimension, centroids.data());
    std::vector<faiss::Index::idx_t> found(static_cast<size_t>(kAssignedRows));
    for (int64_t first = 0; first < rows.rows && !stopped; first += kAssignedRows) {
      const int64_t count = std::min(kAssignedRows, rows.rows - first);
      index.assign(count, rows.vectors + first * rows.dimension, found.data());
      // -1 where no distance is a number; there is no such row.
      for (int64_t i = 0; i < count; ++i) {
        nearest[first + i] = static_cast<uint32_t>(std::max<int64_t>(found[i], 0));
      }
      stopped = stop();
    }
  });
  if (status.ok() && stopped) return Stopped();
  return status;
}

absl::StatusOr<std::vector<float>> TrainProductBooks(const TrainingRows& rows,
                                                     int32_t sub_quantizers, int32_t bits,
                                                     StopTraining stop) {
  std::vector<float> books;
  const absl::Status status = Run(stop, [&] {
    faiss::ProductQuantizer quantizer(static_cast<size_t>(rows.dimension),
                                      static_cast<size_t>(sub_quantizers),
                                      static_cast<size_t>(bits));
    quantizer.cp.min_points_per_centroid = 1;
    quantizer.train(static_cast<size_t>(rows.rows), rows.vectors);
    books = std::move(quantizer.centroids);
  });
  if (!status.ok()) return status;
  return books;
}

}  // namespace baton
