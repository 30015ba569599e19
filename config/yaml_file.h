#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "config/config.h"

namespace baton {

// Where each key that was set came from, for messages: "batond.yaml:12" or "--vector.data_dir".
using Origins = std::map<std::string, std::string>;

// Sets in `config` what the YAML file at `path` names, and notes it in `origins`. An unknown or
// repeated key, a value of the wrong type or out of its range is INVALID_ARGUMENT, naming file,
// line, key and bound; so is a file that is not YAML. NOT_FOUND, PERMISSION_DENIED: it cannot be
// read. On error `config` is left half set.
absl::Status ApplyYamlFile(const std::string& path, Config& config, Origins& origins);

}  // namespace baton
