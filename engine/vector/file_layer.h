#pragma once

#include <memory>

namespace rocksdb {
class FileSystem;
}  // namespace rocksdb

namespace baton {

// What all changes of this room's files pass, RocksDB's and ours: one place to see them, and where
// tests have errors happen and the power fail. Reading and mapping our own files needs no layer:
// files are there as the layer leaves them. Thread safe.
using FileLayer = rocksdb::FileSystem;

// The operating system's files.
std::shared_ptr<FileLayer> SystemFiles();

// The same files for RocksDB, with two things that it leaves open. Before a file is renamed, the
// names that are there are synced: CURRENT must not name a MANIFEST whose own name a power cut
// still takes, and RocksDB syncs both names only afterwards. And every failure of writing is final
// to it unless it is marked as one that may pass. All are marked: a full disk gets room, a cable is
// plugged in again, and DB::Resume, which writes all that is in doubt to new files, decides.
std::shared_ptr<FileLayer> ResumableFiles(std::shared_ptr<FileLayer> files);

}  // namespace baton
