#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/vector/file_layer.h"

namespace baton {

// Errors name the path and the system's reason; RESOURCE_EXHAUSTED where the disk is full.

// Makes a directory and those above it; they are there after a crash.
absl::Status MakeDirectories(FileLayer& files, const std::string& path);

// What was made, renamed or removed in it before stays so after a crash.
absl::Status SyncDirectory(FileLayer& files, const std::string& path);

// The names in it, in no order.
absl::StatusOr<std::vector<std::string>> ListDirectory(FileLayer& files, const std::string& path);

// Replaces directory/name by the parts, one after the other: written beside it, synced, renamed,
// and the directory synced. After a crash the file is the old one or the new one. On failure
// nothing new is left behind.
absl::Status WriteFileDurably(FileLayer& files, const std::string& directory,
                              const std::string& name, std::span<const std::string_view> parts);

// Neither survives a crash before its directory is synced.
absl::Status RenameFile(FileLayer& files, const std::string& from, const std::string& to);
absl::Status RemoveFile(FileLayer& files, const std::string& path);

// Bytes that a caller may still write to the file system of `path`.
absl::StatusOr<int64_t> FreeDiskBytes(const std::string& path);

// Keeps other processes out of a directory while it lives; a killed process keeps nobody out.
class DirectoryLock {
 public:
  // FAILED_PRECONDITION, naming the holder's process id, where the directory is in use.
  static absl::StatusOr<DirectoryLock> Take(const std::string& directory);
  DirectoryLock(DirectoryLock&& other) noexcept;
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace baton
