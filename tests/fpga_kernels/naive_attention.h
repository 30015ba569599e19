#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace baton::fpga {

// One head over `positions` keys and values, [positions, head_dim]: what kernels are compared with.
inline std::vector<double> NaiveAttention(const std::vector<double>& query,
                                          const std::vector<double>& keys,
                                          const std::vector<double>& values, double scale) {
  const size_t head_dim = query.size();
  const size_t positions = keys.size() / head_dim;
  std::vector<double> scores(positions);
  for (size_t p = 0; p < positions; ++p) {
    for (size_t i = 0; i < head_dim; ++i) scores[p] += query[i] * keys[p * head_dim + i] * scale;
  }
  const double top = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  std::vector<double> out(head_dim);
  for (size_t p = 0; p < positions; ++p) {
    const double weight = std::exp(scores[p] - top);
    total += weight;
    for (size_t i = 0; i < head_dim; ++i) out[i] += weight * values[p * head_dim + i];
  }
  for (double& value : out) value /= total;
  return out;
}

}  // namespace baton::fpga
