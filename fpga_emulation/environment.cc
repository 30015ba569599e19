#include "fpga_emulation/environment.h"

#include <cstdlib>
#include <filesystem>

namespace baton {

absl::StatusOr<FpgaEmulation> FindFpgaEmulation(const std::string& program_folder) {
  namespace fs = std::filesystem;
  const fs::path program = program_folder;
  std::string missed;
  for (const fs::path& folder :
       {program / "fpga_emulation", program / ".." / "lib" / "baton" / "fpga_emulation"}) {
    const FpgaEmulation emulation = {.xrt_root = folder.string(),
                                     .xrt_ini = (folder / "xrt.ini").string(),
                                     .xclbin = (folder / "emulated.xclbin").string()};
    const std::string driver = (folder / "lib" / "libbaton_fpga_emulation.so.2").string();
    bool whole = true;
    for (const std::string& file : {driver, emulation.xrt_ini, emulation.xclbin}) {
      std::error_code ignored;
      if (fs::exists(file, ignored)) continue;
      missed += (missed.empty() ? "" : ", ") + file;
      whole = false;
      break;
    }
    if (whole) return emulation;
  }
  return absl::NotFoundError(
      "this build has no emulated FPGA card (it is made where libxrt-dev and uuid-dev are "
      "found); missing: " +
      missed);
}

void UseFpgaEmulation(const FpgaEmulation& emulation) {
  // Of XRT's emulation modes hw_emu is the one whose driver xrt.ini may name.
  setenv("XCL_EMULATION_MODE", "hw_emu", 1);
  setenv("XILINX_XRT", emulation.xrt_root.c_str(), 1);
  setenv("XRT_INI_PATH", emulation.xrt_ini.c_str(), 1);
}

}  // namespace baton
