// Search on the GPU, on the host runtime for kernels, beside SearchView.
#include "engine/exec/plugin_search.h"

#include <cuda_runtime_api.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/exec/gpu/gpu_search_harness.h"
#include "tests/support/cuda_host/cuda_host.h"

namespace baton {
namespace {

using Catch::Contains;

std::vector<std::vector<Neighbor>> OnCpu(const CollectionView& view,
                                         const std::vector<std::vector<float>>& queries,
                                         SearchParams params) {
  params.exact = true;
  std::vector<std::vector<Neighbor>> neighbors;
  REQUIRE_OK(SearchView(
      view, queries, params, [] { return absl::OkStatus(); }, &neighbors));
  return neighbors;
}

void CheckSame(Gpu& gpu, Store& store, const SearchParams& params, int query_count = 4) {
  const auto view = store.View();
  const auto queries = Queries(store, *view, query_count);
  const SearchBatchResult result = gpu.Submit(view, queries, params).get();
  REQUIRE_OK(result.status);
  CHECK(result.unsearched_points == 0);
  CHECK(result.neighbors == OnCpu(*view, queries, params));
}

TEST_CASE("whatever is stored and however the GPU finds what the CPU finds") {
  for (const VectorStorage storage :
       {VectorStorage::kF32, VectorStorage::kF16, VectorStorage::kBf16, VectorStorage::kInt8}) {
    for (const Metric metric : {Metric::kCosine, Metric::kDot, Metric::kL2}) {
      CAPTURE(static_cast<int>(storage), static_cast<int>(metric));
      CollectionSpec spec = Spec("c", kDimension, metric);
      spec.storage = storage;
      Store store(spec);
      Gpu gpu;
      store.Upsert(0, 150);
      store.store->WaitUntilIdle();
      store.Upsert(140, 25);  // some anew
      store.Delete({3, 77, 149});
      CheckSame(gpu, store, {.k = 7});
      CHECK(gpu.search.counts().scanned == 0);
    }
  }
}

TEST_CASE("an inverted file that is searched exactly is searched like any rows") {
  CollectionSpec spec = Spec("c", kDimension);
  spec.index = IndexKind::kIvfPq;
  Store store(spec);
  Gpu gpu;
  store.Upsert(0, 200);
  store.store->WaitUntilIdle();
  CheckSame(gpu, store, {.k = 5, .exact = true});
  CHECK(gpu.search.ivf_lists()->loads() == 0);
  const auto view = store.View();
  const SearchBatchResult refused =
      gpu.Submit(view, Queries(store, *view, 1), {.k = 5, .recall_target = 0.9}).get();
  CHECK(absl::IsInvalidArgument(refused.status));
}

TEST_CASE("offsets and thresholds and more than there is are as on the CPU") {
  Store store(Spec("c", kDimension));
  Gpu gpu;
  CHECK(gpu.Submit(store.View(), Queries(store, *store.View(), 2), {.k = 3}).get().neighbors ==
        std::vector<std::vector<Neighbor>>(2));
  store.Upsert(0, 100);
  CHECK(gpu.Submit(store.View(), {}, {.k = 3}).get().neighbors.empty());
  CheckSame(gpu, store, {.k = 5, .offset = 3});
  CheckSame(gpu, store, {.k = 200});
  const auto view = store.View();
  const auto queries = Queries(store, *view, 1);
  const auto nearest = OnCpu(*view, queries, {.k = 10});
  for (const float threshold : {nearest[0][4].distance, 0.0f}) {
    const SearchParams params{.k = 10, .score_threshold = threshold};
    const SearchBatchResult result = gpu.Submit(view, queries, params).get();
    REQUIRE_OK(result.status);
    CHECK(result.neighbors == OnCpu(*view, queries, params));
    CHECK(result.neighbors[0].size() == (threshold > 0 ? 5u : 0u));
  }
}

TEST_CASE("filters choose rows before they are compared") {
  Store store(Spec("c", kDimension));
  Gpu gpu;
  REQUIRE_OK(store.store->CreatePayloadIndex("c", {"n", PayloadIndexKind::kInteger}));
  store.Upsert(0, 150);
  store.store->WaitUntilIdle();
  store.Upsert(130, 40);
  store.Delete({7, 14, 21});
  SearchParams params{.k = 9};
  params.filter =
      std::make_shared<Filter>(Condition{.field = "n", .test = Match{.any = {int64_t{0}}}});
  CheckSame(gpu, store, params);
  params.filter =
      std::make_shared<Filter>(Condition{.field = "n", .test = Match{.any = {int64_t{99}}}});
  CheckSame(gpu, store, params);
  params.filter =
      std::make_shared<Filter>(Condition{.field = "m", .test = Match{.any = {int64_t{0}}}});
  const auto view = store.View();
  const SearchBatchResult refused = gpu.Submit(view, Queries(store, *view, 1), params).get();
  CHECK(absl::IsFailedPrecondition(refused.status));
}

TEST_CASE("a view is searched as of its time whatever the device has seen since") {
  Store store(Spec("c", kDimension));
  Gpu gpu;
  store.Upsert(0, 128);
  store.store->WaitUntilIdle();
  const auto before = store.View();
  std::vector<PointId> gone;
  for (int i = 0; i < 100; ++i) gone.push_back(static_cast<PointId>(i));
  store.Delete(gone);
  store.Upsert(500, 30);
  CheckSame(gpu, store, {.k = 12});  // so many are dead that they are marked
  const auto queries = Queries(store, *before, 3);
  const SearchBatchResult result = gpu.Submit(before, queries, {.k = 12}).get();
  REQUIRE_OK(result.status);
  CHECK(result.neighbors == OnCpu(*before, queries, {.k = 12}));
  CheckSame(gpu, store, {.k = 12});
}

TEST_CASE("searches agree with the CPU while points come and go") {
  Store store(Spec("c", kDimension, Metric::kCosine));
  Gpu gpu;
  store.Upsert(0, 100);
  std::vector<std::vector<float>> queries = Queries(store, *store.View(), 2);
  std::atomic<bool> done = false;
  std::thread writer([&] {
    std::mt19937 random(9);
    for (int round = 0; !done && round < 200; ++round) {
      std::vector<Point> points;
      for (int i = 0; i < 8; ++i) {
        points.push_back(MakePoint(random() % 220, RandomVector(random, kDimension)));
      }
      static_cast<void>(CommitOne(*store.store, "c", std::move(points), {random() % 220}));
    }
  });
  for (int round = 0; round < 12; ++round) {
    const auto view = store.View();
    const SearchBatchResult result = gpu.Submit(view, queries, {.k = 6}).get();
    const auto expected = OnCpu(*view, queries, {.k = 6});
    CHECK(result.status == absl::OkStatus());
    CHECK(result.neighbors == expected);
  }
  done = true;
  writer.join();
}

TEST_CASE("what rounding cannot tell apart is looked at again and in the end scanned") {
  Store store(Spec("c", kDimension));
  Gpu gpu;
  // More rows than there may be candidates, all of which round to the same.
  std::vector<Point> points;
  for (int i = 0; i < 1100; ++i) {
    std::vector<float> vector(kDimension, 1.0f);
    vector[static_cast<size_t>(i) % kDimension] += 1e-5f * static_cast<float>(i / kDimension);
    points.push_back(MakePoint(static_cast<PointId>(i), std::move(vector)));
  }
  REQUIRE_OK(CommitOne(*store.store, "c", std::move(points)).status);
  CheckSame(gpu, store, {.k = 3}, 2);
  CHECK(gpu.search.counts().all == 2);
  CHECK(gpu.search.counts().again == 2);
  CHECK(gpu.search.counts().scanned == 2);
}

TEST_CASE("what was not searched for the longest makes room") {
  Store store(Spec("c", kDimension));
  for (const char* name : {"d", "e"}) REQUIRE_OK(store.store->CreateCollection(Spec(name, 20), ""));
  for (const char* name : {"c", "d", "e"}) store.Upsert(0, 60, name);
  // Memory for 1,024 growing rows of two of the three.
  const int64_t bytes = 1024 * (24 * 2 + 4) + 256;
  Gpu gpu(2 * bytes);
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"c", "d", "e"}) {
      const auto view = store.View(name);
      const auto queries = Queries(store, *view, 1);
      CHECK(gpu.search.Unable(*view, {.k = 4}).empty());
      const SearchBatchResult result = gpu.Submit(view, queries, {.k = 4}).get();
      REQUIRE_OK(result.status);
      CHECK(result.neighbors == OnCpu(*view, queries, {.k = 4}));
    }
  }
  Gpu small(bytes - 1);
  CHECK_THAT(small.search.Unable(*store.View(), {.k = 4}),
             Contains("the collection takes " + std::to_string(bytes) +
                      " bytes of GPU memory, of which " + std::to_string(bytes - 1)));
}

