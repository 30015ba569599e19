#include "engine/rag/answer.h"

#include <algorithm>
#include <charconv>

namespace baton {

AnswerMarks ReadAnswer(std::string_view text, int32_t passages) {
  AnswerMarks marks;
  const size_t begin = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  marks.refuses = text.substr(begin).starts_with(kRefusal.substr(0, kRefusal.size() - 1));
  for (size_t at = text.find('['); at != text.npos; at = text.find('[', at + 1)) {
    int32_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [next, error] = std::from_chars(text.data() + at + 1, end, number);
    if (error != std::errc() || next == end || *next != ']') continue;
    if (number >= 1 && number <= passages) marks.cited.push_back(number);
  }
  std::sort(marks.cited.begin(), marks.cited.end());
  marks.cited.erase(std::unique(marks.cited.begin(), marks.cited.end()), marks.cited.end());
  return marks;
}

}  // namespace baton
