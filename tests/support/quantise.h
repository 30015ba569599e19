#pragma once

#include <string>
#include <vector>

#include "engine/model/tensor_type.h"

namespace baton {

// Weights rounded to `type`, as a GGUF file holds them: to nearest, with the scales that the
// largest weight of a block, or of a part of it, asks for. The number of weights is whole blocks.
std::string EncodeWeights(TensorType type, const std::vector<float>& weights);

uint16_t F32ToF16(float value);  // round to nearest, ties to even

}  // namespace baton
