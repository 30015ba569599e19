#pragma once

#include "absl/status/status.h"
#include "config/config.h"
#include "config/yaml_file.h"

namespace baton {

// What no key can say by itself: bounds that hold between keys. The error begins with where the key
// was set.
absl::Status ValidateConfig(const Config& config, const Origins& origins);

}  // namespace baton
