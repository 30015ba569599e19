#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/exec/plugin_search.h"
#include "tests/engine/exec/gpu/gpu_harness.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {

inline constexpr int kDimension = 20;

// A store with one collection "c".
struct Store {
  explicit Store(const CollectionSpec& spec) {
    auto opened = VectorStore::Open(TestOptions(dir.path()), metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
    REQUIRE_OK(store->CreateCollection(spec, ""));
  }
  std::shared_ptr<const CollectionView> View(const std::string& name = "c") const {
    auto view = store->View(name);
    REQUIRE_OK(view);
    return *view;
  }
  // Values that int8 collections take, too.
  std::vector<float> Vector() {
    std::vector<float> vector = RandomVector(random, kDimension);
    for (float& value : vector) value *= 20;
    return vector;
  }
  void Upsert(int64_t first, int64_t count, const std::string& name = "c") {
    std::vector<Point> points;
    for (int64_t i = first; i < first + count; ++i) {
      points.push_back(MakePoint(static_cast<PointId>(i), Vector(), {{"n", i % 7}}));
    }
    REQUIRE_OK(CommitOne(*store, name, std::move(points)).status);
  }
  void Delete(std::vector<PointId> ids) {
    REQUIRE_OK(CommitOne(*store, "c", {}, std::move(ids)).status);
  }

  TempDir dir;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
  std::mt19937 random{3};
};

// The skill on a device of its own.
struct Gpu {
  explicit Gpu(int64_t memory_bytes_max = 64 << 20)
      : search(OpenGpu(/*f32=*/false),
               {.memory_bytes_max = memory_bytes_max, .threads = 2, .queue_batches = 64},
               SystemClock()) {}

  std::future<SearchBatchResult> Submit(std::shared_ptr<const CollectionView> view,
                                        std::vector<std::vector<float>> queries,
                                        const SearchParams& params) {
    auto promise = std::make_shared<std::promise<SearchBatchResult>>();
    std::future<SearchBatchResult> future = promise->get_future();
    search.Execute({.view = std::move(view), .queries = std::move(queries), .params = params},
                   [promise](SearchBatchResult result) { promise->set_value(std::move(result)); });
    return future;
  }

  PluginSearch search;
};

inline std::vector<std::vector<float>> Queries(Store& store, const CollectionView& view,
                                               int count) {
  std::vector<std::vector<float>> queries;
  for (int i = 0; i < count; ++i) {
    queries.push_back(store.Vector());
    REQUIRE_OK(PrepareQuery(view, queries.back()));
  }
  return queries;
}

}  // namespace baton
