#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace baton {

// Part of a text, in bytes: [begin, end).
struct TextRange {
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const TextRange&) const = default;
};

// The text under `range`.
inline std::string_view Slice(std::string_view text, TextRange range) {
  return text.substr(static_cast<size_t>(range.begin),
                     static_cast<size_t>(range.end - range.begin));
}

// A sentence, or a line that stands for one: a heading, a list item.
struct Sentence {
  TextRange range;               // without white space around it; never empty
  bool paragraph_start = false;  // a blank line, or the text's begin, precedes it
  bool heading = false;          // a markdown heading: belongs to what follows
};

// The sentences of `text` in order. They cover every byte that is not white space, and begin and
// end between characters. Sentences end at . ! ? (and their full-width forms), at blank lines and
// at line ends around headings, list items and table rows; not after abbreviations ("Dr."),
// initials ("J. R.") or within numbers ("3.5"). Linear in the text's length; any bytes are
// accepted.
std::vector<Sentence> SplitSentences(std::string_view text);

}  // namespace baton
