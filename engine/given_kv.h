#pragma once

#include <cstdint>

#include "engine/kv/kv_layout.h"
#include "engine/transfer/pinned_pool.h"

namespace baton {

// KV of a prompt's first whole blocks that came from elsewhere, exactly as its model would compute
// it here: in host memory, to be copied to where the prompt is to be prefilled.
struct GivenKv {
  PinnedBuffer memory;  // [blocks], each as `layout` says
  int32_t blocks = 0;
  KvLayout layout;
};

}  // namespace baton
