#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/scan_code.h"

namespace baton {

// Codes of the rows of a RowBlock.
struct ScanCodes {
  const uint8_t* codes = nullptr;  // [count, CodeStride(dimension)]; null: vectors are short
  ScanRows rows;                   // [count]
  // [count / 16, NibbleBlockBytes(dimension)]: of as many rows as make whole blocks. Null where
  // there is none, or the first row is not a block's first.
  const std::byte* nibbles = nullptr;
};

// Rows in the order of their writing, in chunks that never move. Append-only and of fixed capacity:
// a full buffer is frozen and sealed into a segment. Threads: one writer at a time (the
// collection's mutex); readers need no lock, since they look only at rows that a published view
// includes.
class GrowingBuffer {
 public:
  GrowingBuffer(const VectorFormat& format, int64_t capacity);
  GrowingBuffer(const GrowingBuffer&) = delete;
  GrowingBuffer& operator=(const GrowingBuffer&) = delete;

  // ---- The writer's

  int64_t rows() const { return rows_; }
  bool full() const { return rows_ == capacity_; }
  // The least that a row came by; kNeverDeleted where there is none.
  WriteSequence first_sequence() const { return first_sequence_; }
  int64_t live() const { return static_cast<int64_t>(live_rows_.size()); }
  bool Contains(PointId id) const { return live_rows_.contains(id); }
  // The live row of `id`.
  std::optional<int64_t> Find(PointId id) const {
    const auto found = live_rows_.find(id);
    return found == live_rows_.end() ? std::nullopt : std::optional(found->second);
  }
  // Not when full or when `id` is live here. `vector`: [dimension], as VectorFormat::Encode takes
  // it.
  void Append(PointId id, const float* vector, WriteSequence sequence);
  // False where no live row has this id.
  bool Delete(PointId id, WriteSequence sequence);

  // ---- Everybody's

  int64_t chunk_rows() const { return chunk_rows_; }
  // The part of rows [first, end) that lies together with row `first`.
  RowBlock Block(int64_t first, int64_t end) const;
  // Of the same rows.
  ScanCodes Codes(int64_t first, int64_t end) const;
  WriteSequence SequenceOf(int64_t row) const {
    return chunks_[row / chunk_rows_].sequences[row % chunk_rows_];
  }

 private:
  static constexpr std::align_val_t kLine{64};
  struct FreeAligned {
    void operator()(std::byte* bytes) const { ::operator delete(bytes, kLine); }
  };
  using NibbleBlocks = std::unique_ptr<std::byte[], FreeAligned>;
  // Some rows in front of a whole block: what readers look at is written once, at once.
  struct Unfinished {
    std::vector<uint8_t> codes;    // [16, 8 * NibbleLines(dimension)]
    std::vector<ScanTerms> terms;  // [16]
  };
  void AppendNibbles(const float* vector);

  struct Chunk {
    std::unique_ptr<std::byte[]> vectors;                      // [chunk_rows] rows of the format
    std::unique_ptr<uint8_t[]> codes;                          // [chunk_rows, code_stride_]
    std::unique_ptr<float[]> terms;                            // [4, chunk_rows]: see ScanRows
    std::unique_ptr<uint64_t[]> ids;                           // [2, chunk_rows]: see PointIds
    std::unique_ptr<WriteSequence[]> sequences;                // [chunk_rows]
    std::unique_ptr<std::atomic<WriteSequence>[]> deleted_at;  // [chunk_rows]
  };

  const VectorFormat format_;
  const int64_t capacity_;
  const int64_t chunk_rows_;
  const int64_t code_stride_;   // 0: rows have no codes
  std::vector<float> decoded_;  // [dimension]: scratch of Append
  std::vector<Chunk> chunks_;   // sized once; a chunk's arrays are made with its first row
  const int64_t region_chunks_;
  // Of region_chunks_ chunks each, made with their first row: longer than chunks, since a scan that
  // jumps waits. Memory is touched as rows come.
  std::vector<NibbleBlocks> nibbles_;
  Unfinished unfinished_;
  int64_t rows_ = 0;
  WriteSequence first_sequence_ = kNeverDeleted;
  absl::flat_hash_map<PointId, int64_t> live_rows_;
};

}  // namespace baton
