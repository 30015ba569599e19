#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace baton {

// Where bytes live: host, pinned, cuda:N, fpga:N/bank, cxl, or in another process, peer:N.
struct MemorySpace {
  enum class Kind : uint8_t { kHost, kPinned, kCuda, kFpga, kCxl, kPeer };
  Kind kind = Kind::kHost;
  int32_t device = 0;  // N of cuda, fpga and peer, the NUMA node of cxl
  int32_t bank = 0;    // of fpga

  friend auto operator<=>(const MemorySpace&, const MemorySpace&) = default;
};

std::string ToString(const MemorySpace& space);

}  // namespace baton
