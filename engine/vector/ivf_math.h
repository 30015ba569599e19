#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "engine/vector/centroid_math.h"
#include "engine/vector/pq_code.h"

namespace baton {

// Rows whose product codes an inverted file wants: of what is left of each when its list's centroid
// is taken off. What it points to is the caller's.
struct PqCoding {
  TrainingRows rows;
  int64_t lists = 0;
  const float* centroids = nullptr;    // [lists, dimension], row-major
  const uint32_t* list_of = nullptr;   // [rows]
  const uint32_t* place_of = nullptr;  // [rows], each place once
  int64_t places = 0;                  // a multiple of kPqBlockRows
  PqBook book;
  const float* origin = nullptr;  // [dimension]; null where terms are
  // Written where a row is; all else stays zeros, which they are before.
  uint8_t* codes = nullptr;  // [places / 32, groups, 64]
  float* terms = nullptr;    // [places], or null: |r|^2 + 2 (centroid - origin) r of the code's r
};

// What building an inverted file takes most of its time for, on the processor or on a device.
// Thread safe; blocks. CANCELLED once `stop` says so; a device's errors say why it did not do it.
class IvfMath {
 public:
  virtual ~IvfMath() = default;
  virtual const CentroidMath& centroids() const = 0;
  // The same bytes wherever they are made.
  virtual absl::Status Encode(const PqCoding& coding, StopTraining stop) const = 0;
};

// On the caller's thread.
const IvfMath& HostIvfMath();

}  // namespace baton
