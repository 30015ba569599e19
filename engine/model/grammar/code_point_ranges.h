#pragma once

#include <vector>

namespace baton {

// Code points from `first` to `last`, both included.
struct CodePointRange {
  char32_t first;
  char32_t last;
};
using CodePointRanges = std::vector<CodePointRange>;

inline constexpr char32_t kCodePointMax = 0x10FFFF;
inline constexpr char32_t kSurrogateFirst = 0xD800;
inline constexpr char32_t kSurrogateLast = 0xDFFF;

inline bool IsSurrogate(char32_t code_point) {
  return code_point >= kSurrogateFirst && code_point <= kSurrogateLast;
}

// The same code points, sorted, in ranges that neither overlap nor touch.
CodePointRanges MergedRanges(CodePointRanges ranges);

// All other code points up to kCodePointMax, sorted; surrogates are among them.
CodePointRanges Complement(CodePointRanges ranges);

// `ranges` but for surrogates, which no UTF-8 has.
CodePointRanges WithoutSurrogates(const CodePointRanges& ranges);

}  // namespace baton
