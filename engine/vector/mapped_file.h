#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace baton {

// A file as memory, read from the disk where it is looked at. The file must not be written or cut
// while it is mapped: segment files are written once, under another name, and removed whole. A page
// that the disk cannot give all the same does not end the process: it reads as zeros, and the file
// is unreadable from then on. (Some thousands of files at a time; beyond that it does.)
class MappedFile {
 public:
  // NOT_FOUND and the like, naming the path. An empty file is no bytes.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Whether a page that was looked at could not be read. Any thread.
  bool unreadable() const;
  // The bytes will be read here and there from now on, and none of them is needed now: the pages
  // may go until they are.
  void ReadRarely();
  // Bytes from `offset` on will be read next, from the first to the last.
  void ReadSoon(int64_t offset, int64_t size);
  // Nor will those from `offset` on ever be.
  void ReadNoMore(int64_t offset, int64_t size);

 private:
  MappedFile(int fd, const std::byte* data, size_t size);
  int fd_;
  const std::byte* data_;
  size_t size_;
  int guard_;  // its place among the mappings that the handler of SIGBUS knows; -1: none
};

}  // namespace baton
