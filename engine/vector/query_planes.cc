#include "engine/vector/query_planes.h"

#include <cstddef>

namespace baton {

int16_t* QueryPlanes::Clear(int64_t stride) {
  values_.assign(static_cast<size_t>(stride), 0);
  return values_.data();
}

QueryCode QueryPlanes::Split() {
  high_.resize(values_.size());
  low_.resize(values_.size());
  for (size_t j = 0; j < values_.size(); ++j) {
    const int32_t low = ((values_[j] + 64) & 127) - 64;
    low_[j] = static_cast<int8_t>(low);
    high_[j] = static_cast<int8_t>((values_[j] - low) / 128);
  }
  return code();
}

}  // namespace baton
