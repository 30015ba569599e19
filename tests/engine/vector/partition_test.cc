#include "engine/vector/partition.h"

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/vector/vector_store.h"
#include "engine/vector/view_queries.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

constexpr int32_t kDimension = 4;

CollectionSpec PartitionedSpec() {
  CollectionSpec spec = Spec("c", kDimension);
  spec.partition_key = "tenant";
  spec.hnsw_m = 4;  // what is searched here has few points
  spec.hnsw_ef_construction = 20;
  spec.vectors = {Spec("", 3)};
  spec.vectors[0].vector_name = "extra";
  return spec;
}

std::string Tenant(uint64_t n) { return "tenant " + std::to_string(n); }

bool Refuses(const absl::Status& status, absl::StatusCode code, const std::string& text) {
  INFO(status.ToString());
  return status.code() == code && status.message().find(text) != std::string_view::npos;
}

struct PartitionFixture {
  explicit PartitionFixture(int64_t partitions_max = 1000) : options(TestOptions(dir.path())) {
    options.partitions_max = partitions_max;
    Reopen();
    REQUIRE_OK(store->CreateCollection(PartitionedSpec(), ""));
  }
  void Reopen() {
    store.reset();
    auto opened = VectorStore::Open(options, metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
  }
  WriteResult CommitWrite(Write write) {
    write.collection = "c";
    std::vector<Write> writes;
    writes.push_back(std::move(write));
    return store->Commit(std::move(writes)).at(0);
  }
  Point PointOf(PointId id, const std::string& tenant) {
    Point point = MakePoint(id, RandomVector(random, kDimension), {{"tenant", tenant}});
    point.named.push_back({"extra", RandomVector(random, 3)});
    return point;
  }
  void Upsert(PointId id, const std::string& tenant, Write& write) {
    Forget(id);
    write.upserts.push_back(PointOf(id, tenant));
    twins[tenant][id] = write.upserts.back().vector;
    tenant_of[id] = tenant;
  }
  void Forget(PointId id) {
    const auto found = tenant_of.find(id);
    if (found == tenant_of.end()) return;
    twins[found->second].erase(id);
    tenant_of.erase(found);
  }
  void Work(uint64_t tenants, uint64_t ids, int count) {
    Write write;
    std::set<PointId> touched;
    for (int i = 0; i < count; ++i) {
      const PointId id = random() % ids;
      if (!touched.insert(id).second) continue;
      if (random() % 5 == 0) {
        Forget(id);
        write.deletes.push_back(id);
      } else {
        Upsert(id, Tenant(random() % tenants), write);
      }
    }
    const WriteResult written = CommitWrite(std::move(write));
    REQUIRE_OK(written.status);
  }
  FilterPtr Only(const std::string& tenant) {
    const auto filter = FilterOf(PartitionedSpec(), {.name = tenant}, nullptr);
    REQUIRE_OK(filter);
    return *filter;
  }
  void CheckTenant(const std::string& tenant) {
    const Twin& twin = twins[tenant];
    const auto view = store->View("c");
    REQUIRE_OK(view);
    const FilterPtr filter = Only(tenant);
    const auto count = CountView(**view, filter.get());
    REQUIRE_OK(count);
    REQUIRE(*count == std::ssize(twin));
    const std::vector<float> query = RandomVector(random, kDimension);
    for (const bool exact : {true, false}) {
      REQUIRE(Search(**view, query, {.k = 10, .exact = exact, .filter = filter}).size() ==
              std::min<size_t>(10, twin.size()));
    }
    REQUIRE(Search(**view, query, {.k = 10, .exact = true, .filter = filter}) ==
            NaiveSearch(twin, Metric::kL2, query, 10));
    const auto extra = store->View("c", "extra");
    REQUIRE_OK(extra);
    const auto of_extra = CountView(**extra, filter.get());
    REQUIRE_OK(of_extra);
    REQUIRE(*of_extra == std::ssize(twin));
  }

  TempDir dir;
  VectorOptions options;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
  std::mt19937 random{5};
  std::map<std::string, Twin> twins;
  std::map<PointId, std::string> tenant_of;
};

}  // namespace

TEST_CASE("a tenant's points are found, counted and deleted alone") {
  PartitionFixture f;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 10; ++i) f.Work(7, 500, 40);
    f.store->WaitUntilIdle();
    if (round % 2 == 1) f.Reopen();
    for (uint64_t tenant = 0; tenant < 8; ++tenant) f.CheckTenant(Tenant(tenant));
  }
  const std::string gone = Tenant(3);
  const WriteResult deleted =
      f.CommitWrite({.filter = std::make_shared<const Filter>(), .partition = {.name = gone}});
  REQUIRE_OK(deleted.status);
  CHECK(deleted.deleted == std::ssize(f.twins[gone]));
  f.twins.erase(gone);
  for (uint64_t tenant = 0; tenant < 8; ++tenant) f.CheckTenant(Tenant(tenant));
}

