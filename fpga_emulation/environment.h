#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace baton {

// Where a build has its emulated card.
struct FpgaEmulation {
  std::string xrt_root;  // what XILINX_XRT is to name
  std::string xrt_ini;   // what XRT_INI_PATH is to name
  std::string xclbin;    // for the executor
};

// Looks in `program_folder`/fpga_emulation, then in `program_folder`/../lib/baton/fpga_emulation;
// NOT_FOUND says where it looked and what it missed.
absl::StatusOr<FpgaEmulation> FindFpgaEmulation(const std::string& program_folder);

// Makes this process's XRT load the emulation in the place of a card's driver. Sets environment
// variables, so: before anything of XRT is used, and before there are other threads.
void UseFpgaEmulation(const FpgaEmulation& emulation);

}  // namespace baton
