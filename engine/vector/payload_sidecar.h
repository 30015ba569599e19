#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/vector/field_column.h"
#include "engine/vector/filter_nodes.h"
#include "engine/vector/row_records.h"

namespace baton {

// The indexed fields of one part of a collection, by row: of a segment in columns, with a record
// for each row that was patched since; of a growing buffer in records alone. What a patch changes
// is beside the rows: it touches no vector and no graph. Threads: as RowRecords.
class PayloadSidecar {
 public:
  // Of a growing buffer of at most so many rows.
  PayloadSidecar(std::shared_ptr<const PayloadIndexes> indexes, int64_t rows)
      : indexes_(std::move(indexes)), rows_(rows), records_(rows) {}
  // Of a segment.
  //   columns: one per index, with all patches up to `sequence`, perhaps more;
  //   row_nodes: [rows], as SealedGraph::RowNodes
  using Columns = std::vector<std::shared_ptr<const FieldColumn>>;
  PayloadSidecar(std::shared_ptr<const PayloadIndexes> indexes, int64_t rows,
                 WriteSequence sequence, Columns columns, std::vector<uint32_t> row_nodes)
      : indexes_(std::move(indexes)),
        rows_(rows),
        sequence_(sequence),
        columns_(std::move(columns)),
        row_nodes_(std::move(row_nodes)),
        records_(rows) {}

  const std::shared_ptr<const PayloadIndexes>& indexes() const { return indexes_; }
  int64_t rows() const { return rows_; }
  WriteSequence sequence() const { return sequence_; }
  // Whether its columns are in a file. The collection's, under its mutex.
  bool is_stored() const { return is_stored_; }
  void set_stored() { is_stored_ = true; }
  // False: a growing buffer's.
  bool has_columns() const { return !columns_.empty(); }
  const FieldColumn& column(size_t field) const { return *columns_[field]; }
  const Columns& columns() const { return columns_; }
  std::span<const uint32_t> row_nodes() const { return row_nodes_; }
  const RowRecords& records() const { return records_; }
  // The writer's.
  RowRecords& records() { return records_; }
  // Of filters over the columns, those by which a search comes while there are no records.
  FilterNodes& filter_nodes() const { return filter_nodes_; }

  // One field of a row that a view of that time includes.
  FieldValues ValuesOf(int64_t row, size_t field, WriteSequence sequence) const {
    const IndexedRow* const record = records_.Find(row, sequence);
    if (record != nullptr) return (*record)[field];
    if (columns_.empty()) return {.count = 0, .values = EmptyValues((*indexes_)[field].kind)};
    return columns_[field]->Get(row);
  }

 private:
  const std::shared_ptr<const PayloadIndexes> indexes_;
  const int64_t rows_;
  const WriteSequence sequence_ = 0;
  bool is_stored_ = false;
  const Columns columns_;
  const std::vector<uint32_t> row_nodes_;
  RowRecords records_;
  mutable FilterNodes filter_nodes_;
};

}  // namespace baton
