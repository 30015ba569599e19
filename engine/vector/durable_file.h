#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace baton {

// Makes a directory and those above it. Errors name the path and the system's reason.
absl::Status MakeDirectories(const std::string& path);

// Replaces directory/name by the parts, one after the other: written beside it, synced, renamed,
// and the directory synced. After a crash the file is the old one or the new one. On failure
// nothing new is left behind.
absl::Status WriteFileDurably(const std::string& directory, const std::string& name,
                              std::span<const std::string_view> parts);

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
