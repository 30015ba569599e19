#include "engine/model/chat/marked_text.h"

#include <random>
#include <string>

#include "catch2/catch.hpp"

namespace baton {
namespace {

// The twin: a letter per byte.
struct Naive {
  std::string bytes;
  std::string origins;
};

Naive NaiveOf(const MarkedText& text) {
  Naive naive{.bytes = text.bytes(), .origins = std::string(text.size(), 't')};
  size_t end = 0;
  for (const MarkedText::Range& range : text.from_request()) {
    REQUIRE(range.begin < range.end);
    REQUIRE((end == 0 || range.begin > end));
    end = range.end;
    for (size_t i = range.begin; i < range.end; ++i) naive.origins[i] = 'R';
  }
  return naive;
}

TEST_CASE("origins go with the bytes through joins and cuts") {
  std::mt19937 random(7);
  const auto below = [&random](size_t end) { return static_cast<size_t>(random() % end); };
  MarkedText text;
  Naive naive;
  for (int i = 0; i < 3000; ++i) {
    const std::string piece(below(5), static_cast<char>('a' + below(26)));
    const bool from_request = below(2) == 0;
    text.Append(piece, from_request ? Origin::kRequest : Origin::kTemplate);
    naive.bytes += piece;
    naive.origins += std::string(piece.size(), from_request ? 'R' : 't');
    const size_t begin = below(text.size() + 1);
    const MarkedText::Range range = {begin, begin + below(text.size() - begin + 1)};
    const size_t size = range.end - range.begin;
    const MarkedText sub = text.Sub(range);
    CHECK(NaiveOf(sub).bytes == naive.bytes.substr(begin, size));
    CHECK(NaiveOf(sub).origins == naive.origins.substr(begin, size));
    if (text.size() < 400) {
      text.Append(sub);
      naive.bytes += naive.bytes.substr(begin, size);
      naive.origins += naive.origins.substr(begin, size);
    } else {
      text = sub;
      naive = {naive.bytes.substr(begin, size), naive.origins.substr(begin, size)};
    }
    REQUIRE(NaiveOf(text).bytes == naive.bytes);
    REQUIRE(NaiveOf(text).origins == naive.origins);
    for (size_t at = 0; at < text.size(); at += 17) {
      CHECK((text.OriginOf(at) == Origin::kRequest) == (naive.origins[at] == 'R'));
    }
  }
}

}  // namespace
}  // namespace baton
