#include "fpga_emulation/link_config.h"

#include <sstream>

#include "fpga_emulation/kernel_table.h"

namespace baton::fpga {

std::string LinkConfig(const CardSpec& card) {
  std::ostringstream text;
  text << "# Made of fpga_kernels/cards/" << card.name
       << ".spec by `baton_card link`. Vitis has never seen it.\n"
       << "kernel_frequency=" << card.clock_mhz << "\n\n[connectivity]\n";
  for (size_t i = 0; i < card.units.size();) {
    size_t end = i;
    while (end < card.units.size() && card.units[end].kernel == card.units[i].kernel) ++end;
    text << "nk=" << KernelTable()[card.units[i].kernel].name << ":" << end - i << ":";
    for (size_t unit = i; unit < end; ++unit) {
      text << (unit == i ? "" : ".") << card.units[unit].name;
    }
    text << "\n";
    i = end;
  }
  for (const CardUnit& unit : card.units) {
    const Kernel& kernel = KernelTable()[unit.kernel];
    for (size_t i = 0; i < unit.banks.size(); ++i) {
      if (unit.banks[i] < 0) continue;
      text << "sp=" << unit.name << "." << kernel.arguments[i].name << ":"
           << card.banks[unit.banks[i]].tag << "\n";
    }
  }
  for (const CardJoin& join : card.joins) {
    const CardUnit& from = card.units[join.from_unit];
    const CardUnit& to = card.units[join.to_unit];
    text << "stream_connect=" << from.name << "."
         << KernelTable()[from.kernel].arguments[join.from_argument].name << ":" << to.name << "."
         << KernelTable()[to.kernel].arguments[join.to_argument].name << ":" << join.depth << "\n";
  }
  return text.str();
}

}  // namespace baton::fpga
