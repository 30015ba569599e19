#include "engine/vector/row_records.h"

#include <utility>

#include "engine/base/check.h"

namespace baton {

RowRecords::~RowRecords() {
  for (const auto& chunk : chunks_) delete[] chunk.load(std::memory_order_relaxed);
  delete[] last_.load(std::memory_order_relaxed);
}

void RowRecords::Add(int64_t row, WriteSequence sequence, IndexedRow values) {
  const auto number = static_cast<uint32_t>(count_.load(std::memory_order_relaxed) + 1);
  const size_t chunk = ChunkOf(number);
  BATON_CHECK(chunk < kChunks);
  if (chunks_[chunk].load(std::memory_order_relaxed) == nullptr) {
    chunks_[chunk].store(new Record[size_t{kFirstChunk} << chunk], std::memory_order_release);
  }
  std::atomic<uint32_t>* last = last_.load(std::memory_order_relaxed);
  if (last == nullptr) {
    last = new std::atomic<uint32_t>[static_cast<size_t>(rows_)]();
    last_.store(last, std::memory_order_release);
  }
  At(number) = {.row = row,
                .sequence = sequence,
                .previous = last[row].load(std::memory_order_relaxed),
                .values = std::move(values)};
  last[row].store(number, std::memory_order_release);
  count_.store(number, std::memory_order_release);
}

const IndexedRow* RowRecords::FindFrom(const std::atomic<uint32_t>& last,
                                       WriteSequence sequence) const {
  for (uint32_t number = last.load(std::memory_order_acquire); number != 0;) {
    const Record& record = At(number);
    if (record.sequence <= sequence) return &record.values;
    number = record.previous;
  }
  return nullptr;
}

}  // namespace baton
