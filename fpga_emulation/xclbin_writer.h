#pragma once

#include <string>

#include "fpga_emulation/card_spec.h"
#include "fpga_kernels/card_args.h"

namespace baton::fpga {

// The bytes of an xclbin for the emulation: memory, units, connections and arguments as XRT reads
// them of any other, `image` as its bitstream, the spec and `contract` as its user metadata. Equal
// cards and images give equal bytes; the UUID is a hash of them.
std::string XclbinOf(const CardSpec& card, const std::string& image,
                     uint32_t contract = kContractVersion);

}  // namespace baton::fpga
