#pragma once

// One transfer of a 512-bit port, and how numbers lie in it: little-endian, the lowest byte first.

#include <stdint.h>

namespace baton {
namespace fpga {

constexpr int kBeatBytes = 64;

struct Beat {
  uint8_t bytes[kBeatBytes];
};
static_assert(sizeof(Beat) == kBeatBytes, "a beat is what a 512-bit port moves in a cycle");

inline uint64_t GetBits(const Beat& beat, int byte, int bytes) {
  uint64_t bits = 0;
  for (int i = 0; i < bytes; ++i) {
#pragma HLS unroll
    bits |= static_cast<uint64_t>(beat.bytes[byte + i]) << (8 * i);
  }
  return bits;
}

inline void PutBits(Beat& beat, int byte, int bytes, uint64_t bits) {
  for (int i = 0; i < bytes; ++i) {
#pragma HLS unroll
    beat.bytes[byte + i] = static_cast<uint8_t>(bits >> (8 * i));
  }
}

// `index` counts elements of the type.
inline int8_t GetI8(const Beat& beat, int index) { return static_cast<int8_t>(beat.bytes[index]); }
inline uint16_t GetU16(const Beat& beat, int index) {
  return static_cast<uint16_t>(GetBits(beat, 2 * index, 2));
}
inline int16_t GetI16(const Beat& beat, int index) {
  return static_cast<int16_t>(GetU16(beat, index));
}
inline uint32_t GetU32(const Beat& beat, int index) {
  return static_cast<uint32_t>(GetBits(beat, 4 * index, 4));
}
inline int32_t GetI32(const Beat& beat, int index) {
  return static_cast<int32_t>(GetU32(beat, index));
}
inline int64_t GetI64(const Beat& beat, int index) {
  return static_cast<int64_t>(GetBits(beat, 8 * index, 8));
}
inline void PutI16(Beat& beat, int index, int16_t value) {
  PutBits(beat, 2 * index, 2, static_cast<uint16_t>(value));
}
inline void PutU32(Beat& beat, int index, uint32_t value) { PutBits(beat, 4 * index, 4, value); }
inline void PutI64(Beat& beat, int index, int64_t value) {
  PutBits(beat, 8 * index, 8, static_cast<uint64_t>(value));
}

}  // namespace fpga
}  // namespace baton
