#include "engine/model/bert_words.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "engine/base/check.h"
#include "engine/model/utf8.h"
#include "utf8proc.h"

namespace baton {
namespace {

// The longest canonical decomposition is of 4 characters (U+1F82 and its like).
constexpr size_t kDecompositionMax = 4;

// The blocks of CJK ideographs, but not of kana and hangul, whose words have spaces or are pieces.
bool IsIdeograph(char32_t c) {
  constexpr std::pair<char32_t, char32_t> kBlocks[] = {
      {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
      {0x2B740, 0x2B81F}, {0x2B820, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F},
  };
  return std::any_of(std::begin(kBlocks), std::end(kBlocks),
                     [c](const auto& block) { return c >= block.first && c <= block.second; });
}

struct Character {
  char32_t code_point = 0;
  utf8proc_category_t category = UTF8PROC_CATEGORY_CN;
  int combining_class = 0;  // 0: a starter, which ends a run of marks
};

Character CharacterOf(char32_t code_point) {
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<int32_t>(code_point));
  return {.code_point = code_point,
          .category = static_cast<utf8proc_category_t>(property->category),
          .combining_class = property->combining_class};
}

bool IsDropped(const Character& c) {
  switch (c.category) {
    case UTF8PROC_CATEGORY_CC:
      return c.code_point != '\t' && c.code_point != '\n' && c.code_point != '\r';
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS:
      return true;
    default:
      return c.code_point == 0xFFFD;
  }
}

// Those control characters that are not dropped are white space.
bool IsSpace(const Character& c) {
  return c.category == UTF8PROC_CATEGORY_CC || c.category == UTF8PROC_CATEGORY_ZS ||
         c.category == UTF8PROC_CATEGORY_ZL || c.category == UTF8PROC_CATEGORY_ZP;
}

bool StandsAlone(const Character& c) {
  if (c.code_point < 0x80) {
    return (c.code_point >= '!' && c.code_point <= '/') ||
           (c.code_point >= ':' && c.code_point <= '@') ||
           (c.code_point >= '[' && c.code_point <= '`') ||
           (c.code_point >= '{' && c.code_point <= '~');
  }
  return (c.category >= UTF8PROC_CATEGORY_PC && c.category <= UTF8PROC_CATEGORY_PO) ||
         IsIdeograph(c.code_point);
}

class WordSplitter {
 public:
  explicit WordSplitter(const BertNormalisation& how) : how_(how) {}

  void Add(char32_t code_point) {
    const Character c = CharacterOf(code_point);
    if (IsDropped(c)) {
      return;
    }
    if (!how_.strip_accents || code_point < 0x80) {
      return AddDecomposed(c);
    }
    std::array<utf8proc_int32_t, kDecompositionMax> parts;
    int boundary_state = UTF8PROC_BOUNDCLASS_START;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(static_cast<int32_t>(code_point), parts.data(), parts.size(),
                                UTF8PROC_DECOMPOSE, &boundary_state);
    BATON_CHECK(count >= 0 && static_cast<size_t>(count) <= parts.size());
    for (utf8proc_ssize_t i = 0; i < count; ++i) {
      AddDecomposed(CharacterOf(static_cast<char32_t>(parts[static_cast<size_t>(i)])));
    }
  }

  std::vector<std::string> Finish() {
    EndMarks();
    EndWord();
    return std::move(words_);
  }

 private:
  // Marks are held back until the next starter, which shows their canonical order.
  void AddDecomposed(const Character& c) {
    if (c.combining_class != 0 && how_.strip_accents) {
      marks_.push_back(c);
      return;
    }
    EndMarks();
    AddOrdered(c);
  }

  void EndMarks() {
    if (marks_.empty()) {
      return;
    }
    // By class, and equal ones in the order they came in.
    std::vector<std::pair<int, size_t>> order;
    for (size_t i = 0; i < marks_.size(); ++i) {
      order.emplace_back(marks_[i].combining_class, i);
    }
    std::sort(order.begin(), order.end());
    for (const auto& [combining_class, i] : order) {
      AddOrdered(marks_[i]);
    }
    marks_.clear();
  }

  void AddOrdered(const Character& c) {
    if (how_.strip_accents && c.category == UTF8PROC_CATEGORY_MN) {
      return;
    }
    if (IsSpace(c)) {
      return EndWord();
    }
    const char32_t code_point =
        how_.lowercase ? static_cast<char32_t>(utf8proc_tolower(static_cast<int32_t>(c.code_point)))
                       : c.code_point;
    if (StandsAlone(c)) {
      EndWord();
      AppendUtf8(code_point, word_);
      return EndWord();
    }
    AppendUtf8(code_point, word_);
  }

  void EndWord() {
    if (!word_.empty()) {
      words_.push_back(std::move(word_));
      word_.clear();
    }
  }

  const BertNormalisation how_;
  std::vector<Character> marks_;
  std::string word_;
  std::vector<std::string> words_;
};

}  // namespace

std::vector<std::string> SplitBertWords(std::string_view text, const BertNormalisation& how) {
  WordSplitter splitter(how);
  while (!text.empty()) {
    const size_t bytes = Utf8CharBytes(text);
    if (bytes != 0) {
      splitter.Add(DecodeUtf8(text.substr(0, bytes)));
    }
    text.remove_prefix(std::max<size_t>(bytes, 1));
  }
  return splitter.Finish();
}

}  // namespace baton
