// Any bytes as an xclbin that a host looks at before XRT does.

#include <cstdint>

#include "fpga_kernels/xclbin_args.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint32_t contract = 0;
  baton::fpga::FaultOfXclbin(data, size, &contract);
  return 0;
}
