#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request/vector_request.h"
#include "engine/vector/file_layer.h"
#include "engine/vector/segment.h"

namespace baton {

// A sealed segment on disk: which point (id) at which write (sequence) each row is, the vectors and
// the graph. Part of the store once the manifest names it; the database has all of it, so that one
// that is lost or damaged costs building the graph again.
//
//   header | ids [rows] u64 | upper halves of ids [rows] u64, if any is a UUID | sequences [rows]
//   u64 | vectors [rows] of VectorFormat | graph | CRC-32C [blocks] u32 of blocks of
//   kSegmentBlockBytes of all that | CRC-32C of these u32
//
// Little-endian; each but the last is aligned to 64 bytes, padded with zeros. There are no vectors
// where the graph's codes tell them exactly. The name is COLLECTION-NUMBER.segment.
inline constexpr int64_t kSegmentBlockBytes = 256 << 10;

struct SegmentFileName {
  uint32_t collection_id = 0;
  uint64_t number = 0;

  std::string ToString() const;
  // False where `name` is not such a name.
  static bool Parse(const std::string& name, SegmentFileName* out);
};

// The sum at the end, which tells this file from any other.
absl::StatusOr<uint32_t> WriteSegmentFile(FileLayer& files, const std::string& directory,
                                          uint32_t collection_id, const CollectionSpec& spec,
                                          const Segment& segment);

struct SegmentFile {
  std::shared_ptr<Segment> segment;
  uint32_t sum = 0;
};

// The segment takes ids, sequences and vectors from the file where they are looked at, and its
// graph into memory. What a search relies on, ids and graph, is checked here; VerifySegmentFile
// checks all. All rows are live, or dead. DATA_LOSS for a file that is damaged, or of another
// collection or other graph parameters.
absl::StatusOr<SegmentFile> ReadSegmentFile(const std::string& directory,
                                            const SegmentFileName& name, const CollectionSpec& spec,
                                            bool live);

struct SegmentDamage {
  absl::Status status;  // DATA_LOSS: the first of it; OK where there is none
  // Rows [first, end) whose vectors are damaged, ascending. The rest of a file is in memory.
  std::vector<std::pair<int64_t, int64_t>> rows;
};

// Reads the whole file and compares every checksum. `poll` is asked before each block; its error
// ends it. DATA_LOSS where nothing of the file is to be relied on.
absl::StatusOr<SegmentDamage> FindSegmentDamage(const std::string& directory,
                                                const SegmentFileName& name,
                                                absl::FunctionRef<absl::Status()> poll);

// The same where it is only asked whether there is any.
absl::Status VerifySegmentFile(const std::string& directory, const SegmentFileName& name,
                               absl::FunctionRef<absl::Status()> poll);

}  // namespace baton
