#pragma once

#include <cstdint>

#include "engine/transfer/pinned_pool.h"

namespace baton {

// KV of a prompt's first whole blocks that came from elsewhere, exactly as its model would compute
// it here: in host memory, to be copied to where the prompt is to be prefilled.
struct GivenKv {
  PinnedBuffer memory;  // [blocks][block_bytes]
  int32_t blocks = 0;
  int64_t block_bytes = 0;
};

}  // namespace baton
