#include "engine/vector/payload_codec.h"

#include <cstdint>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "engine/vector/byte_codec.h"

namespace baton {
namespace {

// `take` yields the next value, or nothing where there is none.
template <class T, class Take>
std::optional<PayloadValue> TakeList(ByteReader& reader, Take take) {
  const std::optional<uint32_t> count = reader.Take<uint32_t>();
  if (!count.has_value()) return std::nullopt;
  std::vector<T> list;  // grows with what is really there
  for (uint32_t i = 0; i < *count; ++i) {
    std::optional<T> value = take();
    if (!value.has_value()) return std::nullopt;
    list.push_back(std::move(*value));
  }
  return PayloadValue(std::move(list));
}

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
    case 4:
      return TakeList<std::string>(reader, [&reader] { return reader.TakeText(); });
    case 5:
      return TakeList<int64_t>(reader, [&reader] { return reader.Take<int64_t>(); });
  }
  return std::nullopt;
}

static_assert(
    std::is_same_v<PayloadValue, std::variant<std::string, int64_t, double, bool,
                                              std::vector<std::string>, std::vector<int64_t>>>,
    "the kinds above are the indices of this variant");

// What is behind the kind.
struct ValueBytes {
  int64_t operator()(const std::string& text) const { return 4 + std::ssize(text); }
  int64_t operator()(int64_t) const { return 8; }
  int64_t operator()(double) const { return 8; }
  int64_t operator()(bool) const { return 1; }
  int64_t operator()(const std::vector<std::string>& texts) const {
    int64_t bytes = 4;
    for (const std::string& text : texts) bytes += (*this)(text);
    return bytes;
  }
  int64_t operator()(const std::vector<int64_t>& integers) const {
    return 4 + 8 * std::ssize(integers);
  }
};

struct ValueWriter {
  std::string& out;

  void operator()(const std::string& text) { AppendText(out, text); }
  void operator()(int64_t integer) { AppendNumber(out, integer); }
  void operator()(double number) { AppendNumber(out, number); }
  void operator()(bool boolean) { AppendNumber(out, static_cast<uint8_t>(boolean)); }
  template <class T>
  void operator()(const std::vector<T>& list) {
    AppendNumber(out, static_cast<uint32_t>(list.size()));
    for (const T& value : list) (*this)(value);
  }
};

}  // namespace

std::string EncodePayload(const Payload& payload) {
  std::string out;
  out.reserve(static_cast<size_t>(EncodedPayloadBytes(payload)));
  for (const auto& [key, value] : payload) {
    AppendText(out, key);
    AppendNumber(out, static_cast<uint8_t>(value.index()));
    std::visit(ValueWriter{out}, value);
  }
  return out;
}

int64_t EncodedPayloadBytes(const Payload& payload) {
  int64_t bytes = 0;
  for (const auto& [key, value] : payload) {
    bytes += 4 + std::ssize(key) + 1 + std::visit(ValueBytes(), value);
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
