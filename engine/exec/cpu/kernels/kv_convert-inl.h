#pragma once

#include "engine/exec/cpu/kernels/kv_row-inl.h"
#include "engine/kv/kv_rows.h"

namespace baton::BATON_SIMD_NAMESPACE {

// Neither side has scales: all rows are one.
template <class Row, class Out>
static void ConvertPlain(const KvRowsArgs& args) {
  StoreRow<Out>(Row::At(args.source), Broadcast(1.0f), args.rows * args.head_dim, args.destination);
}

// Asks for what lies some rows ahead, also beyond the last one, since one block's areas follow one
// another: work on a row by itself keeps too little of memory in flight.
static BATON_INLINE void Prefetch(const KvRowsArgs& args, int64_t row, int64_t source_bytes,
                                  int64_t destination_bytes) {
  constexpr int64_t kAhead = 1024;  // elements
  constexpr int64_t kLineBytes = 64;
  const int64_t at = row * args.head_dim + kAhead;
  const std::byte* const source = args.source + at * source_bytes;
  for (int64_t i = 0; i < args.head_dim * source_bytes; i += kLineBytes) {
    __builtin_prefetch(source + i);
  }
  std::byte* const destination = args.destination + at * destination_bytes;
  for (int64_t i = 0; i < args.head_dim * destination_bytes; i += kLineBytes) {
    __builtin_prefetch(destination + i, 1);
  }
}

template <class Out>
static void ConvertFromInt8(const KvRowsArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    Prefetch(args, r, 1, Out::kBytes);
    float scale;
    __builtin_memcpy(&scale, args.source_scales + 4 * r, sizeof(scale));
    StoreRow<Out>(I8Row::At(args.source + r * args.head_dim), Broadcast(scale), args.head_dim,
                  args.destination + r * args.head_dim * Out::kBytes);
  }
}

template <class Row, int64_t kBytes>
static void ConvertToInt8(const KvRowsArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    Prefetch(args, r, kBytes, 1);
    const float scale = StoreRowInt8(Row::At(args.source + r * args.head_dim * kBytes),
                                     args.head_dim, args.destination + r * args.head_dim);
    __builtin_memcpy(args.destination_scales + 4 * r, &scale, sizeof(scale));
  }
}

static void CopyRows(const KvRowsArgs& args) {
  const bool scaled = args.source_type == KvType::kInt8;
  const int64_t bytes = scaled ? 1 : args.source_type == KvType::kF32 ? 4 : 2;
  __builtin_memcpy(args.destination, args.source,
                   static_cast<size_t>(args.rows * args.head_dim * bytes));
  if (scaled) {
    __builtin_memcpy(args.destination_scales, args.source_scales,
                     static_cast<size_t>(args.rows) * 4);
  }
}

template <class Row, int64_t kBytes>
static void ConvertFrom(const KvRowsArgs& args) {
  switch (args.destination_type) {
    case KvType::kF32:
      return ConvertPlain<Row, F32Out>(args);
    case KvType::kF16:
      return ConvertPlain<Row, F16Out>(args);
    case KvType::kBF16:
      return ConvertPlain<Row, BF16Out>(args);
    case KvType::kInt8:
      return ConvertToInt8<Row, kBytes>(args);
  }
}

static void ConvertRows(const KvRowsArgs& args) {
  if (args.source_type == args.destination_type) return CopyRows(args);
  switch (args.source_type) {
    case KvType::kF32:
      return ConvertFrom<F32Row, 4>(args);
    case KvType::kF16:
      return ConvertFrom<F16Row, 2>(args);
    case KvType::kBF16:
      return ConvertFrom<BF16Row, 2>(args);
    case KvType::kInt8:
      switch (args.destination_type) {
        case KvType::kF32:
          return ConvertFromInt8<F32Out>(args);
        case KvType::kF16:
          return ConvertFromInt8<F16Out>(args);
        case KvType::kBF16:
          return ConvertFromInt8<BF16Out>(args);
        case KvType::kInt8:
          return CopyRows(args);
      }
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
