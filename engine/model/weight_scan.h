#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/model/tensor_type.h"

namespace baton {

// Whether every weight is finite: f32 and f16 values, and the scales of Q8_0 blocks (their int8
// parts cannot be otherwise). data: [weights] of `type`, contiguous. Runs near memory speed.
bool AllFinite(TensorType type, const std::byte* data, int64_t weights);

}  // namespace baton
