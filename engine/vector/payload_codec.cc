#include "engine/vector/payload_codec.h"

#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include "engine/vector/byte_codec.h"

namespace baton {
namespace {

std::optional<PayloadValue> TakeValue(ByteReader& reader) {
  const std::optional<uint8_t> kind = reader.Take<uint8_t>();
  if (!kind.has_value()) return std::nullopt;
  switch (*kind) {
    case 0:
      if (auto text = reader.TakeText()) return PayloadValue(std::move(*text));
      return std::nullopt;
    case 1:
      if (auto integer = reader.Take<int64_t>()) return PayloadValue(*integer);
      return std::nullopt;
    case 2:
      if (auto number = reader.Take<double>()) return PayloadValue(*number);
      return std::nullopt;
    case 3:
      if (auto boolean = reader.Take<uint8_t>(); boolean.has_value() && *boolean <= 1) {
        return PayloadValue(*boolean == 1);
      }
      return std::nullopt;
  }
  return std::nullopt;
}

static_assert(std::is_same_v<PayloadValue, std::variant<std::string, int64_t, double, bool>>,
              "the kinds above are the indices of this variant");

}  // namespace

std::string EncodePayload(const Payload& payload) {
  std::string out;
  out.reserve(static_cast<size_t>(EncodedPayloadBytes(payload)));
  for (const auto& [key, value] : payload) {
    AppendText(out, key);
    AppendNumber(out, static_cast<uint8_t>(value.index()));
    if (const auto* text = std::get_if<std::string>(&value)) {
      AppendText(out, *text);
    } else if (const auto* integer = std::get_if<int64_t>(&value)) {
      AppendNumber(out, *integer);
    } else if (const auto* number = std::get_if<double>(&value)) {
      AppendNumber(out, *number);
    } else {
      AppendNumber(out, static_cast<uint8_t>(std::get<bool>(value)));
    }
  }
  return out;
}

int64_t EncodedPayloadBytes(const Payload& payload) {
  int64_t bytes = 0;
  for (const auto& [key, value] : payload) {
    const auto* text = std::get_if<std::string>(&value);
    const size_t value_bytes = text != nullptr                       ? 4 + text->size()
                               : std::holds_alternative<bool>(value) ? 1
                                                                     : 8;
    bytes += static_cast<int64_t>(4 + key.size() + 1 + value_bytes);
  }
  return bytes;
}

absl::StatusOr<Payload> DecodePayload(std::string_view bytes) {
  Payload payload;
  ByteReader reader(bytes);
  while (!reader.at_end()) {
    std::optional<std::string> key = reader.TakeText();
    std::optional<PayloadValue> value;
    if (key.has_value()) value = TakeValue(reader);
    if (!value.has_value()) return absl::DataLossError("stored payload is damaged");
    payload.insert_or_assign(payload.end(), std::move(*key), std::move(*value));
  }
  return payload;
}

}  // namespace baton
