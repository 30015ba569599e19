#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace baton {

// A text file of at most 1 MiB; one that is longer is some other file. Errors call it `what`, such
// as "configuration file", and name the path.
absl::StatusOr<std::string> ReadTextFile(const std::string& path, std::string_view what);

}  // namespace baton
