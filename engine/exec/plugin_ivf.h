#pragma once

#include <memory>
#include <utility>

#include "engine/exec/plugin_cluster.h"
#include "engine/exec/plugin_device.h"
#include "engine/vector/ivf_math.h"

namespace baton {

// Inverted files built on a plug-in's device: k-means of their lists, and product codes of 4 bits,
// the same bytes as the processor's of the same lists and books. Codes of 8 bits are made on the
// caller's thread. Thread safe.
class PluginIvf final : public IvfMath {
 public:
  // Whether the plug-in's devices do both.
  static bool CanWork(const baton_executor_plugin& table);
  explicit PluginIvf(std::shared_ptr<PluginDevice> device)
      : device_(std::move(device)), kmeans_(device_) {}

  const CentroidMath& centroids() const override { return kmeans_; }
  absl::Status Encode(const PqCoding& coding, StopTraining stop) const override;

 private:
  const std::shared_ptr<PluginDevice> device_;
  const PluginKmeans kmeans_;
};

}  // namespace baton
