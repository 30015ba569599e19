#pragma once

#include <cstdint>
#include <string>

namespace baton {

// Bytes of memory that this process may have: the machine's, or less where a cgroup (version 1 or
// 2) that it is in allows less. `root`: where /proc and /sys are found, "" but in tests. Reads a
// few small files; what cannot be read limits nothing.
int64_t MemoryLimitBytes(const std::string& root = "");
// Bytes of it that are free, or would be for who asks: caches of files count as free.
int64_t MemoryFreeBytes(const std::string& root = "");

}  // namespace baton
