#include "engine/vector/graph_rows.h"

#include <string_view>

namespace baton {

StoredRows StoredRowsOf(const GraphRows& rows) {
  if (rows.stored.bytes != nullptr) return rows.stored;
  return {.bytes = reinterpret_cast<const std::byte*>(rows.vectors),
          .format = {VectorStorage::kF32, rows.metric, rows.dimension}};
}

GraphNodes::GraphNodes(const GraphRows& rows) {
  absl::flat_hash_map<std::string_view, uint32_t> node_of;  // by the vector's bytes
  node_of.reserve(static_cast<size_t>(rows.rows));
  const size_t vector_bytes = static_cast<size_t>(rows.dimension) * sizeof(float);
  for (uint32_t row = 0; row < rows.rows; ++row) {
    const float* vector = rows.vectors + int64_t{row} * rows.dimension;
    const std::string_view bytes(reinterpret_cast<const char*>(vector), vector_bytes);
    const auto [found, added] = node_of.emplace(bytes, count());
    if (added) {
      first_row.push_back(row);
    } else {
      copies[found->second].push_back(row);
    }
  }
}

}  // namespace baton
