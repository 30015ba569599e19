#include "config/reload.h"

#include <catch2/catch.hpp>
#include <set>

#include "config/key_table.h"

namespace baton {
namespace {

TEST_CASE("nothing differs from itself") { CHECK(Compare(Config(), Config()).empty()); }

TEST_CASE("what differs is told, and whether it can be taken") {
  Config running;
  Config wanted;
  wanted.log.level = "debug";
  wanted.server.drain_seconds_max = 5;
  wanted.engine.requests.slow_ms = 250;
  wanted.server.grpc_address = "127.0.0.1:1";
  wanted.executors.require = {"gpu"};
  wanted.models.push_back({.name = "m", .path = "/m.gguf"});
  std::vector<ConfigChange> changes = Compare(running, wanted);
  REQUIRE(changes.size() == 6);
  CHECK(changes[0].key == "log.level");
  CHECK(changes[0].from == "\"info\"");
  CHECK(changes[0].to == "\"debug\"");
  CHECK(changes[0].reloadable);
  CHECK(changes.back().key == "models");
  CHECK(changes.back().to == "[m=\"/m.gguf\"]");
  std::set<std::string> reloadable;
  for (const ConfigChange& change : changes) {
    if (change.reloadable) reloadable.insert(change.key);
  }
  CHECK(reloadable ==
        std::set<std::string>{"log.level", "requests.slow_ms", "server.drain_seconds_max"});

  TakeReloadable(wanted, running);
  CHECK(running.log.level == "debug");
  CHECK(running.server.drain_seconds_max == 5);
  CHECK(running.engine.requests.slow_ms == 250);
  CHECK(running.server.grpc_address == Config().server.grpc_address);
  CHECK(running.executors.require.empty());
  changes = Compare(running, wanted);
  CHECK(changes.size() == 3);
  for (const ConfigChange& change : changes) CHECK_FALSE(change.reloadable);
}

}  // namespace
}  // namespace baton