TEST_CASE("ten thousand tenants") {
  PartitionFixture f(10'000);
  f.options.seal_points = 4096;
  f.Reopen();
  for (uint64_t first = 0; first < 20'000; first += 5'000) {
    Write write;
    for (uint64_t id = first; id < first + 5'000; ++id) f.Upsert(id, Tenant(id % 10'000), write);
    const WriteResult written = f.CommitWrite(std::move(write));
    REQUIRE_OK(written.status);
  }
  f.store->WaitUntilIdle();
  for (uint64_t tenant = 0; tenant < 10'000; tenant += 997) f.CheckTenant(Tenant(tenant));
  Write one_more;
  one_more.upserts.push_back(f.PointOf(50'000, "another"));
  CHECK(Refuses(f.CommitWrite(std::move(one_more)).status, absl::StatusCode::kResourceExhausted,
                "would have 10001 partitions, vector.partitions_max is 10000"));
}

TEST_CASE("partitions are counted as their points come and go") {
  PartitionFixture f(2);
  const auto write = [&](PointId id, const std::string& tenant) {
    Write one;
    one.upserts.push_back(f.PointOf(id, tenant));
    return f.CommitWrite(std::move(one)).status;
  };
  REQUIRE_OK(write(1, "a"));
  REQUIRE_OK(write(2, "b"));
  const auto code = absl::StatusCode::kResourceExhausted;
  CHECK(Refuses(write(3, "c"), code, "vector.partitions_max is 2"));
  REQUIRE_OK(write(4, "a"));
  // Two in one group: the second is one too many.
  const WriteResult removed = f.CommitWrite({.deletes = {2}});
  REQUIRE_OK(removed.status);
  std::vector<Write> both(2);
  for (size_t i = 0; i < 2; ++i) {
    both[i].collection = "c";
    both[i].upserts.push_back(f.PointOf(10 + i, i == 0 ? "d" : "e"));
  }
  const std::vector<WriteResult> results = f.store->Commit(std::move(both));
  REQUIRE_OK(results[0].status);
  CHECK(Refuses(results[1].status, code, "would have 3 partitions"));
  f.Reopen();
  CHECK(Refuses(write(3, "c"), code, "vector.partitions_max is 2"));
  // A point that moves to another leaves its own.
  REQUIRE_OK(write(10, "a"));
  REQUIRE_OK(write(3, "c"));
}

TEST_CASE("requests that do not say whose points they mean are refused") {
  const CollectionSpec spec = PartitionedSpec();
  const auto code = absl::StatusCode::kInvalidArgument;
  CHECK(Refuses(FilterOf(spec, {}, nullptr).status(), code,
                "partition is missing: the partition key of collection \"c\" is \"tenant\""));
  CHECK(Refuses(FilterOf(spec, {.name = "a", .all = true}, nullptr).status(), code, "both"));
  CHECK(Refuses(FilterOf(spec, {.name = std::string(129, 'x')}, nullptr).status(), code,
                "partition has 129 bytes, allowed is 1 to 128"));
  CHECK(*FilterOf(spec, {.all = true}, nullptr) == nullptr);
  CHECK(Refuses(FilterOf(Spec("d", 1), {.name = "a"}, nullptr).status(), code,
                "partition is set, but collection \"d\" has no partition key"));
  CHECK(Refuses(FilterOf(Spec("d", 1), {.all = true}, nullptr).status(), code,
                "all_partitions is set"));

  PartitionFixture f;
  const auto upsert = [&](Payload payload) {
    Write write;
    write.upserts.push_back(MakePoint(1, {1, 2, 3, 4}, std::move(payload)));
    return f.CommitWrite(std::move(write)).status;
  };
  CHECK(Refuses(upsert({}), code, "points[0].payload[\"tenant\"] is missing"));
  CHECK(Refuses(upsert({{"tenant", int64_t{3}}}), code, "must be one text"));
  CHECK(Refuses(upsert({{"tenant", std::vector<std::string>{"a"}}}), code, "must be one text"));
  CHECK(Refuses(upsert({{"tenant", ""}}), code, "has 0 bytes, allowed is 1 to 128"));
  REQUIRE_OK(upsert({{"tenant", "a"}, {"other", "b"}}));
  const auto patch = [&](PayloadPatch change) {
    change.ids = {1};
    Write write;
    write.patches.push_back(std::move(change));
    return f.CommitWrite(std::move(write)).status;
  };
  CHECK(Refuses(patch({.clear = true}), code, "clear would change \"tenant\""));
  CHECK(Refuses(patch({.delete_keys = {"tenant"}}), code, "delete_keys would change"));
  CHECK(Refuses(patch({.set = {{"tenant", "b"}}}), code, "set would change"));
  REQUIRE_OK(patch({.set = {{"other", "c"}}}));
  const auto all = std::make_shared<const Filter>();
  CHECK(Refuses(f.CommitWrite({.filter = all}).status, code, "partition is missing"));
  CHECK(Refuses(f.CommitWrite({.deletes = {1}, .partition = {.name = "a"}}).status, code,
                "go with a filter"));
  CHECK(Refuses(f.store->DropPayloadIndex("c", "tenant"), absl::StatusCode::kFailedPrecondition,
                "is the partition key"));
  CHECK((*f.store->View("c"))->points() == 1);
}

}  // namespace baton
