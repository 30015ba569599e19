#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace baton {

class Segment;

// Which rows of a segment are dead, as it is stored: a byte that says how, then the rows, u32
// each, or where that takes more, a bit for every row.
std::string EncodeDeadRows(const Segment& segment);

// The rows, ascending. DATA_LOSS where these are no rows of a segment of `rows`.
absl::StatusOr<std::vector<int64_t>> DecodeDeadRows(std::string_view bytes, int64_t rows);

}  // namespace baton
