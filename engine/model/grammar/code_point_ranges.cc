#include "engine/model/grammar/code_point_ranges.h"

#include <algorithm>
#include <utility>

namespace baton {

CodePointRanges MergedRanges(CodePointRanges ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const CodePointRange& a, const CodePointRange& b) { return a.first < b.first; });
  CodePointRanges merged;
  for (const CodePointRange& range : ranges) {
    if (!merged.empty() && range.first <= merged.back().last + 1) {
      merged.back().last = std::max(merged.back().last, range.last);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

CodePointRanges Complement(CodePointRanges ranges) {
  CodePointRanges complement;
  char32_t next = 0;
  for (const CodePointRange& range : MergedRanges(std::move(ranges))) {
    if (range.first > next) {
      complement.push_back({next, range.first - 1});
    }
    next = range.last + 1;
  }
  if (next <= kCodePointMax) {
    complement.push_back({next, kCodePointMax});
  }
  return complement;
}

CodePointRanges WithoutSurrogates(const CodePointRanges& ranges) {
  CodePointRanges result;
  for (const CodePointRange& range : ranges) {
    if (range.first < kSurrogateFirst) {
      result.push_back({range.first, std::min<char32_t>(range.last, kSurrogateFirst - 1)});
    }
    if (range.last > kSurrogateLast) {
      result.push_back({std::max<char32_t>(range.first, kSurrogateLast + 1), range.last});
    }
  }
  return result;
}

}  // namespace baton
