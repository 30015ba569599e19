#pragma once

#include <string>

#include "config/config.h"

namespace baton {

// The configuration as YAML that the loader reads back to the same, each key under its help,
// bounds and default.
std::string CommentedYaml(const Config& config);

}  // namespace baton
