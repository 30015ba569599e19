#include "engine/rag/sentences.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

namespace baton {
namespace {

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsLetter(char c) { return IsLower(c) || IsUpper(c); }

TextRange Trim(std::string_view text, TextRange range) {
  while (range.begin < range.end && IsSpace(text[range.begin])) ++range.begin;
  while (range.begin < range.end && IsSpace(text[range.end - 1])) --range.end;
  return range;
}

enum class LineKind { kBlank, kHeading, kItem, kRow, kProse };

// `line` has no white space around it.
LineKind KindOf(std::string_view line) {
  if (line.empty()) return LineKind::kBlank;
  if (line[0] == '|') return LineKind::kRow;
  if (line[0] == '#') {
    const size_t level = std::min(line.find_first_not_of('#'), line.size());
    const bool spaced = level == line.size() || IsSpace(line[level]);
    return level <= 6 && spaced ? LineKind::kHeading : LineKind::kProse;
  }
  size_t marker = 0;
  if (line[0] == '-' || line[0] == '*' || line[0] == '+') {
    marker = 1;
  } else {
    // More digits than a list's number has are a year or an amount.
    while (marker < 3 && marker < line.size() && IsDigit(line[marker])) ++marker;
    if (marker == 0 || marker == line.size() || (line[marker] != '.' && line[marker] != ')')) {
      return LineKind::kProse;
    }
    ++marker;
  }
  return marker < line.size() && IsSpace(line[marker]) ? LineKind::kItem : LineKind::kProse;
}

// Words that end in a full stop without ending a sentence, sorted.
constexpr std::array<std::string_view, 42> kAbbreviations = {
    "Apr", "Aug", "Ave",  "Bros", "Capt", "Co",  "Col",  "Dec",  "Dr",  "Feb", "Gen",
    "Gov", "Hon", "Inc",  "Jan",  "Jr",   "Jul", "Jun",  "Lt",   "Ltd", "Mr",  "Mrs",
    "Ms",  "Mt",  "Nov",  "Oct",  "Prof", "Rev", "Sept", "Sgt",  "Sr",  "St",  "al",
    "ca",  "cf",  "dept", "e.g",  "eds",  "est", "i.e",  "incl", "vs"};
static_assert(std::is_sorted(kAbbreviations.begin(), kAbbreviations.end()));
// Those that do so only before a number, sorted.
constexpr std::array<std::string_view, 19> kNumberAbbreviations = {
    "Art", "Ch", "Eq", "Fig", "Figs", "No",  "Nos", "Sec", "Vol", "approx",
    "art", "ch", "eq", "fig", "no",   "nos", "p",   "pp",  "vol"};
static_assert(std::is_sorted(kNumberAbbreviations.begin(), kNumberAbbreviations.end()));
constexpr size_t kAbbreviationBytesMax = 6;

// Whether the full stop at text[stop] belongs to the word before it, where `next` is the first
// character of the word after it.
bool StopBelongsToWord(std::string_view text, size_t block_begin, size_t stop, char next) {
  size_t begin = stop;
  while (begin > block_begin && stop - begin <= kAbbreviationBytesMax &&
         (IsLetter(text[begin - 1]) || text[begin - 1] == '.')) {
    --begin;
  }
  // The word may go on to the left: in digits or letters of another script.
  if (begin > block_begin && (IsDigit(text[begin - 1]) || (text[begin - 1] & 0x80) != 0)) {
    return false;
  }
  const std::string_view word = text.substr(begin, stop - begin);
  if (word.empty() || word.size() > kAbbreviationBytesMax) return false;
  // Initials: "J." and "J.R."
  bool initials = true;
  for (size_t i = 0; i < word.size(); ++i) {
    initials = initials && (i % 2 == 0 ? IsUpper(word[i]) : word[i] == '.');
  }
  if (initials && word != "I") return true;
  if (IsDigit(next) &&
      std::binary_search(kNumberAbbreviations.begin(), kNumberAbbreviations.end(), word)) {
    return true;
  }
  return std::binary_search(kAbbreviations.begin(), kAbbreviations.end(), word);
}

bool StartsWithAny(std::string_view text, std::initializer_list<std::string_view> prefixes,
                   size_t* bytes) {
  for (std::string_view prefix : prefixes) {
    if (text.starts_with(prefix)) {
      *bytes = prefix.size();
      return true;
    }
  }
  return false;
}

// Where the sentence that has a terminator at text[at] ends, past the closing quotes and brackets;
// 0 where it goes on. *next is where to look on.
size_t SentenceEnd(std::string_view text, TextRange block, size_t at, size_t* next) {
  const size_t end = static_cast<size_t>(block.end);
  const std::string_view body = text.substr(0, end);
  size_t bytes = 0;
  size_t i = at;
  bool full_width = false;
  while (i < end) {
    if (body[i] == '.' || body[i] == '!' || body[i] == '?') {
      ++i;
    } else if (StartsWithAny(body.substr(i), {"\u3002", "\uff01", "\uff1f"}, &bytes)) {
      full_width = true;
      i += bytes;
    } else {
      break;
    }
  }
  const bool single_stop = i == at + 1 && body[at] == '.';
  while (i < end &&
         StartsWithAny(body.substr(i),
                       {"\"", "'", ")", "]", "\u201d", "\u2019", "\u00bb", "\u300d"}, &bytes)) {
    i += bytes;
  }
  *next = i;
  if (i == end || full_width) return i;
  if (!IsSpace(body[i])) return 0;
  while (i < end && IsSpace(body[i])) ++i;
  const size_t sentence_end = *next;
  *next = i;
  if (IsLower(body[i])) return 0;
  const bool of_word =
      single_stop && StopBelongsToWord(text, static_cast<size_t>(block.begin), at, body[i]);
  return of_word ? 0 : sentence_end;
}

class Splitter {
 public:
  explicit Splitter(std::string_view text) : text_(text) {}

