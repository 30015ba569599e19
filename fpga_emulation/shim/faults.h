#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace baton::fpga {

// What goes wrong on an emulated machine. Rules, in the environment's BATON_FPGA_EMULATION, joined
// by commas; RUN counts a unit's runs from 1, * is every run:
//   cards=N                    as many cards, at most 16; without it one
//   shell=NAME                 the cards have this shell and take no xclbin that is for another
//   bank_full=TAG              nothing can be allocated in the bank: bank_full=HBM[3]
//   hang=UNIT:RUN              the run never ends: hang=kv_attention_2:5
//   error=UNIT:RUN             the run ends in ERT_CMD_STATE_ERROR, having done nothing
//   wrong=UNIT.ARGUMENT+BYTE:RUN   the run ends well, and the argument's byte is not what it
//                              should be: wrong=flat_scan_0.hits+8:1
struct EmulationFaults {
  struct Rule {
    std::string unit;
    uint64_t run = 0;      // 0: every one
    std::string argument;  // wrong
    uint64_t byte = 0;     // wrong

    bool Holds(const std::string& of, uint64_t at) const {
      return unit == of && (run == 0 || run == at);
    }
  };
  int cards = 1;
  std::string shell;  // empty: that of whatever is loaded
  std::vector<std::string> banks_full;
  std::vector<Rule> hangs;
  std::vector<Rule> errors;
  std::vector<Rule> wrongs;
};

// False: `error` names the rule and what it should be.
bool ReadEmulationFaults(const std::string& rules, EmulationFaults* faults, std::string* error);
// Those of the environment; a rule that is wrong is said to standard error, and leaves no card.
EmulationFaults FaultsOfEnvironment();

}  // namespace baton::fpga
