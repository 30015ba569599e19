#include "engine/vector/mapped_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>

#include "engine/base/strings.h"

namespace baton {
namespace {

// A mapping that the handler of SIGBUS looks after. `begin` is set last and cleared first.
struct Guard {
  std::atomic<bool> taken = false;
  std::atomic<const std::byte*> begin = nullptr;
  std::atomic<size_t> size = 0;
  std::atomic<bool> unreadable = false;
};
constexpr int kGuards = 8192;
Guard guards[kGuards];
struct sigaction previous_action;

// Only what a handler may do: atomics and system calls.
void OnBusError(int signal, siginfo_t* info, void* context) {
  auto* const at = static_cast<const std::byte*>(info->si_addr);
  for (Guard& guard : guards) {
    const std::byte* const begin = guard.begin.load(std::memory_order_acquire);
    if (begin == nullptr || at < begin || at >= begin + guard.size) continue;
    constexpr uintptr_t kPageBytes = 4096;
    auto* const page = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(at) & -kPageBytes);
    guard.unreadable = true;
    if (mmap(page, kPageBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page) {
      return;
    }
  }
  // Not ours: as it would have been.
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
    return;
  }
  sigaction(SIGBUS, &previous_action, nullptr);
}

int TakeGuard(const std::byte* begin, size_t size) {
  static const bool installed = [] {
    struct sigaction action = {};
    action.sa_sigaction = OnBusError;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    return sigaction(SIGBUS, &action, &previous_action) == 0;
  }();
  if (!installed || begin == nullptr) return -1;
  for (int i = 0; i < kGuards; ++i) {
    if (guards[i].taken.exchange(true)) continue;
    guards[i].size = size;
    guards[i].unreadable = false;
    guards[i].begin.store(begin, std::memory_order_release);
    return i;
  }
  return -1;
}

}  // namespace

MappedFile::MappedFile(int fd, const std::byte* data, size_t size)
    : fd_(fd), data_(data), size_(size), guard_(TakeGuard(data, size)) {}

bool MappedFile::unreadable() const { return guard_ >= 0 && guards[guard_].unreadable; }

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
      size_(std::exchange(other.size_, 0)),
      guard_(std::exchange(other.guard_, -1)) {}

MappedFile::~MappedFile() {
  if (guard_ >= 0) {
    guards[guard_].begin = nullptr;
    guards[guard_].taken = false;
  }
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
  if (fd_ >= 0) close(fd_);
}

void MappedFile::ReadRarely() {
  if (data_ == nullptr) return;
  void* const data = const_cast<std::byte*>(data_);
  madvise(data, size_, MADV_RANDOM);
  madvise(data, size_, MADV_DONTNEED);
}

void MappedFile::ReadSoon(int64_t offset, int64_t size) {
  posix_fadvise(fd_, offset, size, POSIX_FADV_WILLNEED);
}

void MappedFile::ReadNoMore(int64_t offset, int64_t size) {
  posix_fadvise(fd_, offset, size, POSIX_FADV_DONTNEED);
}

}  // namespace baton
