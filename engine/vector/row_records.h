#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "engine/vector/collection_view.h"
#include "engine/vector/field_values.h"

namespace baton {

// What the rows of a part of a collection had in their indexed fields, write by write. Records are
// added and never change, so that each reader finds those of its view. Threads: one writer at a
// time (the collection's mutex); readers need no lock.
class RowRecords {
 public:
  explicit RowRecords(int64_t rows) : rows_(rows) {}
  ~RowRecords();
  RowRecords(const RowRecords&) = delete;
  RowRecords& operator=(const RowRecords&) = delete;

  // ---- The writer's

  // Sequences never descend.
  void Add(int64_t row, WriteSequence sequence, IndexedRow values);

  // ---- Everybody's

  int64_t count() const { return count_.load(std::memory_order_acquire); }
  // The row's last record at that time; null: it has none.
  const IndexedRow* Find(int64_t row, WriteSequence sequence) const {
    const std::atomic<uint32_t>* const last = last_.load(std::memory_order_acquire);
    return last == nullptr ? nullptr : FindFrom(last[row], sequence);
  }
  // Each row that has a record at that time, once, in no order.
  template <class Visit>
  void ForEachRow(WriteSequence sequence, Visit visit) const {
    for (uint32_t i = 1; i <= count(); ++i) {
      const Record& record = At(i);
      if (record.sequence > sequence) break;
      if (Find(record.row, sequence) == &record.values) visit(record.row, record.values);
    }
  }
  // Records [first, end) in the order they came.
  template <class Visit>
  void ForEach(int64_t first, int64_t end, Visit visit) const {
    for (int64_t i = first; i < end; ++i) {
      const Record& record = At(static_cast<uint32_t>(i + 1));
      visit(record.row, record.sequence, record.values);
    }
  }

 private:
  struct Record {
    int64_t row = 0;
    WriteSequence sequence = 0;
    uint32_t previous = 0;  // of the row; 0: none
    IndexedRow values;
  };
  // Records are numbered from 1; chunk c begins with record 64 * (2^c - 1) + 1.
  static constexpr uint32_t kFirstChunk = 64;
  static constexpr size_t kChunks = 26;

  const IndexedRow* FindFrom(const std::atomic<uint32_t>& last, WriteSequence sequence) const;
  static size_t ChunkOf(uint32_t number) {
    return static_cast<size_t>(31 - __builtin_clz((number - 1) / kFirstChunk + 1));
  }
  Record& At(uint32_t number) const {
    const size_t chunk = ChunkOf(number);
    const uint32_t first = kFirstChunk * ((uint32_t{1} << chunk) - 1);
    return chunks_[chunk].load(std::memory_order_acquire)[number - 1 - first];
  }

  const int64_t rows_;
  std::atomic<std::atomic<uint32_t>*> last_ = nullptr;  // [rows], made with the first record
  std::array<std::atomic<Record*>, kChunks> chunks_ = {};
  std::atomic<int64_t> count_ = 0;
};

}  // namespace baton
