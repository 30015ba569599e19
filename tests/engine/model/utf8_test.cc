#include "engine/model/utf8.h"

#include "catch2/catch.hpp"

namespace baton {
namespace {

TEST_CASE("every code point is one character and comes back", "[utf8]") {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) {
      continue;
    }
    std::string text;
    AppendUtf8(c, text);
    const size_t bytes = text.size();
    bool ok = Utf8CharBytes(text) == bytes && DecodeUtf8(text) == c && !IsUtf8Prefix(text);
    for (size_t cut = 1; cut < bytes; ++cut) {
      const auto part = std::string_view(text).substr(0, cut);
      ok = ok && Utf8CharBytes(part) == 0 && IsUtf8Prefix(part);
    }
    text += 'x';
    ok = ok && Utf8CharBytes(text) == bytes;
    if (!ok) {
      CAPTURE(static_cast<uint32_t>(c));
      REQUIRE(ok);
    }
  }
}

TEST_CASE("ill-formed bytes are no character and no start of one", "[utf8]") {
  for (const char* bytes : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF",
                            "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80",
                            "\xF5\x80\x80\x80", "\xFF", "\xC3(", "\xE2\x96(", "\xF0\x9F\x98("}) {
    CAPTURE(bytes);
    CHECK(Utf8CharBytes(bytes) == 0);
    CHECK_FALSE(IsUtf8Prefix(bytes));
  }
  CHECK(Utf8CharBytes("") == 0);
}

}  // namespace
}  // namespace baton
