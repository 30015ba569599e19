#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/grammar/code_point_ranges.h"

namespace baton {

// The UTF-8 forms of some code points: byte i is any from low[i] to high[i].
struct Utf8Range {
  int32_t bytes;
  uint8_t low[4];
  uint8_t high[4];
};

// Disjoint ranges of byte sequences that are together the UTF-8 of exactly the code points of
// `range`, which holds no surrogates: split until all but the last of the bytes that differ cover
// all their values (Thompson's method, as in the lexers of RE2 and its kin).
void AppendUtf8Ranges(CodePointRange range, std::vector<Utf8Range>& out);

}  // namespace baton
