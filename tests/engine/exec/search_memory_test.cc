#include "engine/exec/search_memory.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

namespace baton {
namespace {

// What lies there, by name, whoever holds it.
struct Held {
  explicit Held(int64_t bytes_max) : memory(bytes_max) {}

  void Take(const std::string& name, int64_t bytes) {
    places[name] = memory.Take(bytes, [this, name] {
      evicted.push_back(name);
      places.erase(name);
    });
  }

  SearchMemory memory;
  std::map<std::string, SearchMemory::Place> places;
  std::vector<std::string> evicted;
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("what was asked for the longest ago makes room") {
  Held held(10);
  CHECK(held.memory.bytes_max() == 10);
  for (const char* name : {"a", "b", "c"}) {
    held.memory.BeginTurn();
    REQUIRE(held.memory.MakeRoom(3));
    held.Take(name, 3);
  }
  CHECK(held.memory.bytes() == 9);
  CHECK(held.evicted.empty());
  held.memory.BeginTurn();
  held.places.at("a").Use();
  held.memory.BeginTurn();
  CHECK(held.memory.MakeRoom(3));
  CHECK(held.evicted == Names{"b"});
  CHECK(held.memory.MakeRoom(6));
  CHECK(held.evicted == Names{"b", "c"});
  CHECK(held.memory.MakeRoom(7));
  CHECK(held.memory.EvictOldest());
  CHECK(held.evicted == Names{"b", "c", "a"});
  CHECK(held.memory.bytes() == 0);
  CHECK_FALSE(held.memory.EvictOldest());
}

TEST_CASE("what a turn asks for stays until it is over") {
  Held held(10);
  held.memory.BeginTurn();
  held.Take("a", 4);
  held.Take("b", 4);
  CHECK_FALSE(held.memory.MakeRoom(3));
  CHECK(held.evicted.empty());
  held.memory.BeginTurn();
  held.places.at("a").Use();
  CHECK_FALSE(held.memory.MakeRoom(7));
  CHECK(held.evicted == Names{"b"});
  held.memory.BeginTurn();
  CHECK(held.memory.MakeRoom(10));
  CHECK_FALSE(held.memory.MakeRoom(11));
  CHECK(held.memory.bytes() == 0);
}

TEST_CASE("a place that moves is counted once and what is given back is free") {
  Held held(10);
  held.memory.BeginTurn();
  held.Take("a", 4);
  SearchMemory::Place moved = std::move(held.places.at("a"));
  held.places.clear();
  CHECK(held.memory.bytes() == 4);
  moved = SearchMemory::Place();
  CHECK(held.memory.bytes() == 0);
  held.Take("a", 4);
  held.Take("a", 5);  // in the place of the other
  CHECK(held.memory.bytes() == 5);
  CHECK(held.evicted.empty());
}

}  // namespace baton
