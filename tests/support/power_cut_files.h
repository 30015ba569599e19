#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "rocksdb/file_system.h"

namespace baton {

// The changes a program makes to its files, in the order it makes them.
enum class FileOp {
  kCreate,
  kWrite,
  kSync,
  kRename,
  kRemove,
  kLink,
  kMakeDirectory,
  kSyncDirectory
};

// The system's files below one directory, as a disk treats them whose power may fail: bytes are on
// it once their file was synced, names once their directory was; of the rest a power cut keeps
// what it likes. Files lie in the directory as the program made them until Restart, which leaves
// what a disk might have kept. Thread safe but for Restart.
class PowerCutFiles : public rocksdb::FileSystemWrapper {
 public:
  explicit PowerCutFiles(std::string root);
  static const char* kClassName() { return "PowerCutFiles"; }
  const char* Name() const override { return kClassName(); }

  // Asked before every operation; what is not OK becomes its result, and it has no effect. A failed
  // write leaves half of its bytes.
  using Fault = std::function<rocksdb::IOStatus(FileOp op, const std::string& path)>;
  void SetFault(Fault fault);

  // The power fails in the `operation`-th operation from now, from 0: it happens in part or not at
  // all, and everything after it fails.
  void CutPowerIn(int64_t operation, uint32_t seed);
  // The power fails now.
  void CutPower();
  bool power_is_cut() const;
  int64_t operations() const;  // so far

  // What a disk does that lies: syncs of files, or of directories, return at once.
  void set_lies(bool about_files, bool about_directories);

  // After the program's objects are gone: leaves in the directory what a disk might have after a
  // power cut now, and has power again. Without a power cut before it, the same.
  void Restart(std::mt19937& random);

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                       rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReuseWritableFile(const std::string& path, const std::string& old_path,
                                      const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* file,
                                      rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewRandomRWFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSRandomRWFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus Truncate(const std::string& path, size_t size,
                             const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus CreateDir(const std::string& path, const rocksdb::IOOptions& options,
                              rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus CreateDirIfMissing(const std::string& path, const rocksdb::IOOptions& options,
                                       rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteDir(const std::string& path, const rocksdb::IOOptions& options,
                              rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus LinkFile(const std::string& from, const std::string& to,
                             const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override;

 private:
  class File;
  class Directory;
  // A file or directory, whatever its names.
  struct Node {
    bool is_directory = false;
    std::string bytes;         // as the program sees them
    std::string synced_bytes;  // as they are after a power cut, at the least
  };
  using Names = std::map<std::string, std::shared_ptr<Node>>;
  // Names that a change gives, or takes away: null. All of it happens or nothing.
  struct Change {
    std::string directory;
    std::map<std::string, std::shared_ptr<Node>> names;
  };

  // What keeps an operation from happening; `half`: whether half of it happens all the same.
  rocksdb::IOStatus Begin(FileOp op, const std::string& path, bool* half);
  void Record(const std::string& directory, std::map<std::string, std::shared_ptr<Node>> names);
  static void Apply(const Change& change, Names& names);
  static std::string DirectoryOf(const std::string& path);
  static std::string Normal(const std::string& path);

  const std::string root_;
  mutable std::mutex mutex_;
  Fault fault_;
  bool cut_ = false;
  int64_t operations_ = 0;
  int64_t cut_at_ = INT64_MAX;
  std::mt19937 random_;
  bool lies_about_files_ = false;
  bool lies_about_directories_ = false;
  Names names_;                  // as the program sees them
  Names synced_names_;           // as they are after a power cut, but for
  std::vector<Change> changes_;  // some of these
};

}  // namespace baton
