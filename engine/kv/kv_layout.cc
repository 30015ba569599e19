#include "engine/kv/kv_layout.h"

namespace baton {

KvLayout WithBlockTokens(KvLayout layout) {
  constexpr int64_t kBlockBytesMax = 2 << 20;
  layout.block_tokens = 64;
  while (layout.block_tokens > 8 && layout.block_bytes() > kBlockBytesMax) layout.block_tokens /= 2;
  return layout;
}

}  // namespace baton
