#include "engine/vector/growing_buffer.h"

#include "engine/base/check.h"
#include "engine/vector/nibble_screen.h"

namespace baton {
namespace {

// About 256 KiB of vectors: a collection of few points costs little, and a chunk is long enough for
// a scan to run at the speed of memory. Whole blocks of nibbles.
int64_t ChunkRows(const VectorFormat& format, int64_t capacity) {
  const int64_t rows = (256 << 10) / std::max<int64_t>(format.row_bytes(), 1);
  const int64_t blocks = (rows + kNibbleBlockRows - 1) / kNibbleBlockRows;
  return std::clamp<int64_t>(blocks * kNibbleBlockRows, 1, capacity);
}

// About 1 MiB of nibbles.
int64_t RegionChunks(const VectorFormat& format, int64_t chunk_rows) {
  const int64_t chunk_bytes =
      (chunk_rows / kNibbleBlockRows) * NibbleBlockBytes(format.dimension());
  return std::max<int64_t>((1 << 20) / std::max<int64_t>(chunk_bytes, 1), 1);
}

}  // namespace

GrowingBuffer::GrowingBuffer(const VectorFormat& format, int64_t capacity)
    : format_(format),
      capacity_(capacity),
      chunk_rows_(ChunkRows(format, capacity)),
      code_stride_(format.dimension() < kScanCodeDimensionMin ? 0 : CodeStride(format.dimension())),
      chunks_((capacity + chunk_rows_ - 1) / chunk_rows_),
      region_chunks_(RegionChunks(format, chunk_rows_)),
      nibbles_(code_stride_ > 0 ? (std::ssize(chunks_) + region_chunks_ - 1) / region_chunks_ : 0) {
}

void GrowingBuffer::Append(PointId id, const float* vector, WriteSequence sequence) {
  BATON_CHECK(!full());
  Chunk& chunk = chunks_[rows_ / chunk_rows_];
  const int64_t i = rows_ % chunk_rows_;
  if (i == 0) {
    chunk.vectors = std::make_unique_for_overwrite<std::byte[]>(chunk_rows_ * format_.row_bytes());
    if (code_stride_ > 0) {
      chunk.codes = std::make_unique_for_overwrite<uint8_t[]>(chunk_rows_ * code_stride_);
      chunk.terms = std::make_unique_for_overwrite<float[]>(4 * chunk_rows_);
    }
    chunk.ids = std::make_unique_for_overwrite<uint64_t[]>(2 * chunk_rows_);
    chunk.sequences = std::make_unique_for_overwrite<WriteSequence[]>(chunk_rows_);
    chunk.deleted_at = std::make_unique<std::atomic<WriteSequence>[]>(chunk_rows_);
  }
  std::byte* const stored = &chunk.vectors[i * format_.row_bytes()];
  format_.Encode(vector, stored);
  if (code_stride_ > 0) {
    // Of what distances take: the stored row.
    decoded_.resize(static_cast<size_t>(format_.dimension()));
    format_.Decode(stored, 1, decoded_.data());
    const ScanTerms terms = EncodeScanRow(format_.metric(), decoded_.data(), format_.dimension(),
                                          &chunk.codes[i * code_stride_]);
    chunk.terms[i] = terms.low;
    chunk.terms[chunk_rows_ + i] = terms.step;
    chunk.terms[2 * chunk_rows_ + i] = terms.error;
    chunk.terms[3 * chunk_rows_ + i] = terms.size;
    AppendNibbles(decoded_.data());
  }
  chunk.ids[i] = LowerHalf(id);
  chunk.ids[chunk_rows_ + i] = UpperHalf(id);
  chunk.sequences[i] = sequence;
  chunk.deleted_at[i].store(kNeverDeleted, std::memory_order_relaxed);
  const bool inserted = live_rows_.emplace(id, rows_).second;
  BATON_CHECK(inserted);
  first_sequence_ = std::min(first_sequence_, sequence);
  ++rows_;
}

void GrowingBuffer::AppendNibbles(const float* vector) {
  const int64_t dimension = format_.dimension();
  const int64_t row_codes = NibbleLines(dimension) * kNibbleLineValues;
  unfinished_.codes.resize(static_cast<size_t>(kNibbleBlockRows * row_codes));
  unfinished_.terms.resize(kNibbleBlockRows);
  const int64_t i = rows_ % kNibbleBlockRows;
  unfinished_.terms[static_cast<size_t>(i)] = EncodeNibbleRow(
      format_.metric(), vector, dimension, unfinished_.codes.data() + i * row_codes);
  if (i + 1 < kNibbleBlockRows) return;
  const int64_t block_bytes = NibbleBlockBytes(dimension);
  const int64_t region_blocks = region_chunks_ * chunk_rows_ / kNibbleBlockRows;
  const int64_t block = rows_ / kNibbleBlockRows;
  NibbleBlocks& blocks = nibbles_[static_cast<size_t>(block / region_blocks)];
  if (blocks == nullptr) {
    const int64_t left = capacity_ / kNibbleBlockRows - block;
    const auto bytes = static_cast<size_t>(std::min(region_blocks, left) * block_bytes);
    blocks.reset(static_cast<std::byte*>(::operator new(bytes, kLine)));
  }
  StoreNibbleBlock(unfinished_.terms.data(), unfinished_.codes.data(), dimension,
                   &blocks[static_cast<size_t>(block % region_blocks * block_bytes)]);
}

bool GrowingBuffer::Delete(PointId id, WriteSequence sequence) {
  const auto found = live_rows_.find(id);
  if (found == live_rows_.end()) return false;
  const int64_t row = found->second;
  // Relaxed: a view that must see it is published after it, through a mutex; older views have a
  // smaller sequence and find the row live either way.
  chunks_[row / chunk_rows_].deleted_at[row % chunk_rows_].store(sequence,
                                                                 std::memory_order_relaxed);
  live_rows_.erase(found);
  return true;
}

RowBlock GrowingBuffer::Block(int64_t first, int64_t end) const {
  const Chunk& chunk = chunks_[first / chunk_rows_];
  const int64_t i = first % chunk_rows_;
  const int64_t count = std::min(chunk_rows_ - i, end - first);
  return {.vectors = {.bytes = &chunk.vectors[i * format_.row_bytes()], .format = format_},
          .ids = {&chunk.ids[i], &chunk.ids[chunk_rows_ + i], count},
          .deleted_at = &chunk.deleted_at[i],
          .count = count};
}

ScanCodes GrowingBuffer::Codes(int64_t first, int64_t end) const {
  if (code_stride_ == 0) return {};
  const Chunk& chunk = chunks_[first / chunk_rows_];
  const int64_t i = first % chunk_rows_;
  const float* const terms = &chunk.terms[i];
  const std::byte* nibbles = nullptr;
  // Not looked at before the first block is whole: it may be being made.
  if (first % kNibbleBlockRows == 0 && std::min(end - first, chunk_rows_ - i) >= kNibbleBlockRows) {
    const int64_t region_rows = region_chunks_ * chunk_rows_;
    const int64_t block = first % region_rows / kNibbleBlockRows;
    nibbles = &nibbles_[static_cast<size_t>(first / region_rows)]
                       [static_cast<size_t>(block * NibbleBlockBytes(format_.dimension()))];
  }
  return {.codes = &chunk.codes[i * code_stride_],
          .rows = {.low = terms,
                   .step = terms + chunk_rows_,
                   .error = terms + 2 * chunk_rows_,
                   .size = terms + 3 * chunk_rows_},
          .nibbles = nibbles};
}

}  // namespace baton
