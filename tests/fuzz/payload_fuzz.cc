// Any bytes as a stored payload, and what indexes of every kind take of it: a payload that can be
// read is written back to the same bytes' meaning, and what an index takes is in order.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request/datetime.h"
#include "engine/vector/field_values.h"
#include "engine/vector/payload_codec.h"
#include "engine/vector/word_split.h"

namespace baton {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void Run(std::string_view bytes) {
  ParseDatetime(bytes);
  for (const std::string& word : DistinctWords(bytes)) Require(!word.empty());
  const absl::StatusOr<Payload> payload = DecodePayload(bytes);
  if (!payload.ok()) return;
  const std::string again = EncodePayload(*payload);
  Require(static_cast<int64_t>(again.size()) == EncodedPayloadBytes(*payload));
  const absl::StatusOr<Payload> decoded = DecodePayload(again);
  Require(decoded.ok() && EncodePayload(*decoded) == again);
  for (const auto& [key, value] : *payload) {
    for (uint8_t kind = 0; kind <= static_cast<uint8_t>(PayloadIndexKind::kText); ++kind) {
      const FieldValues values = TakeValues(
          PayloadIndex{.field = key, .kind = static_cast<PayloadIndexKind>(kind)}, *payload);
      std::visit([](const auto& list) { Require(std::is_sorted(list.begin(), list.end())); },
                 values.values);
    }
  }
}

}  // namespace
}  // namespace baton

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  baton::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
