#include "engine/vector/durable_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr char kLockName[] = "batond.lock";

absl::Status Failed(const char* what, const std::string& path) {
  return absl::ErrnoToStatus(errno, StrCat("cannot ", what, " ", path));
}

absl::Status WriteAll(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failed("write", path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Failed("open directory", path);
  const absl::Status status = fsync(fd) == 0 ? absl::OkStatus() : Failed("sync directory", path);
  close(fd);
  return status;
}

absl::Status WriteAndSync(const std::string& path, std::span<const std::string_view> parts) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return Failed("create", path);
  absl::Status status;
  for (const std::string_view part : parts) {
    status = WriteAll(fd, part, path);
    if (!status.ok()) break;
  }
  if (status.ok() && fsync(fd) != 0) status = Failed("sync", path);
  if (close(fd) != 0 && status.ok()) status = Failed("close", path);
  return status;
}

}  // namespace

absl::Status MakeDirectories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return absl::ErrnoToStatus(error.value(), StrCat("cannot make directory ", path));
  }
  return absl::OkStatus();
}

absl::Status WriteFileDurably(const std::string& directory, const std::string& name,
                              std::span<const std::string_view> parts) {
  const std::string path = StrCat(directory, "/", name);
  const std::string temporary = StrCat(path, ".tmp");
  absl::Status status = WriteAndSync(temporary, parts);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) status = Failed("rename", path);
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  return SyncDirectory(directory);
}

absl::StatusOr<int64_t> FreeDiskBytes(const std::string& path) {
  struct statvfs info;
  if (statvfs(path.c_str(), &info) != 0) return Failed("ask for the free space of", path);
  return static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize);
}

absl::StatusOr<DirectoryLock> DirectoryLock::Take(const std::string& directory) {
  const std::string path = StrCat(directory, "/", kLockName);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return Failed("open", path);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    absl::Status status = Failed("lock", path);
    if (errno == EWOULDBLOCK) {
      char holder[32] = {};
      const ssize_t bytes = read(fd, holder, sizeof(holder) - 1);
      status = absl::FailedPreconditionError(StrCat("data directory ", directory,
                                                    " is in use by another process",
                                                    bytes > 0 ? StrCat(" (", holder, ")") : ""));
    }
    close(fd);
    return status;
  }
  DirectoryLock lock(fd);
  // Only for the message above: a full disk must not keep the store from opening.
  const std::string process = StrCat("process ", getpid());
  if (ftruncate(fd, 0) == 0) WriteAll(fd, process, path).IgnoreError();
  return lock;
}

DirectoryLock::DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace baton
