// The XRT tests that hold on any card, unchanged, on one whose hot kernels are verilated RTL.
#include <catch2/catch.hpp>
#include <filesystem>
#include <regex>

#include "tests/support/process.h"

namespace baton::fpga {
namespace {

using Catch::Matchers::Contains;

// Cycles and beats of a kernel in what the card's image said in the end.
void CheckCycles(const std::string& said, const std::string& kernel) {
  std::smatch found;
  const std::regex line("rtl: " + kernel + " took ([0-9]+) cycles for ([0-9]+) beats");
  uint64_t cycles = 0;
  uint64_t beats = 0;
  for (auto at = said.cbegin(); std::regex_search(at, said.cend(), found, line);
       at = found.suffix().first) {
    cycles += std::stoull(found[1]);
    beats += std::stoull(found[2]);
  }
  WARN(kernel << ": " << cycles << " cycles for " << beats << " beats");
  CHECK(beats > 0);
  CHECK(cycles >= beats);  // one beat a cycle at best
}

void CheckProgram(const std::string& program, const std::string& kernel) {
  const std::string folder = std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
  const std::string emulation = folder + "/fpga_emulation";
  const ProgramResult result =
      RunProgram({folder + "/" + program, "[card]"},
                 {"BATON_FPGA_XCLBIN=" + emulation + "/rtl.xclbin", "XILINX_XRT=" + emulation,
                  "XRT_INI_PATH=" + emulation + "/xrt.ini", "XCL_EMULATION_MODE=hw_emu"},
                 std::chrono::seconds(200));
  INFO(result.out << result.err);
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.out, Contains("All tests passed"));
  CheckCycles(result.err, kernel);
}

TEST_CASE("scans through verilated engines are the C model's") {
  CheckProgram("fpga_xrt_runs_test", "distance_engine");
}

TEST_CASE("walks through verilated engines are the C model's") {
  CheckProgram("fpga_xrt_search_test", "distance_engine");
}

TEST_CASE("tokens through verilated lanes are the C models'") {
  CheckProgram("fpga_xrt_decode_test", "gemv_lane");
}

}  // namespace
}  // namespace baton::fpga
