// libbaton_fpga.so: the FPGA executor's side of executor_abi.h, on XRT's native API. XRT throws;
// nothing it throws leaves this file.
#include <cstdint>
#include <cstdio>
#include <exception>

#include "engine/exec/executor_abi.h"
#include "experimental/xrt_system.h"
#include "xrt/xrt_device.h"

namespace {

// XRT loads its driver part from here at its first use and throws where it cannot.
constexpr char kXrtHint[] =
    "XILINX_XRT must name an XRT installation whose lib folder has libxrt_core.so.2";

// Describes card `card`, or throws what XRT throws.
void Describe(unsigned card, const baton_probe* probe, baton_device* device) {
  const xrt::device opened(card);
  const auto name = opened.get_info<xrt::info::device::name>();
  const auto bdf = opened.get_info<xrt::info::device::bdf>();
  std::snprintf(device->name, sizeof(device->name), "%s", name.c_str());
  std::snprintf(device->detail, sizeof(device->detail), "PCIe %s", bdf.c_str());
  if (BATON_DEVICE_HAS(probe, pci_address)) {
    std::snprintf(device->pci_address, sizeof(device->pci_address), "%s", bdf.c_str());
  }
  // memory_bytes_total stays 0: the banks are known once an xclbin is loaded.
}

int32_t Probe(const baton_host* host, baton_probe* probe) {
  unsigned cards = 0;
  try {
    cards = xrt::system::enumerate_devices();
  } catch (const std::exception& error) {
    std::snprintf(probe->reason, sizeof(probe->reason), "XRT does not start: %s; %s", error.what(),
                  kXrtHint);
    return 1;
  } catch (...) {
    std::snprintf(probe->reason, sizeof(probe->reason), "XRT does not start; %s", kXrtHint);
    return 1;
  }
  if (cards == 0) {
    std::snprintf(probe->reason, sizeof(probe->reason),
                  "XRT finds no card; is one fitted and its kernel driver (xocl) loaded?");
    return 0;
  }

  baton_device beyond_capacity = {};
  for (unsigned card = 0; card < cards; ++card) {
    baton_device* const device = probe->device_count < probe->device_capacity
                                     ? baton_probe_device(probe, probe->device_count)
                                     : &beyond_capacity;
    try {
      Describe(card, probe, device);
      ++probe->device_count;
      continue;
    } catch (const std::exception& error) {
      std::snprintf(probe->reason, sizeof(probe->reason), "FPGA card %u does not open: %s", card,
                    error.what());
    } catch (...) {
      std::snprintf(probe->reason, sizeof(probe->reason), "FPGA card %u does not open", card);
    }
    host->log(BATON_LOG_WARN, probe->reason);
  }
  return 0;  // no device: the reason is that of the last card
}

constexpr baton_executor_plugin kPlugin = {
    .struct_size = sizeof(baton_executor_plugin),
    .abi_version = BATON_EXECUTOR_ABI_VERSION,
    .platform = BATON_PLATFORM_FPGA,
    .reserved = 0,
    .version = BATON_PLUGIN_VERSION,
    .probe = Probe,
};

}  // namespace

const baton_executor_plugin* baton_executor_plugin_v1() { return &kPlugin; }
