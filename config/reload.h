#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace baton {

// A key that another configuration has otherwise.
struct ConfigChange {
  std::string key;
  std::string from;  // as YAML
  std::string to;
  bool reloadable = false;  // takes effect while the daemon runs
};

// What differs, in the order of the keys.
std::vector<ConfigChange> Compare(const Config& running, const Config& wanted);

// Sets the reloadable keys of `running` to those of `wanted`, and no others.
void TakeReloadable(const Config& wanted, Config& running);

}  // namespace baton
