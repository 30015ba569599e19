#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request/vector_request.h"
#include "engine/vector/segment.h"

namespace baton {

// A sealed segment on disk: which point (id) at which write (sequence) each row is, the vectors and
// the graph, under one checksum. A file is a convenience: what it says counts only for rows that
// the database confirms, and a lost or damaged file costs building the graph again.
//
//   header | ids [rows] u64 | sequences [rows] u64 | vectors [rows, dimension] f32 | graph |
//   CRC-32C
//
// Little-endian; each but the last is aligned to 64 bytes, padded with zeros. There are no vectors
// where the graph's codes tell them exactly. The name is COLLECTION-NUMBER.segment.
struct SegmentFileName {
  uint32_t collection_id = 0;
  uint64_t number = 0;

  std::string ToString() const;
  // False where `name` is not such a name.
  static bool Parse(const std::string& name, SegmentFileName* out);
};

absl::Status WriteSegmentFile(const std::string& directory, uint32_t collection_id,
                              const CollectionSpec& spec, const Segment& segment);

// The segment takes ids, sequences and vectors from the file where they are looked at, and its
// graph into memory. All rows are dead unless `live`: recovery revives those that the database
// confirms. DATA_LOSS for a file that is damaged, or of another collection or other graph
// parameters.
absl::StatusOr<std::shared_ptr<Segment>> ReadSegmentFile(const std::string& directory,
                                                         const SegmentFileName& name,
                                                         const CollectionSpec& spec,
                                                         bool live = false);

}  // namespace baton
