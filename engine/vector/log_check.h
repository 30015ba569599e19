#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/vector/file_layer.h"

namespace baton {

// Damage in RocksDB's write-ahead log. What a crash tore off the end of a log was never
// acknowledged and can be forgotten; what is damaged with acknowledged writes behind it was.
struct LogDamage {
  std::string path;
  uint64_t number = 0;  // of the log
  int64_t offset = 0;   // of the first record that cannot be read, bytes
};

// The first damage inside the logs of a database directory, before it is opened; nothing where they
// are whole or only torn at the end. RocksDB itself takes the one for the other: a wrong length in
// the last block is an end to it, and a sector that never reached the disk corruption.
//
// `all_synced`: each write was synced before the next was made, so that any record behind the
// damage shows that what is damaged was acknowledged. Else that takes two records of an empty
// write, which a sync leaves (PointDb::Sync): the second was written after the first, and all
// before it, were synced. The empty write that RocksDB itself begins a log with shows nothing: it
// is synced before the MANIFEST says that the torn log before it was read and is no longer needed.
absl::StatusOr<std::optional<LogDamage>> FindLogDamage(FileLayer& files,
                                                       const std::string& directory,
                                                       bool all_synced);

}  // namespace baton
