#include "engine/model/utf8.h"

#include <cstdint>

namespace baton {
namespace {

// What a lead byte promises: the character's bytes and the range of its second byte.
struct Lead {
  size_t bytes = 0;  // 0: not a lead byte
  uint8_t second_min = 0x80;
  uint8_t second_max = 0xBF;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) {
    return {.bytes = 1};
  }
  if (byte < 0xC2) {
    return {};
  }
  if (byte < 0xE0) {
    return {.bytes = 2};
  }
  if (byte < 0xF0) {
    return {.bytes = 3,
            .second_min = static_cast<uint8_t>(byte == 0xE0 ? 0xA0 : 0x80),
            .second_max = static_cast<uint8_t>(byte == 0xED ? 0x9F : 0xBF)};
  }
  if (byte < 0xF5) {
    return {.bytes = 4,
            .second_min = static_cast<uint8_t>(byte == 0xF0 ? 0x90 : 0x80),
            .second_max = static_cast<uint8_t>(byte == 0xF4 ? 0x8F : 0xBF)};
  }
  return {};
}

// How many of the first bytes of `text` are as `lead` promises, at most lead.bytes.
size_t GoodBytes(const Lead& lead, std::string_view text) {
  size_t good = 1;
  while (good < lead.bytes && good < text.size()) {
    const auto byte = static_cast<uint8_t>(text[good]);
    const uint8_t low = good == 1 ? lead.second_min : 0x80;
    const uint8_t high = good == 1 ? lead.second_max : 0xBF;
    if (byte < low || byte > high) {
      break;
    }
    ++good;
  }
  return good;
}

}  // namespace

size_t Utf8CharBytes(std::string_view text) {
  if (text.empty()) {
    return 0;
  }
  const Lead lead = LeadOf(static_cast<uint8_t>(text[0]));
  return lead.bytes != 0 && GoodBytes(lead, text) == lead.bytes ? lead.bytes : 0;
}

bool IsUtf8Prefix(std::string_view text) {
  const Lead lead = LeadOf(static_cast<uint8_t>(text[0]));
  return text.size() < lead.bytes && GoodBytes(lead, text) == text.size();
}

void AppendUtf8(char32_t code_point, std::string& out) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

char32_t DecodeUtf8(std::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(character[i]); };
  switch (character.size()) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
    case 3:
      return (byte(0) & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    default:
      return (byte(0) & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 |
             (byte(3) & 0x3Fu);
  }
}

}  // namespace baton
