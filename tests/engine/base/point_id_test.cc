#include "engine/base/point_id.h"

#include <random>

#include "catch2/catch.hpp"

namespace baton {
namespace {

TEST_CASE("ids as text") {
  CHECK(IdText(0) == "0");
  CHECK(IdText(UINT64_MAX) == "18446744073709551615");
  CHECK(IdText(MakePointId(0xf81d4fae7dec11d0, 0xa76500a0c91e6bf6)) ==
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
  CHECK(IdText(MakePointId(1, 0)) == "00000000-0000-0001-0000-000000000000");
}

TEST_CASE("UUIDs are read in all their forms, and nothing else is") {
  const PointId id = MakePointId(0xf81d4fae7dec11d0, 0xa76500a0c91e6bf6);
  for (const char* text :
       {"f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6",
        "f81d4fae7dec11d0a76500a0c91e6bf6", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "URN:UUID:f81d4fae7dec11d0a76500a0c91e6bf6"}) {
    INFO(text);
    CHECK(ParseUuid(text) == id);
  }
  for (const char* text :
       {"", "7", "f81d4fae-7dec-11d0-a765-00a0c91e6bf", "f81d4fae-7dec-11d0-a765-00a0c91e6bf60",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bfg", "f81d4fae7-dec-11d0-a765-00a0c91e6bf6",
        "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}",
        "urn:uuid:", "f81d4fae 7dec 11d0 a765 00a0c91e6bf6", "00000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-000000000007", "--------------------------------",
        "f81d4fae-7dec-11d0-a765-00a0c91e6b\xc3\xa9"}) {
    INFO(text);
    CHECK(ParseUuid(text) == std::nullopt);
  }
  std::mt19937_64 random(5);
  for (int i = 0; i < 1000; ++i) {
    const PointId any = MakePointId(random() | 1, random());
    CHECK(ParseUuid(IdText(any)) == any);
  }
}

TEST_CASE("numbers come before UUIDs, which are in the order of their text") {
  CHECK(PointId{UINT64_MAX} < MakePointId(1, 0));
  CHECK(*ParseUuid("0f81d4fa-7dec-11d0-a765-00a0c91e6bf6") <
        *ParseUuid("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"));
  CHECK(*ParseUuid("f81d4fae-7dec-11d0-0765-00a0c91e6bf6") <
        *ParseUuid("f81d4fae-7dec-11d0-a765-00a0c91e6bf5"));
}

}  // namespace
}  // namespace baton
