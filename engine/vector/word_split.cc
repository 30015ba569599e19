#include "engine/vector/word_split.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "utf8proc.h"

namespace baton {
namespace {

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

bool IsWordCharacter(utf8proc_int32_t code_point) {
  switch (utf8proc_category(code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return false;
  }
}

// The same word however it was typed.
std::string Fold(std::string_view word) {
  std::string folded(word);
  if (IsAscii(word)) {
    for (char& c : folded) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return folded;
  }
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t bytes = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(word.data()), std::ssize(word), &mapped,
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT |
                                     UTF8PROC_CASEFOLD));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (bytes >= 0) {
    folded.assign(reinterpret_cast<const char*>(mapped), static_cast<size_t>(bytes));
  }
  return folded;
}

}  // namespace

std::vector<std::string> ListWords(std::string_view text) {
  std::vector<std::string> words;
  const auto* const bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  size_t begin = 0;  // of the word that goes on at `at`
  for (size_t at = 0; at <= text.size();) {
    utf8proc_int32_t code_point = -1;
    utf8proc_ssize_t length = 1;
    if (at < text.size()) {
      length = utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at),
                                &code_point);
      if (length < 1) length = 1;
    }
    const size_t next = at + static_cast<size_t>(length);
    if (code_point < 0 || !IsWordCharacter(code_point)) {
      if (begin < at) words.push_back(Fold(text.substr(begin, at - begin)));
      begin = next;
    }
    at = next;
  }
  return words;
}

std::vector<std::string> DistinctWords(std::string_view text) {
  std::vector<std::string> words = ListWords(text);
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  return words;
}

}  // namespace baton
