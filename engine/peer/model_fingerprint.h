#pragma once

#include "engine/model/language_model.h"
#include "engine/peer/message.h"

namespace baton {

// Tells whether two daemons have loaded the same weights: a SHA-256 over the shape, every tensor's
// type and size, and 16 samples of 256 bytes from each. Training or another quantisation changes
// all of a tensor; what changes a few weights only is not seen. Reads some pages of each tensor.
ModelFingerprint FingerprintOf(const LanguageModel& model);

}  // namespace baton
