#pragma once

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "experimental/xrt_xclbin.h"
#include "fpga_emulation/environment.h"
#include "xrt/xrt_bo.h"
#include "xrt/xrt_device.h"
#include "xrt/xrt_kernel.h"

namespace baton::fpga {

// The folder of this test program, beside which the emulation lies.
inline std::string ProgramFolder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
}

// Before anything of XRT. `faults`: shim/faults.h; they are read when a card is opened. Where
// BATON_FPGA_XCLBIN names an xclbin, what is tagged [card] runs it on the card that XRT finds
// (deploy/fpga/smoke).
inline FpgaEmulation UseEmulation(const std::string& faults = "") {
  if (const char* const xclbin = std::getenv("BATON_FPGA_XCLBIN"); xclbin != nullptr) {
    REQUIRE(faults.empty());
    return {.xrt_root = "", .xrt_ini = "", .xclbin = xclbin};
  }
  const auto emulation = FindFpgaEmulation(ProgramFolder());
  INFO(emulation.status().ToString());
  REQUIRE(emulation.ok());
  UseFpgaEmulation(*emulation);
  setenv("BATON_FPGA_EMULATION", faults.c_str(), 1);
  return *emulation;
}

// Buffers are whole pages: XRT hands what is less to aligned_alloc, which must not get it.
inline size_t WholePages(size_t bytes) { return (std::max<size_t>(bytes, 1) + 4095) / 4096 * 4096; }

// An open card with its xclbin, as any host of XRT opens it. xclbin: a name beside emulated.xclbin.
class XrtCard {
 public:
  explicit XrtCard(const std::string& faults = "", const std::string& xclbin = "emulated")
      : emulation_(UseEmulation(faults)),
        path_(xclbin == "emulated" ? emulation_.xclbin
                                   : emulation_.xrt_root + "/" + xclbin + ".xclbin"),
        device_(0u),
        uuid_(device_.load_xclbin(path_)) {}

  xrt::kernel Kernel(const std::string& name, int unit) const {
    return xrt::kernel(device_, uuid_, name + ":{" + name + "_" + std::to_string(unit) + "}");
  }
  int UnitCount(const std::string& kernel) const {
    return static_cast<int>(xrt::xclbin(path_).get_kernel(kernel).get_cus().size());
  }
  // In the bank that the kernel has for the argument.
  xrt::bo Buffer(const xrt::kernel& kernel, int argument, size_t bytes) const {
    return xrt::bo(device_, WholePages(bytes), xrt::bo::flags::normal, kernel.group_id(argument));
  }
  template <class T>
  xrt::bo Buffer(const xrt::kernel& kernel, int argument, const std::vector<T>& values) const {
    xrt::bo buffer = Buffer(kernel, argument, values.size() * sizeof(T));
    if (!values.empty()) std::memcpy(buffer.map<char*>(), values.data(), values.size() * sizeof(T));
    buffer.sync(XCL_BO_SYNC_BO_TO_DEVICE);
    return buffer;
  }
  const xrt::device& device() const { return device_; }
  const xrt::uuid& uuid() const { return uuid_; }

 private:
  const FpgaEmulation emulation_;
  const std::string path_;
  xrt::device device_;
  xrt::uuid uuid_;
};

template <class T>
std::vector<T> ReadBuffer(xrt::bo& buffer, size_t count) {
  buffer.sync(XCL_BO_SYNC_BO_FROM_DEVICE);
  const T* const values = buffer.map<T*>();
  return std::vector<T>(values, values + count);
}

}  // namespace baton::fpga
