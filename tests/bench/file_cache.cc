#include "tests/bench/file_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

namespace baton {

void DropFileCache(const std::string& folder) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    fdatasync(fd);  // dirty pages stay otherwise
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  }
}

double UnmappedCacheMib(const std::string& folder) {
  double pages = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    const size_t bytes = entry.file_size();
    if (fd < 0 || bytes == 0) continue;
    void* const map = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
    std::vector<unsigned char> resident((bytes + 4095) / 4096);
    if (map != MAP_FAILED && mincore(map, bytes, resident.data()) == 0) {
      for (const unsigned char page : resident) pages += page & 1;
    }
    if (map != MAP_FAILED) munmap(map, bytes);
    close(fd);
  }
  double mapped_kib = 0;
  std::ifstream smaps("/proc/self/smaps");
  bool ours = false;
  for (std::string line; std::getline(smaps, line);) {
    if (line.find(folder) != std::string::npos) {
      ours = true;
    } else if (ours && line.rfind("Rss:", 0) == 0) {
      mapped_kib += std::strtod(line.c_str() + 4, nullptr);
      ours = false;
    }
  }
  return pages * 4 / 1024 - mapped_kib / 1024;
}

}  // namespace baton
