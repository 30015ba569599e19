#include "engine/vector/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "engine/base/strings.h"

namespace baton {

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) {
    const absl::Status status = absl::ErrnoToStatus(errno, StrCat("cannot open ", path));
    if (fd >= 0) close(fd);
    return status;
  }
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0) return MappedFile(fd, nullptr, 0);
  void* const data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) {
    const absl::Status status = absl::ErrnoToStatus(errno, StrCat("cannot map ", path));
    close(fd);
    return status;
  }
  return MappedFile(fd, static_cast<const std::byte*>(data), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
  if (fd_ >= 0) close(fd_);
}

void MappedFile::ReadRarely() {
  if (data_ == nullptr) return;
  void* const data = const_cast<std::byte*>(data_);
  madvise(data, size_, MADV_RANDOM);
  madvise(data, size_, MADV_DONTNEED);
}

void MappedFile::ReadNoMore(int64_t offset, int64_t size) {
  posix_fadvise(fd_, offset, size, POSIX_FADV_DONTNEED);
}

}  // namespace baton
