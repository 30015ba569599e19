#include "server/batonctl/vector_text.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace baton::ctl {
namespace {
constexpr size_t kDimensionMax = 65'536;
}

absl::StatusOr<std::vector<float>> ParseVector(absl::string_view text) {
  std::vector<float> values;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    float value = 0;
    if (!absl::SimpleAtof(part, &value) || !std::isfinite(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("value ", values.size() + 1, ", \"", part, "\", is not a finite number"));
    }
    if (values.size() == kDimensionMax) {
      return absl::InvalidArgumentError(absl::StrCat("more than ", kDimensionMax, " values"));
    }
    values.push_back(value);
  }
  return values;
}

}  // namespace baton::ctl