  std::vector<Sentence> Split() {
    size_t at = 0;
    while (at < text_.size()) {
      const size_t line_end = std::min(text_.find_first_of("\r\n", at), text_.size());
      TakeLine(Trim(text_, {static_cast<int64_t>(at), static_cast<int64_t>(line_end)}));
      at = line_end + 1;
      if (line_end < text_.size() && text_.substr(line_end).starts_with("\r\n")) ++at;
    }
    FlushBlock();
    return std::move(sentences_);
  }

 private:
  // Lines of prose, and those after a list item's first, gather into a block that is then cut into
  // sentences; other lines stand alone.
  void TakeLine(TextRange line) {
    const LineKind kind = KindOf(Slice(text_, line));
    if (kind != LineKind::kProse) FlushBlock();
    switch (kind) {
      case LineKind::kBlank:
        paragraph_start_ = true;
        break;
      case LineKind::kHeading:
        paragraph_start_ = true;
        Add(line, /*heading=*/true);
        paragraph_start_ = true;
        break;
      case LineKind::kRow:
        Add(line, /*heading=*/false);
        break;
      case LineKind::kItem:
        block_ = line;
        // The stop of "1." ends no sentence.
        scan_from_ = line.begin;
        while (!IsSpace(text_[scan_from_])) ++scan_from_;
        break;
      case LineKind::kProse:
        if (block_.begin == block_.end) {
          block_.begin = line.begin;
          scan_from_ = line.begin;
        }
        block_.end = line.end;
        break;
    }
  }

  void FlushBlock() {
    size_t begin = static_cast<size_t>(block_.begin);
    size_t at = static_cast<size_t>(scan_from_);
    const size_t block_end = static_cast<size_t>(block_.end);
    while (begin < block_end) {
      const size_t stop = NextTerminator(at, block_end);
      size_t end = block_end;
      if (stop < block_end) {
        size_t next = stop + 1;
        end = SentenceEnd(text_, block_, stop, &next);
        at = next;
        if (end == 0) continue;
      }
      Add(Trim(text_, {static_cast<int64_t>(begin), static_cast<int64_t>(end)}),
          /*heading=*/false);
      begin = end;
      at = std::max(at, end);
    }
    block_ = {};
  }

  size_t NextTerminator(size_t at, size_t end) const {
    size_t bytes = 0;
    for (; at < end; ++at) {
      const char c = text_[at];
      if (c == '.' || c == '!' || c == '?') return at;
      if ((c & 0x80) != 0 &&
          StartsWithAny(text_.substr(at, end - at), {"\u3002", "\uff01", "\uff1f"}, &bytes)) {
        return at;
      }
    }
    return end;
  }

  void Add(TextRange range, bool heading) {
    if (range.begin == range.end) return;
    sentences_.push_back({.range = range, .paragraph_start = paragraph_start_, .heading = heading});
    paragraph_start_ = false;
  }

  const std::string_view text_;
  std::vector<Sentence> sentences_;
  TextRange block_;
  int64_t scan_from_ = 0;  // terminators of the block before this byte are none
  bool paragraph_start_ = true;
};

}  // namespace

std::vector<Sentence> SplitSentences(std::string_view text) { return Splitter(text).Split(); }

}  // namespace baton
