#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace baton {

static_assert(std::endian::native == std::endian::little, "stored numbers are little-endian");

// Appends a number as it lies in memory.
template <class T>
void AppendNumber(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

template <class T>
void AppendNumbers(std::string& out, const std::vector<T>& values) {
  out.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// u32 bytes, then the bytes. The text is shorter than 4 GiB.
inline void AppendText(std::string& out, std::string_view text) {
  AppendNumber(out, static_cast<uint32_t>(text.size()));
  out.append(text);
}

// Takes what those two appended off the front; nothing where too few bytes are left.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}
  bool at_end() const { return bytes_.empty(); }

  template <class T>
  std::optional<T> Take() {
    if (bytes_.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_.remove_prefix(sizeof(T));
    return value;
  }

  template <class T>
  std::optional<std::vector<T>> TakeMany(size_t count) {
    if (count > bytes_.size() / sizeof(T)) return std::nullopt;
    std::vector<T> values(count);
    if (count > 0) std::memcpy(values.data(), bytes_.data(), count * sizeof(T));
    bytes_.remove_prefix(count * sizeof(T));
    return values;
  }

  std::optional<std::string> TakeText() {
    const std::optional<uint32_t> size = Take<uint32_t>();
    if (!size.has_value() || bytes_.size() < *size) return std::nullopt;
    std::string text(bytes_.substr(0, *size));
    bytes_.remove_prefix(*size);
    return text;
  }

 private:
  std::string_view bytes_;
};

}  // namespace baton
