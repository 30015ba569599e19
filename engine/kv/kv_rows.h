#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/kv/kv_type.h"

namespace baton {

// Some vectors of one head, of one type and to be of another: [rows, head_dim] without gaps. Scales
// are [rows] f32 of the int8 side, null where that side has none. Pointers need no more alignment
// than their elements. The two sides do not overlap.
struct KvRowsArgs {
  const std::byte* source;
  const std::byte* source_scales;
  KvType source_type;
  std::byte* destination;
  std::byte* destination_scales;
  KvType destination_type;
  int64_t rows;
  int64_t head_dim;
};

// Converts each element to the nearest of the destination's type; a row that is to be int8 gets the
// scale of its largest magnitude / 127, NaN where an element is not finite. The same type is copied
// bit by bit. Allocates nothing; thread safe.
using KvRowConverter = void (*)(const KvRowsArgs& args);

}  // namespace baton
