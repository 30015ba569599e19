#include "server/token_file.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

const std::string kHash = std::string("sha256:") + std::string(64, 'a');

TEST_CASE("a token is random and is known by its SHA-256") {
  std::set<std::string> tokens;
  for (int i = 0; i < 100; ++i) tokens.insert(MakeToken());
  CHECK(tokens.size() == 100);
  CHECK(tokens.begin()->size() == 6 + 43);
  // FIPS 180-2, appendix B.1
  CHECK(ToLine({.name = "n", .hash = HashToken("abc"), .scopes = Scope::kRead | Scope::kAdmin}) ==
        "n sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad read,admin");
}

TEST_CASE("lines are read as they are written") {
  const TokenEntry entry{.name = "ci-1",
                         .hash = HashToken("x"),
                         .scopes = Scope::kWrite | Scope::kGenerate,
                         .rate = 2.5,
                         .burst = 20,
                         .concurrency = 7,
                         .expires_s = 1'801'353'600};
  CHECK_THAT(ToLine(entry),
             Catch::EndsWith(
                 " write,generate rate=2.5 burst=20 concurrency=7 expires=2027-01-31T00:00:00Z"));
  const auto read = ParseTokens("# who\n\n  " + ToLine(entry) + "  # the build\r\n", "f");
  REQUIRE_OK(read);
  REQUIRE(read->size() == 1);
  const TokenEntry& back = read->front();
  CHECK(back.name == entry.name);
  CHECK(back.hash == entry.hash);
  CHECK(back.scopes == entry.scopes);
  CHECK(back.rate == entry.rate);
  CHECK(back.burst == entry.burst);
  CHECK(back.concurrency == entry.concurrency);
  CHECK(back.expires_s == entry.expires_s);
  const auto plain = ParseTokens("a " + kHash + " read", "f");
  REQUIRE_OK(plain);
  CHECK(plain->front().expires_s == TokenEntry::kNever);
}

TEST_CASE("what is wrong with a line is told with its number and without its secret") {
  const std::string lines[][2] = {
      {"a read", "f:2: needs at least a name"},
      {"a s3cret read", "f:2: the second field must be sha256:"},
      {"a sha256:" + std::string(63, 'a') + " read", "f:2: the second field"},
      {"a sha256:" + std::string(63, 'a') + "g read", "f:2: the second field"},
      {"a sha256:+" + std::string(63, 'a') + " read", "f:2: the second field"},
      {"a b " + kHash + " read", "f:2: the second field"},
      {"a/b " + kHash + " read", "f:2: the name must be"},
      {"a " + kHash + " read,s3cret", "f:2: scopes must be some of"},
      {"a " + kHash + " read,", "f:2: scopes must be some of"},
      {"a " + kHash + " read s3cret=1", "f:2: a field is none of"},
      {"a " + kHash + " read rate=0", "f:2: rate must be a number above 0"},
      {"a " + kHash + " read rate=nan", "f:2: rate must be"},
      {"a " + kHash + " read rate=-1", "f:2: rate must be"},
      {"a " + kHash + " read rate=1e300", "f:2: rate must be"},
      {"a " + kHash + " read rate=", "f:2: rate must be"},
      {"a " + kHash + " read burst=2", "f:2: burst needs a rate"},
      {"a " + kHash + " read concurrency=1.5", "f:2: concurrency must be"},
      {"a " + kHash + " read concurrency=99999999999", "f:2: concurrency must be"},
      {"a " + kHash + " read expires=tomorrow", "f:2: expires must be a time"},
      {"a " + kHash + " read expires=2027-02-31T00:00:00", "f:2: expires must be a time"},
  };
  for (const auto& [line, error] : lines) {
    INFO(line);
    const absl::Status status = ParseTokens("# first\n" + line + "\n", "f").status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()),
               Catch::StartsWith(error) && !Catch::Contains("s3cret"));
  }
  REQUIRE_STATUS(ParseTokens("a " + kHash + " read\nb " + kHash + " write\n", "f"),
                 absl::StatusCode::kInvalidArgument, "f:2: the same token stands in a line above");
}

}  // namespace
}  // namespace baton
