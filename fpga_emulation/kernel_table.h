#pragma once

// The kernels that can be on a card, and what their arguments are: taken from the signatures of
// fpga_kernels/hls, so that what a spec says of them is held against the functions themselves.

#include <cstdint>
#include <string_view>
#include <vector>

namespace baton::fpga {

struct KernelArgument {
  enum Kind { kScalar, kMemory, kStreamIn, kStreamOut };
  std::string_view name;  // as the function has it
  Kind kind = kScalar;
  uint32_t bytes = 0;          // of a scalar, an element, an item
  const void* type = nullptr;  // of a stream's items: equal for equal types
  uint32_t offset = 0;         // of its register; streams have none

  bool is_stream() const { return kind == kStreamIn || kind == kStreamOut; }
};

struct Kernel {
  std::string_view name;
  // It has no registers and is never started: ap_ctrl_none.
  bool free_running = false;
  std::vector<KernelArgument> arguments;

  // -1: none of that name.
  int Find(std::string_view argument) const;
};

const std::vector<Kernel>& KernelTable();
// -1: none of that name.
int FindKernel(std::string_view name);

}  // namespace baton::fpga
