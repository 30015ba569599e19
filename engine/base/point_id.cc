#include "engine/base/point_id.h"

#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kDigits = 32;
constexpr std::string_view kUrn = "urn:uuid:";

// Digits before each hyphen: 8-4-4-4-12.
constexpr bool HyphenBefore(size_t digit) {
  return digit == 8 || digit == 12 || digit == 16 || digit == 20;
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

std::string IdText(PointId id) {
  if (!IsUuid(id)) return StrCat(LowerHalf(id));
  std::string text;
  for (size_t digit = 0; digit < kDigits; ++digit) {
    if (HyphenBefore(digit)) text += '-';
    const uint64_t half = digit < 16 ? UpperHalf(id) : LowerHalf(id);
    text += "0123456789abcdef"[half >> (60 - digit % 16 * 4) & 15];
  }
  return text;
}

std::optional<PointId> ParseUuid(std::string_view text) {
  if (text.size() > kUrn.size()) {
    bool urn = true;
    for (size_t i = 0; i < kUrn.size(); ++i) urn = urn && Lower(text[i]) == kUrn[i];
    if (urn) text.remove_prefix(kUrn.size());
  }
  const bool hyphens = text.size() == kDigits + 4;
  if (!hyphens && text.size() != kDigits) return std::nullopt;
  uint64_t halves[2] = {};
  size_t at = 0;
  for (size_t digit = 0; digit < kDigits; ++digit) {
    if (hyphens && HyphenBefore(digit) && text[at++] != '-') return std::nullopt;
    const char c = Lower(text[at++]);
    const bool decimal = c >= '0' && c <= '9';
    if (!decimal && !(c >= 'a' && c <= 'f')) return std::nullopt;
    uint64_t& half = halves[digit / 16];
    half = half << 4 | static_cast<uint64_t>(decimal ? c - '0' : c - 'a' + 10);
  }
  if (halves[0] == 0) return std::nullopt;
  return MakePointId(halves[0], halves[1]);
}

}  // namespace baton
