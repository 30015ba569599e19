#include "engine/vector/filter_nodes.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace baton {
namespace {

FilterNodes::Nodes SomeNodes(uint32_t node) {
  return std::make_shared<const NodeSet>(std::span(&node, 1), 64);
}

// Asks until the nodes are to be made, and makes them; how many asks that took, at most `limit`.
int AskUntilMade(FilterNodes& nodes, const std::string& key, int limit) {
  for (int asks = 1; asks <= limit; ++asks) {
    if (!nodes.Ask(key).make) continue;
    nodes.Put(key, SomeNodes(static_cast<uint32_t>(key.size())));
    return asks;
  }
  return -1;
}

TEST_CASE("the second ask for a filter makes its nodes, and those after it have them") {
  FilterNodes nodes;
  CHECK_FALSE(nodes.Ask("a").make);
  FilterNodes::Asked asked = nodes.Ask("a");
  CHECK(asked.nodes == nullptr);
  CHECK(asked.make);
  asked = nodes.Ask("a");  // meanwhile
  CHECK(asked.nodes == nullptr);
  CHECK_FALSE(asked.make);
  const FilterNodes::Nodes made = SomeNodes(5);
  nodes.Put("a", made);
  CHECK(nodes.Ask("a").nodes == made);
  CHECK(nodes.Ask("b").nodes == nullptr);
}

TEST_CASE("nodes that could not be made are made by the next ask") {
  FilterNodes nodes;
  nodes.Ask("a");
  REQUIRE(nodes.Ask("a").make);
  nodes.Put("a", nullptr);
  CHECK(nodes.Ask("a").make);
}

TEST_CASE(
    "so many filters are kept, and one that is asked more takes the place of the one asked "
    "least") {
  FilterNodes nodes;
  std::vector<std::string> keys;
  for (size_t i = 0; i < FilterNodes::kKept; ++i) keys.push_back(std::string(i + 1, 'k'));
  for (const std::string& key : keys) {
    REQUIRE(AskUntilMade(nodes, key, 2) == 2);
    for (int i = 0; i < 10; ++i) REQUIRE(nodes.Ask(key).nodes != nullptr);
  }
  for (int i = 0; i < 50; ++i) nodes.Ask(keys[0]);  // the others 12 times
  CHECK(AskUntilMade(nodes, "another", 23) == -1);
  CHECK(AskUntilMade(nodes, "another", 1) == 1);
  CHECK(nodes.Ask("another").nodes != nullptr);
  CHECK(nodes.Ask(keys[0]).nodes != nullptr);
  size_t kept = 0;
  for (const std::string& key : keys) kept += nodes.Ask(key).nodes != nullptr ? 1 : 0;
  CHECK(kept == FilterNodes::kKept - 1);
}

TEST_CASE("more filters than are kept, asked in turns, do not drive out each other") {
  FilterNodes nodes;
  int made = 0;
  for (int round = 0; round < 200; ++round) {
    for (size_t i = 0; i <= FilterNodes::kKept; ++i) {
      const std::string key = "filter " + std::to_string(i);
      if (!nodes.Ask(key).make) continue;
      ++made;
      nodes.Put(key, SomeNodes(1));
    }
  }
  CHECK(made == FilterNodes::kKept);
}

TEST_CASE("filters that are asked once each do not drive out those asked again") {
  FilterNodes nodes;
  REQUIRE(AskUntilMade(nodes, "often", 2) == 2);
  for (int i = 0; i < 5000; ++i) {
    CHECK_FALSE(nodes.Ask("once " + std::to_string(i)).make);
    CHECK(nodes.Ask("often").nodes != nullptr);
  }
}

TEST_CASE("what was asked often long ago makes room for what is asked now") {
  FilterNodes nodes;
  for (size_t i = 0; i < FilterNodes::kKept; ++i) {
    const std::string key = "old " + std::to_string(i);
    REQUIRE(AskUntilMade(nodes, key, 2) == 2);
    for (int asks = 0; asks < 1000; ++asks) nodes.Ask(key);
  }
  // Counts are halved with time: far fewer than a thousand asks do.
  CHECK(AskUntilMade(nodes, "new", 100) > 2);
  CHECK(nodes.Ask("new").nodes != nullptr);
}

TEST_CASE("a set of nodes has a bit for each, and a list where they are few") {
  std::mt19937 random(1);
  for (const int64_t count : {1, 31, 32, 33, 1000}) {
    for (const uint32_t one_in : {1u, 2u, 9u, 300u}) {
      CAPTURE(count, one_in);
      std::set<uint32_t> want;
      std::vector<uint32_t> nodes;
      for (uint32_t node = 0; node < count; ++node) {
        if (random() % one_in != 0) continue;
        want.insert(node);
        nodes.insert(nodes.end(), 1 + random() % 2, node);
      }
      std::shuffle(nodes.begin(), nodes.end(), random);
      const NodeSet set(nodes, count);
      std::set<uint32_t> bits;
      for (uint32_t node = 0; node < set.bits.size() * 32; ++node) {
        if ((set.bits[node / 32] >> node % 32 & 1) != 0) bits.insert(node);
      }
      CHECK(bits == want);
      const bool few = std::ssize(nodes) * NodeSet::kListedShare <= count;
      CHECK(set.listed == (few ? std::vector(want.begin(), want.end()) : std::vector<uint32_t>()));
    }
  }
}

}  // namespace
}  // namespace baton
