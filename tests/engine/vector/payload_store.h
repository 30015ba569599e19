#pragma once

#include <algorithm>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "engine/vector/view_queries.h"
#include "tests/engine/vector/filter_harness.h"

namespace baton {

// A store with a collection "c" whose points have payloads, and two of three a vector "other", and
// what it should hold.
struct PayloadStore {
  static constexpr int kDimension = 4;
  static constexpr int kOtherDimension = 3;

  // Ids are below `ids_end`.
  PayloadStore(uint64_t ids_end, uint32_t seed)
      : ids(ids_end), options(TestOptions(dir.path())), random(seed) {
    Open();
    CollectionSpec spec = Spec("c", kDimension);
    spec.hnsw_m = 4;
    spec.hnsw_ef_construction = 20;
    spec.vectors = {Spec("", kOtherDimension)};
    spec.vectors[0].vector_name = "other";
    REQUIRE_OK(store->CreateCollection(spec, ""));
  }
  void Open() {
    auto opened = VectorStore::Open(options, metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
  }
  void Reopen() {
    store.reset();
    Open();
  }
  // So many upserts, with deletes and patches.
  void WriteOnce(size_t upserts) {
    baton::Write write{.collection = "c"};
    for (size_t n = 0; n < upserts; ++n) {
      const PointId id = random() % ids;
      Point point = MakePoint(id, RandomVector(random, kDimension), RandomPayload(random));
      if (id % 3 != 0) point.named.push_back({"other", RandomVector(random, kOtherDimension)});
      write.upserts.push_back(std::move(point));
    }
    for (size_t n = random() % 4; n > 0; --n) write.deletes.push_back(random() % ids);
    PayloadPatch& patch = write.patches.emplace_back();
    for (size_t n = 1 + random() % 6; n > 0; --n) patch.ids.push_back(random() % ids);
    patch.set = RandomPayload(random);
    patch.set["n"] = static_cast<int64_t>(random() % 20) - 10;
    for (const PointId id : write.deletes) twin.erase(id);
    for (const Point& point : write.upserts) twin[point.id] = point;
    for (const PayloadPatch& one : write.patches) ApplyPatch(twin, one);
    REQUIRE_OK(CommitWrite(*store, std::move(write)).status);
  }
  // That a filter finds in a view, of the collection or of its named vector, what its naive twin
  // does: these.
  std::vector<PointId> CheckMatches(const CollectionView& view, bool named,
                                    const Filter& filter) const {
    auto found = MatchingIds(view, filter, static_cast<int64_t>(ids));
    REQUIRE_OK(found);
    std::sort(found->begin(), found->end());
    std::vector<PointId> expected;
    for (const auto& [id, point] : twin) {
      if (named && point.named.empty()) continue;
      if (NaiveMatches(filter, id, point.payload)) expected.push_back(id);
    }
    REQUIRE(*found == expected);
    return expected;
  }

  const uint64_t ids;  // all are below
  TempDir dir;
  VectorOptions options;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
  std::mt19937 random;
  PointTwin twin;
};

}  // namespace baton
