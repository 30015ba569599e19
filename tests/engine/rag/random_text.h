#pragma once

#include <cstddef>
#include <random>
#include <string>
#include <vector>

namespace baton {

// Text made of what splitters trip over: stops, headings, lists, blank lines, long words, wide
// characters, and now and then bytes that are no text at all.
inline std::string RandomText(std::mt19937_64& random, size_t pieces) {
  static const std::vector<std::string> kPieces = {"word",
                                                   "a",
                                                   "Dr.",
                                                   "J.",
                                                   "3.5",
                                                   "e.g.",
                                                   "end.",
                                                   "What?",
                                                   "No!",
                                                   " ",
                                                   " ",
                                                   " ",
                                                   " ",
                                                   " ",
                                                   "\n",
                                                   "\n\n",
                                                   "\r\n",
                                                   "\t",
                                                   "# ",
                                                   "\n## Head\n",
                                                   "\n- ",
                                                   "\n1. ",
                                                   "\n| a",
                                                   "\xc3\xa9",
                                                   "\xe6\xbc\xa2",
                                                   "\xe3\x80\x82",
                                                   "\xf0\x9f\x90\x9f",
                                                   "\"",
                                                   ")",
                                                   ".",
                                                   "...",
                                                   "\xe2\x80\x9d",
                                                   std::string("\0", 1),
                                                   "        ",
                                                   "averyveryveryverylongwordwithoutanyendinsight"};
  std::string text;
  for (size_t i = 0; i < pieces; ++i) {
    const uint64_t draw = random();
    if (draw % 64 == 0) {
      text.push_back(static_cast<char>(draw >> 32));
    } else {
      text += kPieces[(draw >> 8) % kPieces.size()];
    }
  }
  return text;
}

inline bool IsSpaceByte(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace baton
