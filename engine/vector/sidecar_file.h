#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/field_column.h"
#include "engine/vector/file_layer.h"

namespace baton {

// The payload indexes of one segment on disk, by row, as of one write. Part of the store once the
// manifest names it; the database has all of it, so that one that is lost or damaged costs reading
// the payloads of its points. Its name has a number of its own: a file is never written again.
//
//   "BATONIDX" | version u32 | collection u32 | segment u64 | sequence u64 | rows u64 |
//   indexes u32 | each: kind u8, field (text), FieldColumn | CRC-32C of all that u32
//
// Little-endian. The name is COLLECTION-NUMBER.payloads.
struct SidecarFileName {
  uint32_t collection_id = 0;
  uint64_t number = 0;

  std::string ToString() const;
  // False where `name` is not such a name.
  static bool Parse(const std::string& name, SidecarFileName* out);
};

struct SidecarColumns {
  uint32_t collection_id = 0;
  uint64_t segment = 0;        // its number
  WriteSequence sequence = 0;  // patches up to it are in the columns
  int64_t rows = 0;
  PayloadIndexes indexes;
  std::vector<FieldColumn> columns;  // [indexes], of `rows` rows each
};

// All but the sum. DATA_LOSS for other bytes.
absl::StatusOr<SidecarColumns> DecodeSidecar(std::string_view bytes);

class PayloadSidecar;

// Durable on return. The sum, which tells this file from any other.
absl::StatusOr<uint32_t> WriteSidecarFile(FileLayer& files, const std::string& directory,
                                          const SidecarFileName& name, uint64_t segment,
                                          const PayloadSidecar& sidecar);
// DATA_LOSS for a file that is damaged, or not the one that has this sum; NOT_FOUND.
absl::StatusOr<SidecarColumns> ReadSidecarFile(const std::string& directory,
                                               const SidecarFileName& name, uint32_t sum);

}  // namespace baton
