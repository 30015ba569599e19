#pragma once

// A card as its spec in fpga_kernels/cards says: banks of memory, compute units, where their
// arguments lie and which streams join them. One line a statement, # begins a comment:
//   like NAME                        what NAME.spec says holds, unless it is said anew below; from
//                                    the folder of this one on
//   card NAME
//   clock MHZ                        asked of the linker; nothing has shown that it is reached
//   banks TAG ddr4|hbm COUNT BYTES ADDRESS   TAG[0], TAG[1], ..., one behind the other; BYTES may
//                                    end in K, M or G
//   banks TAG none
//   unit KERNEL COUNT                KERNEL_0, KERNEL_1, ...
//   place UNITS.ARGUMENT TAG[i]      .*: all arguments in memory
//   join UNIT.ARGUMENT UNIT.ARGUMENT DEPTH   who writes, who reads
// UNITS are KERNEL[i], KERNEL[*] for all, or KERNEL alone for unit 0; beside a * other indices may
// be *+1 or 4+*. A join that leads to a unit beyond the last is left out: so chains end.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace baton::fpga {

struct CardBank {
  std::string tag;  // "HBM[3]"
  bool hbm = false;
  uint64_t address = 0;
  uint64_t bytes = 0;
};
struct CardUnit {
  std::string name;        // "gemv_bank_3"
  int kernel = 0;          // of KernelTable()
  std::vector<int> banks;  // [arguments], of CardSpec::banks; -1: not in memory
};
struct CardJoin {
  int from_unit = 0;
  int from_argument = 0;
  int to_unit = 0;
  int to_argument = 0;
  int depth = 0;
};
struct CardSpec {
  std::string name;
  int clock_mhz = 0;
  std::vector<CardBank> banks;
  std::vector<CardUnit> units;  // those of a kernel behind one another
  std::vector<CardJoin> joins;
};

// The text of NAME.spec; false: there is none.
using SpecReader = std::function<bool(const std::string& name, std::string* text)>;

// False: `error` names the line and what is wrong with it. Held against KernelTable(): kernels,
// arguments, and that a join's ends carry the same.
bool ReadCardSpec(const std::string& name, const SpecReader& read, CardSpec* card,
                  std::string* error);

// A spec that says the same without `like`: what travels in an xclbin.
std::string CardSpecText(const CardSpec& card);

}  // namespace baton::fpga
