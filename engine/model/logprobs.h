#pragma once

#include <cstdint>
#include <span>

#include "engine/base/ids.h"
#include "engine/request/generate_request.h"

namespace baton {

// The natural logarithm of the probability that the softmax of `logits` gives to `token`, and to
// the `top` most likely tokens, ties to the lower id. logits: [vocabulary], f32, finite except that
// -inf is a probability of 0. The texts are left empty.
TokenLogprobs LogprobsOf(std::span<const float> logits, TokenId token, int32_t top);

}  // namespace baton
