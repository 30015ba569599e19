#pragma once

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/base/metrics.h"
#include "engine/vector/device_offer.h"
#include "engine/vector/ivf_index.h"
#include "engine/vector/ivf_math.h"

namespace baton {

// Makes the inverted files of segments: here, or where a device offers to, there. Whatever comes in
// the device's way, the file is made. Thread safe.
class IvfMaker {
 public:
  // `metrics` outlives it.
  explicit IvfMaker(Metrics& metrics) : device_(metrics, MetricId::kInvertedFilesBuilt) {}

  // `math` lives until Withdraw.
  void Offer(const IvfMath& math) { device_.Offer(&math); }
  void Withdraw() { device_.Withdraw(); }

  // As IvfIndex::Build.
  absl::StatusOr<std::unique_ptr<IvfIndex>> Make(const GraphRows& rows, const IvfParams& params,
                                                 absl::FunctionRef<bool()> stop);

 private:
  DeviceOffer<const IvfMath*> device_;
};

}  // namespace baton
