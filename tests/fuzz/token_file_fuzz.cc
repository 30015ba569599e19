// What an operator, or whoever can write there, puts into server.access.tokens: it is read or
// refused, and what is read is written as the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/base/check.h"
#include "server/token_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton;
  const auto entries = ParseTokens({reinterpret_cast<const char*>(data), size}, "file");
  if (!entries.ok()) return 0;
  for (const TokenEntry& entry : *entries) {
    BATON_CHECK(entry.scopes != 0 && entry.rate >= 0 && entry.concurrency >= 0);
    const auto again = ParseTokens(ToLine(entry), "again");
    BATON_CHECK(again.ok() && again->size() == 1);
    const TokenEntry& back = again->front();
    BATON_CHECK(back.name == entry.name && back.hash == entry.hash && back.scopes == entry.scopes &&
                back.rate == entry.rate && back.burst == entry.burst &&
                back.concurrency == entry.concurrency && back.expires_s == entry.expires_s);
  }
  return 0;
}