TEST_CASE("searches that are too large are refused before they are sent") {
  Store store(Spec("c", kDimension));
  store.Upsert(0, 10);
  Gpu gpu;
  CHECK(gpu.search.Unable(*store.View(), {.k = 512}).empty());
  CHECK(gpu.search.Unable(*store.View(), {.k = 500, .offset = 13}) ==
        "k and offset are 513 together, the GPU's limit is 512");
  const auto view = store.View();
  CHECK(absl::IsUnimplemented(gpu.Submit(view, Queries(store, *view, 1), {.k = 513}).get().status));
}

TEST_CASE("a search that finds no memory goes elsewhere and the next one runs") {
  struct Runtime {
    ~Runtime() { cuda_host::ForgetFailures(); }
  } runtime;
  Store store(Spec("c", kDimension));
  store.Upsert(0, 40);
  Gpu gpu;
  const auto view = store.View();
  const auto queries = Queries(store, *view, 1);
  for (const char* call : {"cudaMalloc", "cudaHostAlloc"}) {
    cuda_host::InjectFailure({.call = call, .error = cudaErrorMemoryAllocation});
    const SearchBatchResult failed = gpu.Submit(view, queries, {.k = 4}).get();
    CHECK(absl::IsUnavailable(failed.status));
    CHECK_THAT(std::string(failed.status.message()), Contains("bytes of"));
    cuda_host::ForgetFailures();
  }
  CheckSame(gpu, store, {.k = 4});
  cuda_host::InjectFailure(
      {.call = "cudaMemcpyAsync", .error = cudaErrorIllegalAddress, .sticky = true});
  const SearchBatchResult lost = gpu.Submit(view, queries, {.k = 4}).get();
  CHECK(absl::IsUnavailable(lost.status));
  CHECK_THAT(std::string(lost.status.message()), Contains("restart needed"));
}

TEST_CASE("the executor searches where its plug-in does and memory is set aside") {
  GpuOptions options;
  CHECK(MakeGpu(options).executor->search() != nullptr);
  options.search_memory_mb = 0;
  CHECK(MakeGpu(options).executor->search() == nullptr);
}

}  // namespace
}  // namespace baton
