#include "engine/base/mapped_memory.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <string>

#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr int32_t kNodesMax = 1024;  // the kernel's own limit

}  // namespace

std::vector<int32_t> MemoryNodes() {
  std::vector<int32_t> nodes;
  std::ifstream file("/sys/devices/system/node/has_memory");
  std::string list;  // such as 0-1,4
  std::getline(file, list);
  const char* at = list.data();
  const char* const end = at + list.size();
  while (at < end) {
    int32_t first = 0;
    auto parsed = std::from_chars(at, end, first);
    if (parsed.ec != std::errc()) break;
    int32_t last = first;
    if (parsed.ptr < end && *parsed.ptr == '-') {
      parsed = std::from_chars(parsed.ptr + 1, end, last);
      if (parsed.ec != std::errc()) break;
    }
    for (int32_t node = first; node <= std::min(last, kNodesMax - 1); ++node) {
      nodes.push_back(node);
    }
    at = parsed.ptr + 1;  // behind the comma
  }
  if (nodes.empty()) nodes.push_back(0);
  return nodes;
}

absl::StatusOr<std::unique_ptr<MappedMemory>> MappedMemory::Create(const Request& request) {
  if (request.bytes <= 0) {
    return absl::InvalidArgumentError(
        StrCat("memory of ", request.bytes, " bytes cannot be mapped"));
  }
  const std::vector<int32_t> nodes = MemoryNodes();
  if (request.numa_node >= 0 &&
      !std::binary_search(nodes.begin(), nodes.end(), request.numa_node)) {
    return absl::InvalidArgumentError(StrCat("NUMA node ", request.numa_node,
                                             " has no memory here; nodes up to ", nodes.back(),
                                             " may"));
  }
  void* data = mmap(nullptr, static_cast<size_t>(request.bytes), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        StrCat("cannot map ", request.bytes, " bytes: ", std::strerror(errno)));
  }
  std::unique_ptr<MappedMemory> memory(
      new MappedMemory(static_cast<std::byte*>(data), request.bytes));
  if (request.numa_node >= 0) {
    constexpr size_t kBits = 8 * sizeof(unsigned long);
    std::array<unsigned long, kNodesMax / kBits> mask = {};
    const auto node = static_cast<size_t>(request.numa_node);
    mask[node / kBits] |= 1ul << (node % kBits);
    // Preferred rather than bound: where the node is full, memory from elsewhere beats a killed
    // process. The mask's length counts one more than its bits, as the kernel takes one off.
    memory->bound_ =
        syscall(SYS_mbind, data, request.bytes, MPOL_PREFERRED, mask.data(), kNodesMax + 1, 0) == 0;
  }
  if (request.lock) {
    memory->locked_ = mlock(data, static_cast<size_t>(request.bytes)) == 0;
  }
  return memory;
}

MappedMemory::~MappedMemory() { munmap(data_, static_cast<size_t>(bytes_)); }

}  // namespace baton
