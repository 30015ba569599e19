#include "engine/vector/durable_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "rocksdb/file_system.h"

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

// The system's reason is in errno still, where it was the system that failed.
absl::Status ToStatus(const rocksdb::IOStatus& status, const char* what, const std::string& path) {
  const int reason = errno;
  if (status.ok()) return absl::OkStatus();
  const std::string message = StrCat("cannot ", what, " ", path);
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(StrCat("disk full: ", message));
  if (status.IsPathNotFound()) return absl::NotFoundError(StrCat(message, ": ", status.ToString()));
  if (reason != 0) return absl::ErrnoToStatus(reason, message);
  return absl::InternalError(StrCat(message, ": ", status.ToString()));
}

absl::Status WriteAndSync(FileLayer& files, const std::string& path,
                          std::span<const std::string_view> parts) {
  std::unique_ptr<rocksdb::FSWritableFile> file;
  errno = 0;
  RETURN_IF_ERROR(ToStatus(files.NewWritableFile(path, {}, &file, nullptr), "create", path));
  for (const std::string_view part : parts) {
    RETURN_IF_ERROR(ToStatus(file->Append({part.data(), part.size()}, {}, nullptr), "write", path));
  }
  RETURN_IF_ERROR(ToStatus(file->Fsync({}, nullptr), "sync", path));
  return ToStatus(file->Close({}, nullptr), "close", path);
}

}  // namespace

absl::Status MakeDirectories(FileLayer& files, const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return absl::OkStatus();
  if (std::filesystem::exists(path, error)) {
    return absl::ErrnoToStatus(ENOTDIR, StrCat("cannot make directory ", path));
  }
  const std::filesystem::path whole(path);
  if (!whole.has_filename()) return MakeDirectories(files, whole.parent_path().string());
  const std::string parent = whole.has_parent_path() ? whole.parent_path().string() : ".";
  if (!std::filesystem::exists(parent, error)) {
    const absl::Status made = MakeDirectories(files, parent);
    if (!made.ok()) {
      return {made.code(), StrCat("cannot make directory ", path, ": ", made.message())};
    }
  }
  errno = 0;
  RETURN_IF_ERROR(ToStatus(files.CreateDirIfMissing(path, {}, nullptr), "make directory", path));
  return SyncDirectory(files, parent);
}

absl::Status SyncDirectory(FileLayer& files, const std::string& path) {
  std::unique_ptr<rocksdb::FSDirectory> directory;
  errno = 0;
  RETURN_IF_ERROR(
      ToStatus(files.NewDirectory(path, {}, &directory, nullptr), "open directory", path));
  return ToStatus(directory->Fsync({}, nullptr), "sync directory", path);
}

absl::StatusOr<std::vector<std::string>> ListDirectory(FileLayer& files, const std::string& path) {
  std::vector<std::string> names;
  errno = 0;
  RETURN_IF_ERROR(ToStatus(files.GetChildren(path, {}, &names, nullptr), "list", path));
  std::erase_if(names, [](const std::string& name) { return name == "." || name == ".."; });
  return names;
}

absl::Status WriteFileDurably(FileLayer& files, const std::string& directory,
                              const std::string& name, std::span<const std::string_view> parts) {
  const std::string path = StrCat(directory, "/", name);
  const std::string temporary = StrCat(path, ".tmp");
  absl::Status status = WriteAndSync(files, temporary, parts);
  if (status.ok()) status = RenameFile(files, temporary, path);
  if (!status.ok()) {
    RemoveFile(files, temporary).IgnoreError();
    return status;
  }
  return SyncDirectory(files, directory);
}

absl::Status RenameFile(FileLayer& files, const std::string& from, const std::string& to) {
  errno = 0;
  return ToStatus(files.RenameFile(from, to, {}, nullptr), "rename", from);
}

absl::Status RemoveFile(FileLayer& files, const std::string& path) {
  errno = 0;
  return ToStatus(files.DeleteFile(path, {}, nullptr), "remove", path);
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
