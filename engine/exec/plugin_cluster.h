#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/exec/cluster_batches.h"
#include "engine/exec/executor.h"
#include "engine/exec/plugin_device.h"
#include "engine/vector/view_clusters.h"

namespace baton {

// k-means on a plug-in's device: Lloyd's algorithm there, from rows that are chosen here by the
// seed. The same bits for the same rows on every run.
class PluginKmeans final : public CentroidMath {
 public:
  explicit PluginKmeans(std::shared_ptr<PluginDevice> device) : device_(std::move(device)) {}

  absl::StatusOr<std::vector<float>> Train(const TrainingRows& rows, const KmeansParams& params,
                                           StopTraining stop) const override;
  absl::Status Assign(const TrainingRows& rows, const std::vector<float>& centroids, bool spherical,
                      StopTraining stop, uint32_t* nearest) const override;
  int64_t rows_together() const override { return 16384; }

 private:
  absl::Status Run(baton_kmeans_job job, const TrainingRows& rows, StopTraining stop) const;

  const std::shared_ptr<PluginDevice> device_;
};

// Clusterings by it. A device without room leaves them to other executors.
class PluginCluster final : public ClusterSkill {
 public:
  // Whether the plug-in's devices do k-means.
  static bool CanWork(const baton_executor_plugin& table);
  // `clock` outlives it.
  PluginCluster(std::shared_ptr<PluginDevice> device, const ClusterBatches::Options& options,
                const Clock& clock);

  void Execute(ClusterBatch batch, absl::AnyInvocable<void(ClusterBatchResult)> done) override {
    batches_.Execute(std::move(batch), std::move(done));
  }
  int32_t queue_depth() const { return batches_.queue_depth(); }

 private:
  const PluginKmeans math_;
  ClusterBatches batches_;  // last: its thread uses what is above
};

}  // namespace baton
