#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton::ctl {

// "1,2.5,-3e2" as floats. INVALID_ARGUMENT names the value that is not a finite number.
absl::StatusOr<std::vector<float>> ParseVector(absl::string_view text);

}  // namespace baton::ctl
