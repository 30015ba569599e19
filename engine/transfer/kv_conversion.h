#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "engine/kv/kv_layout.h"
#include "engine/kv/kv_rows.h"

namespace baton {

// Positions [0, tokens) of some layers, from blocks of one layout to blocks of another, which may
// differ in type and in positions to a block. Position t is in block t / block_tokens of its side.
struct KvConversion {
  KvLayout source;
  KvLayout destination;
  int64_t tokens = 0;
  int32_t layer_begin = 0;
  int32_t layer_end = 0;

  int64_t source_bytes() const { return Bytes(source); }
  int64_t destination_bytes() const { return Bytes(destination); }

 private:
  int64_t Bytes(const KvLayout& layout) const {
    return tokens * layout.token_bytes() / layout.layers * (layer_end - layer_begin);
  }
};

// How many blocks each side of a conversion has.
struct KvBlockCounts {
  size_t source = 0;
  size_t destination = 0;
};

// INVALID_ARGUMENT, with the field and both values: layers, heads or their size differ, layers are
// not in the layout, a layout is empty, or a side has fewer blocks than the positions need.
absl::Status CheckConversion(const KvConversion& conversion, const KvBlockCounts& blocks);

// Carries out a conversion that CheckConversion has passed, piece by piece, so that who runs it can
// stop in between. What lies behind the last position in a block is left as it is. Not thread safe;
// the pointers outlive it.
class KvConversionRun {
 public:
  KvConversionRun(const KvConversion& conversion, std::span<const void* const> sources,
                  std::span<void* const> destinations, KvRowConverter convert);

  // Converts the next piece: the positions that share a block on both sides, 64 at most, of one
  // layer. False where all is done.
  bool Step();

 private:
  const KvConversion conversion_;
  const std::span<const void* const> sources_;
  const std::span<void* const> destinations_;
  const KvRowConverter convert_;
  int64_t position_ = 0;
  int32_t layer_;
};

}  // namespace baton
