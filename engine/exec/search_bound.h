#pragma once

#include <cstdint>
#include <span>

#include "engine/request/vector_request.h"

namespace baton {

// How far a device's distances of rounded vectors may be from those of DistanceFor: what proves
// that the nearest rows by the one are among those found by the other.

// Of rows as a device has them: rounded to bf16, to the nearest, ties to even.
struct RoundedRows {
  double norm_max = 0;   // of the rounded rows
  double moved_max = 0;  // how far rounding moved any: |row - rounded row|

  // vectors: [count, dimension], row-major. What is not finite afterwards proves nothing.
  void Add(const float* vectors, int64_t count, int64_t dimension);
  void Add(const RoundedRows& other);
};

// A query, whose device rounds it as well.
class SearchBound {
 public:
  SearchBound(Metric metric, std::span<const float> query, const RoundedRows& rows);

  // Rows whose distance on the device is `distance` or more have at least this one by DistanceFor;
  // minus infinity where nothing is known.
  double Least(double distance) const;

 private:
  const bool l2_;
  double moved_ = 0;         // what rounding moves a distance by: under L2 its root
  double device_error_ = 0;  // of sums on the device
  double host_error_ = 0;    // of sums here: under L2 relative
};

}  // namespace baton
