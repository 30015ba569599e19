// Any bytes as stored payload indexes: refused, or whole, and then written back to the same bytes.
// What is asked of them stays within them.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/vector/byte_codec.h"
#include "engine/vector/field_column.h"
#include "engine/vector/sidecar_file.h"

namespace baton {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void Ask(const FieldColumn& column, PayloadIndexKind kind, int64_t rows) {
  Require(column.rows() == rows);
  int64_t postings = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const FieldValues values = column.Get(row);
    postings += std::ssize(column.ValuesOf(row));
    std::visit([&](const auto& list) { Require(list.size() == column.ValuesOf(row).size()); },
               values.values);
  }
  const auto end = static_cast<uint32_t>(column.value_count());
  Require(std::ssize(column.Postings(0, end)) == postings);
  for (const uint32_t row : column.Postings(0, end)) Require(row < rows);
  // Written and read again it is the same, whichever way it came.
  std::string once;
  column.AppendTo(once);
  ByteReader reader(once);
  const auto again = FieldColumn::Take(reader, kind, rows);
  Require(again.has_value() && reader.at_end());
  std::string twice;
  again->AppendTo(twice);
  Require(once == twice);
}

}  // namespace
}  // namespace baton

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto sidecar = DecodeSidecar(bytes); sidecar.ok()) {
    for (size_t i = 0; i < sidecar->columns.size(); ++i) {
      Ask(sidecar->columns[i], sidecar->indexes[i].kind, sidecar->rows);
    }
  }
  // Without the header, which random bytes rarely have.
  if (size < 2) return 0;
  const auto kind =
      static_cast<PayloadIndexKind>(data[0] % (static_cast<int>(PayloadIndexKind::kText) + 1));
  const int64_t rows = 1 + data[1] % 32;
  ByteReader reader(bytes.substr(2));
  const auto column = FieldColumn::Take(reader, kind, rows);
  if (column.has_value()) Ask(*column, kind, rows);
  return 0;
}
