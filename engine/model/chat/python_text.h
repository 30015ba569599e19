#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/chat/marked_text.h"

// What Python's str does, on UTF-8: positions and lengths count characters, white space and case
// are Unicode's. Bytes that are no UTF-8 count as one character each.
namespace baton::chat {

// Bytes of the first character of `text`, at least 1; `text` is not empty.
size_t CharacterBytes(std::string_view text);
int64_t CharacterCount(std::string_view text);
// Where each character starts, and the end.
std::vector<size_t> CharacterStarts(std::string_view text);
bool IsSpaceCharacter(std::string_view character);

enum class Side : uint8_t { kLeft, kRight, kBoth };
// What is left between the white space, or between characters that are in `characters`.
MarkedText::Range Stripped(std::string_view text, Side side,
                           std::optional<std::string_view> characters);

enum class LetterCase : uint8_t {
  kUpper,
  kLower,
  kTitle,        // str.title(): the first letter after each non-letter is upper
  kJinjaTitle,   // the filter: after white space, '-' and opening brackets
  kCapitalized,  // the first character is upper, the others lower
};
MarkedText WithCase(const MarkedText& text, LetterCase wanted);
bool IsAllDigits(std::string_view text);  // and not empty

// Where `wanted` first stands at or behind `from`; npos: nowhere. Linear, whatever the texts are.
size_t FindText(std::string_view text, std::string_view wanted, size_t from);
// Where it last stands.
size_t FindLastText(std::string_view text, std::string_view wanted);

// The parts of `text`, by white space or by `separator`, which is not empty. At most `splits_max`
// cuts are made, from the left or the right; negative: any number.
struct SplitBy {
  std::optional<std::string_view> separator;
  int64_t splits_max = -1;
  bool from_right = false;
};
std::vector<MarkedText::Range> SplitText(std::string_view text, const SplitBy& by);
std::vector<MarkedText::Range> SplitLines(std::string_view text, bool keep_ends);

// As repr() of a float: the shortest text that reads back as the same number.
std::string FloatText(double value);

}  // namespace baton::chat
