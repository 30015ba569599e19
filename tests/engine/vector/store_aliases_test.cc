#include "catch2/catch.hpp"
#include "engine/vector/snapshot.h"
#include "engine/vector/vector_store.h"
#include "tests/engine/vector/vector_harness.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

using Kind = AliasAction::Kind;
using Code = absl::StatusCode;

AliasAction Set(std::string alias, std::string collection) {
  return {.kind = Kind::kSet, .alias = std::move(alias), .collection = std::move(collection)};
}
AliasAction Rename(std::string alias, std::string new_name) {
  return {.kind = Kind::kRename, .alias = std::move(alias), .new_name = std::move(new_name)};
}
AliasAction Delete(std::string alias) { return {.kind = Kind::kDelete, .alias = std::move(alias)}; }

absl::Status Update(VectorStore& store, std::vector<AliasAction> actions) {
  return store.UpdateAliases(actions);
}

std::unique_ptr<VectorStore> OpenStore(const VectorOptions& options, Metrics& metrics) {
  auto store = VectorStore::Open(options, metrics);
  REQUIRE_OK(store);
  return *std::move(store);
}

// "one" has point 1, "two" has point 2.
void Fill(VectorStore& store) {
  REQUIRE_OK(store.CreateCollection(Spec("one", 1), ""));
  REQUIRE_OK(store.CreateCollection(Spec("two", 1), ""));
  REQUIRE_OK(CommitOne(store, "one", {MakePoint(1, {1})}).status);
  REQUIRE_OK(CommitOne(store, "two", {MakePoint(2, {2})}).status);
}

std::vector<PointId> IdsBy(VectorStore& store, const std::string& name) {
  const auto view = store.View(name);
  REQUIRE_OK(view);
  std::vector<PointId> ids;
  for (const Neighbor& neighbor : Search(**view, {0}, {.k = 10})) ids.push_back(neighbor.id);
  return ids;
}

TEST_CASE("an alias is as good as its collection's name") {
  const TempDir dir;
  Metrics metrics;
  const auto store = OpenStore(TestOptions(dir.path()), metrics);
  Fill(*store);
  REQUIRE_OK(Update(*store, {Set("live", "one"), Set("old", "two")}));
  CHECK(IdsBy(*store, "live") == std::vector<PointId>{1});
  REQUIRE_OK(CommitOne(*store, "live", {MakePoint(5, {3})}).status);
  CHECK(IdsBy(*store, "one") == std::vector<PointId>{1, 5});
  CHECK(store->ResolveName("live") == "one");
  CHECK(store->ResolveName("two") == "two");
  CHECK(store->ResolveName("none") == "none");
  const auto got = store->Get("live", std::vector<PointId>{5}, true, true);
  REQUIRE_OK(got);
  REQUIRE(got->size() == 1);
  REQUIRE_OK(store->CreatePayloadIndex("live", {.field = "n", .kind = PayloadIndexKind::kInteger}));
  const auto info = store->Describe("live");
  REQUIRE_OK(info);
  CHECK(info->spec.name == "one");
  CHECK(info->aliases == std::vector<std::string>{"live"});
  CHECK(info->payload_indexes.size() == 1);

  // Switched and renamed at once: nobody sees a step between.
  REQUIRE_OK(Update(*store, {Delete("live"), Rename("old", "older"), Set("live", "two")}));
  CHECK(IdsBy(*store, "live") == std::vector<PointId>{2});
  CHECK(store->ListAliases() == std::vector<Alias>{{"live", "two"}, {"older", "two"}});
  CHECK(store->List().at(1).aliases == std::vector<std::string>{"live", "older"});
  CHECK(store->List().at(0).aliases.empty());
  REQUIRE_STATUS(store->View("old"), Code::kNotFound, "\"old\"");
  // The same again is no error: what an alias means is set.
  REQUIRE_OK(Update(*store, {Set("live", "two")}));
}

