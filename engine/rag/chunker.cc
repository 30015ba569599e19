#include "engine/rag/chunker.h"

#include <algorithm>
#include <utility>

#include "engine/base/strings.h"
#include "engine/model/utf8.h"

namespace baton {
namespace {

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Bytes of the character at text[at]; an invalid byte counts as one.
int64_t CharBytes(std::string_view text, int64_t at) {
  const size_t bytes = Utf8CharBytes(text.substr(static_cast<size_t>(at)));
  return static_cast<int64_t>(std::max<size_t>(bytes, 1));
}

// Walks at most `chars_max` characters from range.begin; returns how many there were.
int64_t CountChars(std::string_view text, TextRange range, int64_t chars_max) {
  int64_t chars = 0;
  int64_t at = range.begin;
  while (at < range.end && chars < chars_max) {
    at += CharBytes(text, at);
    ++chars;
  }
  return chars;
}

// Where to cut `range` so that the part before has at most `chars_max` characters: at the last
// white space, failing that between characters.
int64_t CutPoint(std::string_view text, TextRange range, int64_t chars_max) {
  int64_t at = range.begin;
  int64_t space = range.begin;
  for (int64_t chars = 0; at < range.end; ++chars) {
    if (IsSpace(text[at])) space = at;
    if (chars == chars_max) break;
    at += CharBytes(text, at);
  }
  return space > range.begin ? space : at;
}

class Chunker {
 public:
  Chunker(std::string_view text, const ChunkOptions& options)
      : text_(text),
        chars_max_(options.passage_chars_max),
        overlap_chars_(options.passage_overlap_chars),
        sentences_(SplitSentences(text)) {}

  std::vector<Chunk> Split() {
    while (next_ < sentences_.size()) {
      const Sentence& sentence = sentences_[next_];
      if (passage_.empty()) BeginWithOverlap(sentence);
      if (EndsBefore(sentence)) {
        EndPassage();
      } else if (Fits(sentence.range)) {
        Append(sentence);
        ++next_;
      } else if (only_headings_) {
        AppendPartOf(next_);
      } else {
        EndPassage();
      }
    }
    EndPassage();
    return std::move(chunks_);
  }

 private:
  // Characters of the passage with everything up to `end` added, at most chars_max_ + 1.
  int64_t CharsUpTo(int64_t end) const {
    return passage_chars_ + CountChars(text_, {passage_end_, end}, chars_max_ + 1 - passage_chars_);
  }
  bool Fits(TextRange range) const {
    return passage_.empty() ? CountChars(text_, range, chars_max_ + 1) <= chars_max_
                            : CharsUpTo(range.end) <= chars_max_;
  }
  void Append(const Sentence& sentence) {
    passage_chars_ = passage_.empty() ? CountChars(text_, sentence.range, chars_max_)
                                      : CharsUpTo(sentence.range.end);
    passage_end_ = sentence.range.end;
    only_headings_ = only_headings_ && sentence.heading;
    passage_.push_back(sentence);
  }

  // Whether the passage, though not full, should end before `sentence`: a new section once there is
  // some text, a new paragraph that would be torn once the passage is half full.
  bool EndsBefore(const Sentence& sentence) const {
    if (!sentence.paragraph_start || only_headings_) return false;
    if (sentence.heading) return passage_chars_ >= chars_max_ / 4;
    if (passage_chars_ < chars_max_ / 2) return false;
    // A paragraph of more bytes than this fits in no passage.
    const int64_t end_max = passage_end_ + 4 * chars_max_;
    size_t last = next_;
    while (last + 1 < sentences_.size() && !sentences_[last + 1].paragraph_start &&
           sentences_[last].range.end < end_max) {
      ++last;
    }
    return !Fits(sentences_[last].range);
  }

  // Nothing but headings stands in the passage, and the next sentence is too long to follow: as
  // much of it as there is room for follows, or the headings stand alone where that would be a
  // crumb.
  void AppendPartOf(size_t index) {
    Sentence& sentence = sentences_[index];
    const int64_t used = passage_.empty() ? 0 : CharsUpTo(sentence.range.begin);
    if (used > chars_max_ / 2) return EndPassage();
    Sentence part = sentence;
    part.range.end = CutPoint(text_, sentence.range, chars_max_ - used);
    sentence.range.begin = part.range.end;
    while (IsSpace(text_[sentence.range.begin])) ++sentence.range.begin;
    sentence.paragraph_start = false;
    sentence.heading = false;
    while (IsSpace(text_[part.range.end - 1])) --part.range.end;
    Append(part);
    EndPassage();
  }

  // Starts a passage within a paragraph with the last sentences of the one before, as far as `next`
  // fits behind them.
  void BeginWithOverlap(const Sentence& next) {
    if (next.paragraph_start || last_passage_.empty()) return;
    int64_t end = last_passage_.back().range.end;
    int64_t room = chars_max_ - CountChars(text_, {end, next.range.end}, chars_max_);
    room = std::min(room, overlap_chars_);
    size_t first = last_passage_.size();
    while (first > 0 && !last_passage_[first - 1].heading) {
      const TextRange added = {last_passage_[first - 1].range.begin, end};
      const int64_t chars = CountChars(text_, added, room + 1);
      if (chars > room) break;
      room -= chars;
      end = added.begin;
      --first;
    }
    for (size_t i = first; i < last_passage_.size(); ++i) Append(last_passage_[i]);
  }

  void EndPassage() {
    if (passage_.empty()) return;
    // Headings at the end go with what follows them.
    size_t kept = passage_.size();
    if (next_ < sentences_.size() && !only_headings_) {
      while (passage_[kept - 1].heading) --kept;
    }
    next_ -= passage_.size() - kept;
    passage_.resize(kept);
    chunks_.push_back({passage_.front().range.begin, passage_.back().range.end});
    last_passage_.swap(passage_);
    passage_.clear();
    passage_chars_ = 0;
    only_headings_ = true;
  }

  const std::string_view text_;
  const int64_t chars_max_;
  const int64_t overlap_chars_;
  std::vector<Sentence> sentences_;
  size_t next_ = 0;  // the first sentence that no passage holds yet
  std::vector<Sentence> passage_;
  int64_t passage_chars_ = 0;
  int64_t passage_end_ = 0;
  bool only_headings_ = true;  // nothing but headings stands in passage_
  std::vector<Sentence> last_passage_;
  std::vector<Chunk> chunks_;
};

}  // namespace

absl::Status ValidateChunkOptions(const ChunkOptions& options) {
  if (options.passage_chars_max < 64 || options.passage_chars_max > 8192) {
    return absl::InvalidArgumentError(
        StrCat("passage_chars_max must be 64 to 8192, got ", options.passage_chars_max));
  }
  if (options.passage_overlap_chars < 0 ||
      options.passage_overlap_chars >= (options.passage_chars_max + 1) / 2) {
    return absl::InvalidArgumentError(
        StrCat("passage_overlap_chars must be at least 0 and less than half of passage_chars_max (",
               options.passage_chars_max, "), got ", options.passage_overlap_chars));
  }
  return absl::OkStatus();
}

std::vector<Chunk> SplitPassages(std::string_view text, const ChunkOptions& options) {
  return Chunker(text, options).Split();
}

}  // namespace baton
