#include "engine/vector/dead_rows.h"

#include <cstring>

#include "engine/vector/byte_codec.h"
#include "engine/vector/segment.h"

namespace baton {
namespace {

constexpr uint8_t kList = 0;
constexpr uint8_t kBits = 1;

absl::Status Damaged() { return absl::DataLossError("the record of dead rows is damaged"); }

}  // namespace

std::string EncodeDeadRows(const Segment& segment) {
  const int64_t rows = segment.rows();
  std::string list(1, static_cast<char>(kList));
  std::string bits(1, static_cast<char>(kBits));
  bits.resize(1 + static_cast<size_t>((rows + 7) / 8));
  for (int64_t row = 0; row < rows; ++row) {
    if (segment.IsLive(row)) continue;
    bits[1 + static_cast<size_t>(row / 8)] |= static_cast<char>(1 << row % 8);
    if (list.size() < bits.size()) AppendNumber(list, static_cast<uint32_t>(row));
  }
  return list.size() < bits.size() ? list : bits;
}

absl::StatusOr<std::vector<int64_t>> DecodeDeadRows(std::string_view bytes, int64_t rows) {
  std::vector<int64_t> dead;
  ByteReader reader(bytes);
  const auto kind = reader.Take<uint8_t>();
  if (!kind.has_value() || *kind > kBits) return Damaged();
  if (*kind == kList) {
    while (!reader.at_end()) {
      const auto row = reader.Take<uint32_t>();
      if (!row.has_value() || *row >= rows || (!dead.empty() && *row <= dead.back())) {
        return Damaged();
      }
      dead.push_back(*row);
    }
    return dead;
  }
  if (bytes.size() != 1 + static_cast<size_t>((rows + 7) / 8)) return Damaged();
  for (int64_t row = 0; row < rows; ++row) {
    if ((bytes[1 + static_cast<size_t>(row / 8)] >> row % 8 & 1) != 0) dead.push_back(row);
  }
  return dead;
}

}  // namespace baton