TEST_CASE("a change of aliases is all or nothing, and says what is wrong with it") {
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.aliases_max = 3;
  const auto store = OpenStore(options, metrics);
  Fill(*store);
  REQUIRE_OK(Update(*store, {Set("live", "one"), Set("other", "one")}));
  const std::vector<Alias> before = store->ListAliases();
  const struct {
    AliasAction action;
    Code code;
    const char* says;
  } cases[] = {
      {Set("two", "one"), Code::kAlreadyExists,
       "actions[1].alias is \"two\", which is a collection"},
      {Set("x", "none"), Code::kNotFound, "actions[1].collection: collection \"none\""},
      {Set("x", "live"), Code::kFailedPrecondition, "alias of \"one\""},
      {Set("a/b", "one"), Code::kInvalidArgument, "actions[1].alias may hold only"},
      {Set("", "one"), Code::kInvalidArgument, "actions[1].alias has 0 characters"},
      {Delete("none"), Code::kNotFound, "actions[1].alias: alias \"none\""},
      {Delete("two"), Code::kNotFound, "alias \"two\" does not exist"},
      {Rename("none", "x"), Code::kNotFound, "alias \"none\""},
      {Rename("live", "two"), Code::kAlreadyExists, "actions[1].new_alias is \"two\""},
      {Rename("live", "other"), Code::kAlreadyExists, "alias \"other\" exists already"},
      {Rename("live", ".x"), Code::kInvalidArgument, "actions[1].new_alias may hold only"},
  };
  for (const auto& c : cases) {
    INFO(c.says);
    REQUIRE_STATUS(Update(*store, {Set("fine", "two"), c.action}), c.code, c.says);
    CHECK(store->ListAliases() == before);
    CHECK_FALSE(store->View("fine").ok());
  }
  REQUIRE_STATUS(Update(*store, {Set("a", "one"), Set("b", "one")}), Code::kResourceExhausted,
                 "there would be 4 aliases, vector.aliases_max is 3");
  // What is in between may be more.
  REQUIRE_OK(Update(*store, {Set("a", "one"), Set("b", "one"), Delete("live"), Delete("a")}));
  REQUIRE_STATUS(store->CreateCollection(Spec("b", 1), ""), Code::kAlreadyExists,
                 "\"b\" is an alias of collection \"one\"");
}

TEST_CASE("aliases go with the collection that is dropped, by its own name") {
  const TempDir dir;
  Metrics metrics;
  auto store = OpenStore(TestOptions(dir.path()), metrics);
  Fill(*store);
  REQUIRE_OK(Update(*store, {Set("live", "one"), Set("kept", "two")}));
  REQUIRE_STATUS(store->DropCollection("live"), Code::kFailedPrecondition,
                 "\"live\" is an alias: drop collection \"one\"");
  const auto view = store->View("live");
  REQUIRE_OK(store->DropCollection("one"));
  CHECK((*view)->points() == 1);
  for (int pass = 0; pass < 2; ++pass) {
    CHECK(store->ListAliases() == std::vector<Alias>{{"kept", "two"}});
    REQUIRE_STATUS(store->View("live"), Code::kNotFound, "\"live\"");
    store.reset();
    store = OpenStore(TestOptions(dir.path()), metrics);
  }
  // The name is free again.
  REQUIRE_OK(store->CreateCollection(Spec("live", 1), ""));
  CHECK(IdsBy(*store, "live").empty());
}

TEST_CASE("aliases are there after a restart and in snapshots") {
  const TempDir dir;
  const TempDir other;
  Metrics metrics;
  std::string snapshot;
  {
    const auto store = OpenStore(TestOptions(dir.path()), metrics);
    Fill(*store);
    REQUIRE_OK(Update(*store, {Set("live", "one")}));
    REQUIRE_OK(store->CreateSnapshot("s"));
    REQUIRE_OK(Update(*store, {Set("live", "two"), Set("more", "one")}));
  }
  {
    const auto store = OpenStore(TestOptions(dir.path()), metrics);
    CHECK(store->ListAliases() == std::vector<Alias>{{"live", "two"}, {"more", "one"}});
    CHECK(IdsBy(*store, "live") == std::vector<PointId>{2});
    const auto list = store->ListSnapshots();
    REQUIRE_OK(list);
    snapshot = dir.path() + "/snapshots/s";
  }
  VectorOptions options = TestOptions(other.path());
  options.restore = snapshot;
  const auto store = OpenStore(options, metrics);
  CHECK(store->ListAliases() == std::vector<Alias>{{"live", "one"}});
  CHECK(IdsBy(*store, "live") == std::vector<PointId>{1});
}

}  // namespace
}  // namespace baton
