#include "engine/model/weight_scan.h"

#include <algorithm>
#include <cstring>

namespace baton {
namespace {

// The loop is cut into blocks of a constant length, which compilers vectorise at -O2; each block is
// copied first, since the file's alignment may be smaller than a vector's.
constexpr int64_t kBlock = 1024;

// NaN and infinity are the values whose exponent bits are all set.
template <class Bits>
bool NoneHasAll(const std::byte* data, int64_t count, Bits exponent_mask) {
  Bits block[kBlock] = {};
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t length = std::min(kBlock, count - start);
    std::memcpy(block, data + start * static_cast<int64_t>(sizeof(Bits)),
                static_cast<size_t>(length) * sizeof(Bits));
    Bits found = 0;
    for (int64_t i = 0; i < kBlock; ++i) {  // what is left of an earlier block was finite
      found = static_cast<Bits>(found | ((block[i] & exponent_mask) == exponent_mask ? 1 : 0));
    }
    if (found != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool AllFinite(TensorType type, const std::byte* data, int64_t weights) {
  constexpr uint16_t kF16Exponent = 0x7c00;
  switch (type) {
    case TensorType::kF32:
      return NoneHasAll<uint32_t>(data, weights, 0x7f800000u);
    case TensorType::kF16:
      return NoneHasAll<uint16_t>(data, weights, kF16Exponent);
    case TensorType::kBF16:
      return NoneHasAll<uint16_t>(data, weights, 0x7f80);
    default:
      break;
  }
  bool finite = true;
  const int64_t block_bytes = RowBytes(type, BlockWeights(type));
  for (const int offset : ScaleOffsets(type)) {
    for (int64_t block = 0; block < weights / BlockWeights(type); ++block) {
      uint16_t scale;
      std::memcpy(&scale, data + block * block_bytes + offset, sizeof(scale));
      finite = finite && (scale & kF16Exponent) != kF16Exponent;
    }
  }
  return finite;
}

}  // namespace baton
