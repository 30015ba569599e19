#include "engine/model/grammar/utf8_ranges.h"

#include <string>

#include "engine/model/utf8.h"

namespace baton {

void AppendUtf8Ranges(CodePointRange range, std::vector<Utf8Range>& out) {
  // At code points where the number of bytes changes.
  for (const char32_t last : {char32_t{0x7F}, char32_t{0x7FF}, char32_t{0xFFFF}}) {
    if (range.first <= last && range.last > last) {
      AppendUtf8Ranges({range.first, last}, out);
      AppendUtf8Ranges({last + 1, range.last}, out);
      return;
    }
  }
  // Where the last `bits` bits, those of the last bytes, do not run over all their values.
  if (range.last > 0x7F) {
    for (int bits = 6; bits <= 18; bits += 6) {
      const char32_t mask = (char32_t{1} << bits) - 1;
      if ((range.first & ~mask) == (range.last & ~mask)) {
        break;  // they differ in these bits only
      }
      if ((range.first & mask) != 0) {
        AppendUtf8Ranges({range.first, range.first | mask}, out);
        AppendUtf8Ranges({(range.first | mask) + 1, range.last}, out);
        return;
      }
      if ((range.last & mask) != mask) {
        AppendUtf8Ranges({range.first, (range.last & ~mask) - 1}, out);
        AppendUtf8Ranges({range.last & ~mask, range.last}, out);
        return;
      }
    }
  }
  std::string low;
  std::string high;
  AppendUtf8(range.first, low);
  AppendUtf8(range.last, high);
  Utf8Range& bytes = out.emplace_back();
  bytes.bytes = static_cast<int32_t>(low.size());
  for (size_t i = 0; i < low.size(); ++i) {
    bytes.low[i] = static_cast<uint8_t>(low[i]);
    bytes.high[i] = static_cast<uint8_t>(high[i]);
  }
}

}  // namespace baton
