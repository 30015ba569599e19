#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace baton {

// Bytes of the well-formed UTF-8 character that `text` starts with (Unicode table 3-7: no overlong
// forms, no surrogates, nothing above U+10FFFF); 0: it starts with none.
size_t Utf8CharBytes(std::string_view text);

// Whether `text`, which is not empty and not a whole character, could become one with more bytes.
bool IsUtf8Prefix(std::string_view text);

// Code point as UTF-8.
void AppendUtf8(char32_t code_point, std::string& out);

// The code point of the well-formed character `character`.
char32_t DecodeUtf8(std::string_view character);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace baton
