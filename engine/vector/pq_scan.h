#pragma once

#include <cstdint>

#include "engine/base/simd_level.h"

namespace baton {

// Codes of a product quantiser lie in blocks, so that one instruction looks up as many of them as a
// register has bytes: each code has 4 bits, and a table of 16 bytes is what byte shuffles take.
//   block   32 rows; for each group of 4 sub-quantisers one line of 64 bytes
//   line    byte r: row r's codes of the first (low bits) and second; byte 32 + r: third and fourth
inline constexpr int64_t kPqBlockRows = 32;
inline constexpr int64_t kPqGroup = 4;
inline constexpr int64_t kPqLineBytes = 64;

// Codes of 8 bits lie in the same blocks, lines of 2 sub-quantisers: byte r has row r's code of the
// first, byte 32 + r of the second.
inline constexpr int64_t kPq8Group = 2;

// Entries of tables are so small that two make a byte, and 512 of them 16 bits; of codes of 8 bits,
// of which there are half as many, that they are bytes.
inline constexpr int32_t kPqEntryMax = 127;
inline constexpr int32_t kPq8EntryMax = 255;
inline constexpr int64_t kPqSubQuantizersMax = 512;

struct PqScan {
  // [4 * groups, 16], each at most kPqEntryMax; of codes of 8 bits [2 * groups, 256]
  const uint8_t* tables = nullptr;
  int64_t groups = 0;               // at most kPqSubQuantizersMax / 4
  const uint8_t* blocks = nullptr;  // [block_count, groups, 64]
  int64_t block_count = 0;
  const float* terms = nullptr;  // [block_count, 32]; null: zeros
  float base = 0;
  float scale = 0;
  float bound = 0;
  float* keys = nullptr;       // [block_count, 32]
  uint32_t* nearer = nullptr;  // [block_count]
};

// keys[row] = (base + terms[row]) + scale * sum over m of tables[m][code m of row]; bit r of
// nearer[block] says whether the key of its row r is below the bound. The same bits at every level.
using PqScanFn = void (*)(const PqScan& scan);

// The functions compiled for `level`, of codes of 4 bits and of 8; the processor must support it.
PqScanFn PqScanFor(SimdLevel level = DetectedSimdLevel());
PqScanFn Pq8ScanFor(SimdLevel level = DetectedSimdLevel());

}  // namespace baton
