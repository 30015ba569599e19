#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/base/address.h"

namespace baton {

// The network devices that these addresses are on, or are reached by, as UCX names them: "lo,eth0".
// Nothing where one of them is any address, or unreachable: then it may be any device.
std::optional<std::string> DevicesOf(const std::optional<Address>& listen,
                                     const std::vector<Address>& peers);

}  // namespace baton
