#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/file_layer.h"
#include "engine/vector/vector_options.h"

namespace baton {

class PointDb;

// A store as it was after one write, in a directory of its own: the database's files and those of
// the segments, linked to the store's own where they never change, so that it costs little room
// until those are replaced. It can be copied elsewhere as any directory.
struct SnapshotInfo {
  std::string name;
  int64_t created_s = 0;  // since 1970
  WriteSequence sequence = 0;
  int64_t collections = 0;
  int64_t bytes = 0;  // of its files, also where they are the store's
};

struct VerifyReport {
  int64_t collections = 0;
  int64_t points = 0;
  int64_t segments = 0;
  int64_t bytes = 0;                  // read and compared with their checksums
  std::vector<std::string> problems;  // each names a file or point; empty: all is whole
};

// The snapshots of a store, under data_dir/snapshots. One caller at a time.
class Snapshots {
 public:
  Snapshots(VectorOptions options, std::shared_ptr<FileLayer> files);

  // Of `db` and the segment files in `segments`, none of which may be removed meanwhile. Writing
  // goes on beside it. INVALID_ARGUMENT for a name that is not 1 to 128 characters of
  // [A-Za-z0-9_.-], or begins with a dot; ALREADY_EXISTS; FAILED_PRECONDITION in a read-only store.
  absl::StatusOr<SnapshotInfo> Create(const std::string& name, PointDb& db,
                                      const std::string& segments);
  absl::StatusOr<std::vector<SnapshotInfo>> List() const;  // by name
  absl::Status Delete(const std::string& name);
  // Reads everything and compares checksums and counts. NOT_FOUND.
  absl::StatusOr<VerifyReport> Verify(const std::string& name) const;
  // The same of a store: first what Create does, under no name, then, when its files may be removed
  // again, the reading.
  absl::Status BeginVerifyStore(PointDb& db, const std::string& segments);
  absl::StatusOr<VerifyReport> VerifyStore();
  // Removes what a crash left of one that was being made or deleted.
  absl::Status RemoveLeftovers();

 private:
  absl::StatusOr<std::string> PathOf(const std::string& name) const;
  absl::StatusOr<SnapshotInfo> Describe(const std::string& name) const;
  absl::StatusOr<SnapshotInfo> ReadInfo(const std::string& path) const;
  absl::StatusOr<VerifyReport> VerifyAt(const std::string& path) const;
  absl::Status Fill(const std::string& path, PointDb& db, const std::string& segments) const;

  const VectorOptions options_;
  const std::shared_ptr<FileLayer> files_;
  const std::string directory_;
};

// Makes VectorOptions::restore, a snapshot's directory, the store of data_dir, which must have
// none. All of it is there after a crash or nothing.
absl::Status RestoreSnapshot(const VectorOptions& options, FileLayer& files);

// The parts of a store's, and of a snapshot's, directory.
std::string DatabaseDirectory(const std::string& directory);
std::string SegmentDirectory(const std::string& directory);

}  // namespace baton
