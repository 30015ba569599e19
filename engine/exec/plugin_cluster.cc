#include "engine/exec/plugin_cluster.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status_macros.h"

namespace baton {
namespace {

constexpr size_t kKmeansTableBytes =
    offsetof(baton_executor_plugin, kmeans) + sizeof(baton_executor_plugin::kmeans);

}  // namespace

absl::StatusOr<std::vector<float>> PluginKmeans::Train(const TrainingRows& rows,
                                                       const KmeansParams& params,
                                                       StopTraining stop) const {
  std::vector<float> centroids = StartingCentroids(rows, params);
  RETURN_IF_ERROR(Run({.centroid_count = params.k,
                       .iterations = params.iterations,
                       .spherical = params.spherical ? 1 : 0,
                       .centroids = centroids.data()},
                      rows, stop));
  return centroids;
}

absl::Status PluginKmeans::Assign(const TrainingRows& rows, const std::vector<float>& centroids,
                                  bool spherical, StopTraining stop, uint32_t* nearest) const {
  std::vector<float> as_they_are = centroids;
  return Run(
      {.centroid_count = static_cast<int32_t>(std::ssize(centroids) / std::max(rows.dimension, 1)),
       .iterations = 0,
       .spherical = spherical ? 1 : 0,
       .centroids = as_they_are.data(),
       .nearest = nearest},
      rows, stop);
}

absl::Status PluginKmeans::Run(baton_kmeans_job job, const TrainingRows& rows,
                               StopTraining stop) const {
  job.struct_size = sizeof(job);
  job.dimension = rows.dimension;
  job.rows = rows.rows;
  job.vectors = rows.vectors;
  job.stop_context = &stop;
  job.stop = [](void* context) -> int32_t {
    return (*static_cast<StopTraining*>(context))() ? 1 : 0;
  };
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  const absl::Status status =
      PluginDevice::StatusOf(device_->table().kmeans(device_->handle(), &job, &error), error);
  // Another executor may have the room that lacks here.
  if (absl::IsResourceExhausted(status)) {
    return absl::UnavailableError(std::string(status.message()));
  }
  return status;
}

bool PluginCluster::CanWork(const baton_executor_plugin& table) {
  return PluginDevice::CanWork(table) && table.struct_size >= kKmeansTableBytes &&
         table.kmeans != nullptr;
}

PluginCluster::PluginCluster(std::shared_ptr<PluginDevice> device,
                             const ClusterBatches::Options& options, const Clock& clock)
    : math_(std::move(device)), batches_(options, clock, math_) {}

}  // namespace baton
