#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/request/vector_request.h"

namespace baton {

class Segment;

// How many candidates a walk of a segment's graph must keep for a recall: the share of the k
// nearest points that it finds. Measured when the graph is built, by queries made from its own
// rows: each is moved by the distance of its nearest neighbor in a random direction, since a walk
// that gets to a row finds that row's neighbors by its links, which a new query has not; and held
// against all rows. Where nothing was measured (a small segment, one of an older version), an
// estimate that is meant for graphs of up to 100,000 rows. Immutable.
class RecallCurve {
 public:
  // The recall that a target is rounded up to.
  static constexpr std::array<double, 16> kLevels = {0.5,   0.6,  0.7,   0.75, 0.8,  0.85,
                                                     0.875, 0.9,  0.925, 0.95, 0.96, 0.97,
                                                     0.98,  0.99, 0.995, 0.999};

  RecallCurve();
  // All rows of the segment count as live. CANCELLED once `stop` says so.
  static absl::StatusOr<RecallCurve> Measure(const CollectionSpec& spec, const Segment& segment,
                                             absl::FunctionRef<bool()> stop);

  // target: 0.5 to 0.999. 0: no walk found so many; all rows are to be compared.
  int64_t EfFor(double target, int64_t k) const;

  // Empty where nothing was measured.
  std::string Encode() const;
  // Nothing where `encoded` is not that of a curve.
  static std::optional<RecallCurve> Decode(std::string_view encoded);

 private:
  // [levels], for k of 10 and of 100
  using Efs = std::array<uint32_t, kLevels.size()>;

  bool measured_ = false;
  Efs few_;
  Efs many_;
};

}  // namespace baton
