// Inverted files that the GPU scans, on the host runtime for kernels, beside SearchView.
#include "engine/exec/plugin_ivf_lists.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/engine/exec/gpu/gpu_search_harness.h"
#include "tests/support/cuda_host/cuda_host.h"

namespace baton {
namespace {

CollectionSpec IvfSpec(IndexKind kind, Metric metric = Metric::kL2) {
  CollectionSpec spec = Spec("c", kDimension, metric);
  spec.index = kind;
  spec.ivf_lists = 6;
  return spec;
}

std::vector<std::vector<Neighbor>> BySearchView(const CollectionView& view,
                                                const std::vector<std::vector<float>>& queries,
                                                const SearchParams& params) {
  std::vector<std::vector<Neighbor>> neighbors;
  REQUIRE_OK(SearchView(
      view, queries, params, [] { return absl::OkStatus(); }, &neighbors));
  return neighbors;
}

// The CPU's answers, by scans of the GPU.
void CheckProbed(Gpu& gpu, Store& store, const SearchParams& params, int query_count = 5) {
  const auto view = store.View();
  const auto queries = Queries(store, *view, query_count);
  const int64_t scans = gpu.search.ivf_lists()->scans();
  const SearchBatchResult result = gpu.Submit(view, queries, params).get();
  REQUIRE_OK(result.status);
  CHECK(result.neighbors == BySearchView(*view, queries, params));
  CHECK(gpu.search.ivf_lists()->scans() - scans >= query_count);
  CHECK(gpu.search.counts().all == 0);
}

struct Runtime {
  ~Runtime() {
    cuda_host::ForgetFailures();
    cuda_host::SetDeviceMemory(0);
  }
};

}  // namespace

TEST_CASE("inverted files that the GPU scans give the answers of the CPU") {
  const IndexKind kind = GENERATE(IndexKind::kIvfPq, IndexKind::kIvfSq);
  for (const Metric metric : {Metric::kCosine, Metric::kDot, Metric::kL2}) {
    for (const VectorStorage storage : {VectorStorage::kF32, VectorStorage::kBf16}) {
      CAPTURE(static_cast<int>(kind), static_cast<int>(metric), static_cast<int>(storage));
      CollectionSpec spec = IvfSpec(kind, metric);
      spec.storage = storage;
      Store store(spec);
      Gpu gpu;
      store.Upsert(0, 250);
      store.store->WaitUntilIdle();
      store.Upsert(240, 25);  // some anew, in the growing buffer
      CheckProbed(gpu, store, {.k = 7});
      store.Delete({3, 77, 149});
      CheckProbed(gpu, store, {.k = 7});
      CheckProbed(gpu, store, {.k = 3, .nprobe = 1, .offset = 2});
      CheckProbed(gpu, store, {.k = 5, .ef = 90, .nprobe = 6});
      CheckProbed(gpu, store, {.k = 60, .nprobe = 1});  // further lists have more
      CheckProbed(gpu, store, {.k = 300, .nprobe = 6});
    }
  }
}

TEST_CASE("filtered searches of inverted files on the GPU are those of the CPU") {
  const IndexKind kind = GENERATE(IndexKind::kIvfPq, IndexKind::kIvfSq);
  Store store(IvfSpec(kind));
  Gpu gpu;
  REQUIRE_OK(store.store->CreatePayloadIndex("c", {"n", PayloadIndexKind::kInteger}));
  store.Upsert(0, 1200);
  store.store->WaitUntilIdle();
  store.Delete({7, 14, 21});
  SearchParams params{.k = 3, .ef = 4};
  // Half of the rows: lists are worth a look. One value: its rows are compared.
  params.filter = std::make_shared<Filter>(Condition{
      .field = "n", .test = Match{.any = {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{5}}}});
  const auto view = store.View();
  const auto queries = Queries(store, *view, 6);
  for (const bool few : {false, true}) {
    if (few) {
      params.filter =
          std::make_shared<Filter>(Condition{.field = "n", .test = Match{.any = {int64_t{99}}}});
    }
    const int64_t scans = gpu.search.ivf_lists()->scans();
    const SearchBatchResult result = gpu.Submit(view, queries, params).get();
    REQUIRE_OK(result.status);
    CHECK(result.neighbors == BySearchView(*view, queries, params));
    CHECK((gpu.search.ivf_lists()->scans() > scans) == !few);
  }
}

TEST_CASE("a view's inverted files are scanned as of its time") {
  Store store(IvfSpec(IndexKind::kIvfPq));
  Gpu gpu;
  store.Upsert(0, 192);
  store.store->WaitUntilIdle();
  const auto before = store.View();
  std::vector<PointId> gone;
  for (int i = 0; i < 60; ++i) gone.push_back(static_cast<PointId>(3 * i));
  store.Delete(gone);
  for (int round = 0; round < 2; ++round) {
    CheckProbed(gpu, store, {.k = 12});
    const auto queries = Queries(store, *before, 3);
    const SearchBatchResult result = gpu.Submit(before, queries, {.k = 12}).get();
    REQUIRE_OK(result.status);
    CHECK(result.neighbors == BySearchView(*before, queries, {.k = 12}));
  }
}

TEST_CASE("inverted files and rows share the memory that searches have") {
  Store store(IvfSpec(IndexKind::kIvfPq));
  REQUIRE_OK(store.store->CreateCollection(Spec("rows", kDimension), ""));
  store.Upsert(0, 192);
  store.Upsert(0, 192, "rows");
  store.store->WaitUntilIdle();
  const auto view = store.View();
  const auto rows = store.View("rows");
  const auto queries = Queries(store, *view, 2);
  int64_t list_bytes = 0;
  int64_t row_bytes = 0;
  {
    Gpu none(1);
    for (const ViewIvf& file : ViewIvf::AllOf(*view)) {
      list_bytes += none.search.ivf_lists()->BytesOf(file);
    }
    // What has no room as codes is compared row by row, for which there is none either.
    CHECK_THAT(none.search.Unable(*view, {.k = 3}), Catch::StartsWith("the collection takes "));
    const std::string why = none.search.Unable(*rows, {.k = 3});
    REQUIRE(std::sscanf(why.c_str(), "the collection takes %" SCNd64 " bytes", &row_bytes) == 1);
  }
  REQUIRE(list_bytes > 0);
  // Room for one of them.
  Gpu gpu(std::max(list_bytes, row_bytes) + std::min(list_bytes, row_bytes) / 2);
  const PluginIvfLists& lists = *gpu.search.ivf_lists();
  for (int round = 0; round < 3; ++round) {
    const SearchBatchResult probed = gpu.Submit(view, queries, {.k = 3}).get();
    REQUIRE_OK(probed.status);
    CHECK(probed.neighbors == BySearchView(*view, queries, {.k = 3}));
    const SearchBatchResult compared = gpu.Submit(rows, queries, {.k = 3}).get();
    REQUIRE_OK(compared.status);
    CHECK(compared.neighbors == BySearchView(*rows, queries, {.k = 3, .exact = true}));
  }
  CHECK(lists.evictions() >= 3);
  CHECK(lists.loads() > static_cast<int64_t>(ViewIvf::AllOf(*view).size()));
}

TEST_CASE("what was asked for the longest ago makes room whether it is lists or rows") {
  Store store(IvfSpec(IndexKind::kIvfPq));
  CollectionSpec second = IvfSpec(IndexKind::kIvfPq);
  second.name = "second";
  REQUIRE_OK(store.store->CreateCollection(second, ""));
  REQUIRE_OK(store.store->CreateCollection(Spec("rows", kDimension), ""));
  for (const char* name : {"c", "second", "rows"}) store.Upsert(0, 192, name);
  store.store->WaitUntilIdle();
  const auto first_view = store.View();
  const auto second_view = store.View("second");
  const auto rows_view = store.View("rows");
  const auto queries = Queries(store, *first_view, 2);
  int64_t list_bytes = 0;
  int64_t row_bytes = 0;
  {
    Gpu none(1);
    for (const ViewIvf& file : ViewIvf::AllOf(*first_view)) {
      list_bytes += none.search.ivf_lists()->BytesOf(file);
    }
    const std::string why = none.search.Unable(*rows_view, {.k = 3});
    REQUIRE(std::sscanf(why.c_str(), "the collection takes %" SCNd64 " bytes", &row_bytes) == 1);
  }
  // Room for the rows and one collection's lists.
  Gpu gpu(row_bytes + list_bytes + list_bytes / 2);
  const PluginIvfLists& lists = *gpu.search.ivf_lists();
  const auto search = [&](const std::shared_ptr<const CollectionView>& view) {
    REQUIRE_OK(gpu.Submit(view, queries, {.k = 3}).get().status);
  };
  search(first_view);
  search(rows_view);
  CHECK(lists.evictions() == 0);
  const int64_t loads = lists.loads();
  // The first one's lists go, older than the rows; which are found again.
  search(second_view);
  CHECK(lists.evictions() >= 1);
  CHECK(lists.loads() > loads);
  const int64_t evictions = lists.evictions();
  cuda_host::InjectFailure({.call = "cudaMalloc", .error = cudaErrorMemoryAllocation});
  search(rows_view);  // which takes no memory
  cuda_host::ForgetFailures();
  CHECK(lists.evictions() == evictions);
  // Now the second one's are the oldest.
  search(first_view);
  CHECK(lists.evictions() > evictions);
}

TEST_CASE("scans that fail say so and what is dropped is given back") {
  const Runtime runtime;
  Store store(IvfSpec(IndexKind::kIvfSq));
  Gpu gpu;
  store.Upsert(0, 128);
  store.store->WaitUntilIdle();
  const auto view = store.View();
  const auto queries = Queries(store, *view, 2);
  const auto run = [&] { return gpu.Submit(view, queries, {.k = 4}).get().status; };
  cuda_host::InjectFailure({.call = "cudaMalloc", .error = cudaErrorMemoryAllocation});
  const absl::Status full = run();
  CHECK(absl::IsUnavailable(full));
  CHECK_THAT(std::string(full.message()), Catch::Contains("an inverted file needs"));
  REQUIRE_OK(run());
  cuda_host::InjectFailure({.call = "cudaLaunchKernelEx", .error = cudaErrorInvalidValue});
  CHECK(absl::IsInternal(run()));
  REQUIRE_OK(run());
  cuda_host::InjectFailure(
      {.call = "cudaLaunchKernelEx", .error = cudaErrorIllegalAddress, .sticky = true});
  CHECK(absl::IsUnavailable(run()));
  CHECK(absl::IsUnavailable(run()));
}

TEST_CASE("searches of inverted files from many threads are each its own") {
  Store store(IvfSpec(IndexKind::kIvfPq));
  Gpu gpu;
  store.Upsert(0, 192);
  store.store->WaitUntilIdle();
  const auto view = store.View();
  const auto queries = Queries(store, *view, 8);
  const auto want = BySearchView(*view, queries, {.k = 5});
  std::vector<std::future<SearchBatchResult>> futures;
  for (const std::vector<float>& query : queries)
    futures.push_back(gpu.Submit(view, {query}, {.k = 5}));
  for (size_t i = 0; i < futures.size(); ++i) {
    const SearchBatchResult result = futures[i].get();
    REQUIRE_OK(result.status);
    CHECK(result.neighbors.at(0) == want[i]);
  }
}

TEST_CASE("lists and scans that no file has are refused by name") {
  const auto device = OpenGpu(/*f32=*/false);
  const baton_executor_plugin& table = device->table();
  std::vector<uint32_t> begin = {0, 32};
  std::vector<uint32_t> counts = {3, 5};
  std::vector<uint32_t> rows(64);
  const std::vector<uint8_t> codes(64 * 16);
  const baton_ivf_job good = {.struct_size = sizeof(good),
                              .codes_of = BATON_IVF_PRODUCT_CODES,
                              .row_bytes = 2,
                              .lists = 2,
                              .places = 64,
                              .rows = 8,
                              .list_begin = begin.data(),
                              .list_rows = counts.data(),
                              .place_rows = rows.data(),
                              .codes = codes.data(),
                              .terms = nullptr};
  const auto create = [&](auto change) {
    baton_ivf_job job = good;
    change(job);
    baton_ivf_lists* lists = nullptr;
    baton_error error = {.struct_size = sizeof(error), .message = {}};
    const int32_t code = table.ivf_create(device->handle(), &job, &lists, &error);
    CHECK((code == BATON_OK) == (lists != nullptr));
    if (lists != nullptr) table.ivf_free(device->handle(), lists);
    return std::string(error.message);
  };
  using Job = baton_ivf_job;
  CHECK(create([](Job&) {}).empty());
  CHECK(create([](Job& job) { job.codes_of = 7; }) ==
        "an inverted file of codes of an unknown kind, 7");
  CHECK(create([](Job& job) { job.row_bytes = 3; }) ==
        "an inverted file with codes of 3 bytes, must be a multiple of 2 up to 256");
  CHECK(create([](Job& job) {
          job.codes_of = BATON_IVF_BYTES;
          job.row_bytes = 1 << 20;
        }) == "an inverted file with codes of 1048576 bytes, must be a multiple of 16 up to 16384");
  CHECK(create([](Job& job) { job.lists = 0; }) ==
        "an inverted file of 0 lists, must be 1 to 2147483647");
  CHECK(create([](Job& job) { job.places = 40; }) ==
        "an inverted file of 40 places, must be a multiple of 32");
  CHECK(create([](Job& job) { job.rows = 0; }) ==
        "an inverted file with row 0 at place 0, there are 0");
  counts[1] = 33;
  CHECK(create([](Job&) {}) == "an inverted file whose list 1 is at places 32 to 65 of 64");
  counts[1] = 5;
  begin[1] = 31;
  CHECK(create([](Job&) {}) == "an inverted file whose list 1 is at places 31 to 36 of 64");
  begin[1] = 32;

  baton_ivf_lists* lists = nullptr;
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  REQUIRE(table.ivf_create(device->handle(), &good, &lists, &error) == BATON_OK);
  std::vector<uint32_t> probes = {1, 0};
  const std::vector<float> floats(8);
  std::vector<uint32_t> nearest(8);
  const auto scan = [&](int32_t k, int64_t probe_count) {
    const baton_ivf_scan asked = {.struct_size = sizeof(asked),
                                  .k = k,
                                  .lists = lists,
                                  .query_count = 1,
                                  .probe_count = probe_count,
                                  .probes = probes.data(),
                                  .live = nullptr,
                                  .scales = floats.data(),
                                  .tables = codes.data(),
                                  .bases = floats.data(),
                                  .high = nullptr,
                                  .low = nullptr,
                                  .square_factor = 0,
                                  .reserved = 0,
                                  .nearest = nearest.data()};
    baton_error why = {.struct_size = sizeof(why), .message = {}};
    table.ivf_scan(device->handle(), &asked, &why);
    return std::string(why.message);
  };
  CHECK(scan(4, 2).empty());
  CHECK(scan(0, 2) == "k is 0, must be 1 to 1024");
  CHECK(scan(1025, 2) == "k is 1025, must be 1 to 1024");
  CHECK(scan(4, 3) == "a scan of 3 lists for 1 queries, there are 2");
  probes[1] = 2;
  CHECK(scan(4, 2) == "a scan of list 2, there are 2");
  table.ivf_free(device->handle(), lists);
}

}  // namespace baton
