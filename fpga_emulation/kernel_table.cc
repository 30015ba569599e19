#include "fpga_emulation/kernel_table.h"

#include <type_traits>

#include "fpga_emulation/kernel_functions.h"

namespace baton::fpga {
namespace {

template <class T>
inline constexpr char kTypeTag = 0;

template <class A>
KernelArgument ArgumentOf(std::string_view name) {
  KernelArgument argument;
  if constexpr (IsStream<A>) {
    using Item = StreamItem<A>;
    argument.kind = name[0] == '>' ? KernelArgument::kStreamOut : KernelArgument::kStreamIn;
    argument.name = name.substr(1);
    argument.bytes = sizeof(Item);
    argument.type = &kTypeTag<Item>;
  } else if constexpr (std::is_pointer_v<A>) {
    argument.kind = KernelArgument::kMemory;
    argument.name = name;
    argument.bytes = sizeof(std::remove_pointer_t<A>);
  } else {
    static_assert(std::is_integral_v<A>, "a register holds a number");
    argument.kind = KernelArgument::kScalar;
    argument.name = name;
    argument.bytes = sizeof(A);
  }
  return argument;
}

// Registers as Vitis HLS lays out s_axilite: from 0x10 on, 12 bytes for 64 bits, 8 for 32.
// Source: UG1399, "S_AXILITE Control Register Map".
void PlaceRegisters(Kernel& kernel) {
  uint32_t at = 0x10;
  for (KernelArgument& argument : kernel.arguments) {
    if (argument.is_stream()) continue;
    argument.offset = at;
    const bool wide = argument.kind == KernelArgument::kMemory || argument.bytes > 4;
    at += wide ? 12 : 8;
  }
}

template <class... A>
Kernel KernelOf(void (*)(A...), const KernelNames<sizeof...(A)>& names) {
  Kernel kernel;
  kernel.name = names.kernel;
  kernel.free_running = (IsStream<A> && ...);
  int i = 0;
  (kernel.arguments.push_back(ArgumentOf<A>(names.arguments[i++])), ...);
  PlaceRegisters(kernel);
  return kernel;
}

}  // namespace

int Kernel::Find(std::string_view argument) const {
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].name == argument) return static_cast<int>(i);
  }
  return -1;
}

const std::vector<Kernel>& KernelTable() {
  static const std::vector<Kernel> table = [] {
    std::vector<Kernel> kernels;
    ForEachKernel(
        [&](auto function, const auto& names) { kernels.push_back(KernelOf(function, names)); });
    return kernels;
  }();
  return table;
}

int FindKernel(std::string_view name) {
  const std::vector<Kernel>& table = KernelTable();
  for (size_t i = 0; i < table.size(); ++i) {
    if (table[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace baton::fpga
