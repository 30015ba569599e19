#include "engine/vector/ivf_math.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace baton {
namespace {

constexpr int64_t kRowsPerStop = 1024;

class HostMath final : public IvfMath {
 public:
  const CentroidMath& centroids() const override { return HostCentroidMath(); }

  absl::Status Encode(const PqCoding& coding, StopTraining stop) const override {
    const PqShape& shape = coding.book.shape;
    const int64_t dimension = coding.rows.dimension;
    std::vector<float> residual(static_cast<size_t>(shape.padded()));
    std::vector<uint8_t> codes(static_cast<size_t>(shape.sub_quantizers));
    for (int64_t row = 0; row < coding.rows.rows; ++row) {
      if (row % kRowsPerStop == 0 && stop()) return absl::CancelledError("building was stopped");
      const float* const vector = coding.rows.vectors + row * dimension;
      const float* const centroid = coding.centroids + coding.list_of[row] * dimension;
      for (int64_t j = 0; j < dimension; ++j) {
        residual[static_cast<size_t>(j)] = vector[j] - centroid[j];
      }
      // What DecodePq left behind the vector.
      std::fill(residual.begin() + dimension, residual.end(), 0.0f);
      EncodePq(coding.book, residual.data(), codes.data());
      const int64_t place = coding.place_of[row];
      StorePqCodes(shape, codes.data(), place % kPqBlockRows,
                   coding.codes + place / kPqBlockRows * shape.groups() * kPqLineBytes);
      if (coding.terms == nullptr) continue;
      DecodePq(coding.book, codes.data(), residual.data());
      float term = 0;
      for (int64_t j = 0; j < dimension; ++j) {
        const float value = residual[static_cast<size_t>(j)];
        term += value * (value + 2 * (centroid[j] - coding.origin[j]));
      }
      coding.terms[place] = term;
    }
    return absl::OkStatus();
  }
};

}  // namespace

const IvfMath& HostIvfMath() {
  static const HostMath math;
  return math;
}

}  // namespace baton
