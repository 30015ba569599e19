#include "engine/transfer/memory_space.h"

#include "engine/base/strings.h"

namespace baton {

std::string ToString(const MemorySpace& space) {
  switch (space.kind) {
    case MemorySpace::Kind::kHost:
      return "host";
    case MemorySpace::Kind::kPinned:
      return "pinned";
    case MemorySpace::Kind::kCuda:
      return StrCat("cuda:", space.device);
    case MemorySpace::Kind::kFpga:
      return StrCat("fpga:", space.device, "/", space.bank);
    case MemorySpace::Kind::kCxl:
      return StrCat("cxl:", space.device);
    case MemorySpace::Kind::kPeer:
      return StrCat("peer:", space.device);
  }
  return "unknown";
}

}  // namespace baton
