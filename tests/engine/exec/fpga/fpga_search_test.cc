// Search on the emulated card, through XRT: beside a strict best-first walk over the same codes,
// and beside SearchView.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <future>
#include <iostream>
#include <set>
#include <thread>

#include "tests/engine/exec/fpga/search_harness.h"
#include "tests/support/figure.h"
#include "tests/support/sanitized.h"

namespace baton {
namespace {

using Catch::Contains;

std::vector<std::vector<Neighbor>> OnCpu(const CollectionView& view,
                                         const std::vector<std::vector<float>>& queries,
                                         const SearchParams& params) {
  std::vector<std::vector<Neighbor>> neighbors;
  REQUIRE_OK(SearchView(
      view, queries, params, [] { return absl::OkStatus(); }, &neighbors));
  return neighbors;
}

double Recall(const std::vector<std::vector<Neighbor>>& found,
              const std::vector<std::vector<Neighbor>>& nearest) {
  size_t all = 0;
  size_t hits = 0;
  for (size_t i = 0; i < nearest.size(); ++i) {
    for (const Neighbor& neighbor : nearest[i]) {
      ++all;
      hits += static_cast<size_t>(std::count(found[i].begin(), found[i].end(), neighbor));
    }
  }
  return static_cast<double>(hits) / static_cast<double>(all);
}

// How many of the queries have the strict CPU's ids, scores and order.
size_t SameAsStrict(const std::vector<std::vector<Neighbor>>& found, const StrictCpu& cpu,
                    const std::vector<std::vector<float>>& queries, const SearchParams& params,
                    const StrictCpu::Accepts& accepts = nullptr) {
  size_t same = 0;
  for (size_t i = 0; i < queries.size(); ++i) {
    same += found[i] == cpu.Search(queries[i], params.k, params.ef, accepts);
  }
  return same;
}

// That `n` is below `end`; in these tests it is a point's id modulo 7.
std::shared_ptr<const Filter> Below(int64_t end) {
  std::vector<FilterValue> any;
  for (int64_t n = 0; n < end; ++n) any.emplace_back(n);
  return std::make_shared<Filter>(Condition{.field = "n", .test = Match{.any = std::move(any)}});
}
StrictCpu::Accepts IdsBelow(int64_t end) {
  return [end](PointId id) { return static_cast<int64_t>(id % 7) < end; };
}

TEST_CASE("a thousand queries through the executor have exactly the ids and order of the CPU") {
  const Metric metric = GENERATE(Metric::kL2, Metric::kDot);
  CAPTURE(static_cast<int>(metric));
  CollectionSpec spec = GraphSpec(metric);
  spec.storage = VectorStorage::kInt8;
  FpgaStore store(spec);
  store.whole = true;
  store.Upsert(0, 3200);
  store.store->WaitUntilIdle();
  store.Upsert(3200, 100);  // beside segments, what still grows
  FpgaOptions options = EmulatedFpga();
  PluginExecutor fpga = MakeFpga(options);
  REQUIRE(fpga.executor->search() != nullptr);
  CHECK(fpga.executor->Describe().emulated);

  const auto view = store.View();
  const SearchParams params{.k = 10, .ef = 40};
  CHECK(fpga.executor->search()->Unable(*view, params) == "");
  const auto queries = store.Queries(1000);
  std::promise<SearchBatchResult> promise;
  fpga.executor->search()->Execute(
      {.view = view, .queries = queries, .params = params},
      [&promise](SearchBatchResult result) { promise.set_value(std::move(result)); });
  const SearchBatchResult result = promise.get_future().get();
  REQUIRE_OK(result.status);
  const size_t strict = SameAsStrict(result.neighbors, StrictCpu(view), queries, params);
  PrintFigure("hnsw.same_order_share", static_cast<double>(strict) / 1000);
  CHECK(strict == 1000);
  // The CPU as it serves walks by codes of 13 bits, and takes ties as they come.
  const auto served = OnCpu(*view, queries, params);
  size_t same = 0;
  for (size_t i = 0; i < queries.size(); ++i) same += result.neighbors[i] == served[i];
  SearchParams exact = params;
  exact.exact = true;
  const auto nearest = OnCpu(*view, queries, exact);
  std::cout << "1000 queries: " << same << " as SearchView answers; recall "
            << Recall(result.neighbors, nearest) << ", the CPU's " << Recall(served, nearest)
            << "\n";
  CHECK(same >= 990);
}

TEST_CASE("floats of every metric are scored here and found by strict walks on their codes") {
  const Metric metric = GENERATE(Metric::kL2, Metric::kDot, Metric::kCosine);
  CAPTURE(static_cast<int>(metric));
  FpgaStore store(GraphSpec(metric));
  store.Upsert(0, 1600);
  store.store->WaitUntilIdle();
  store.Upsert(1500, 200);  // some anew
  store.Delete({3, 77, 149});
  FpgaSearch fpga;
  const auto view = store.View();
  const auto queries = store.Queries(100);
  const SearchParams params{.k = 10, .ef = 40};
  const auto found = fpga.Must(view, queries, params);
  CHECK(SameAsStrict(found, StrictCpu(view), queries, params) == queries.size());
  CHECK(fpga.search.graphs().Residency().walks > 0);
  // Walks by other codes than the CPU's meet other rows; as many of the nearest, on the whole.
  SearchParams exact = params;
  exact.exact = true;
  const auto nearest = OnCpu(*view, queries, exact);
  CHECK(Recall(found, nearest) >= Recall(OnCpu(*view, queries, params), nearest) - 0.01);
}

TEST_CASE("offsets and thresholds and single queries are answered as on the CPU") {
  CollectionSpec spec = GraphSpec();
  spec.storage = VectorStorage::kInt8;
  FpgaStore store(spec);
  store.whole = true;
  store.Upsert(0, 1600);
  store.store->WaitUntilIdle();
  FpgaSearch fpga;
  const auto view = store.View();
  const auto queries = store.Queries(20);
  const StrictCpu cpu(view);
  for (const auto& query : queries) {
    const auto found = fpga.Must(view, {query}, {.k = 5, .ef = 40, .offset = 3});
    const std::vector<Neighbor> all = cpu.Search(query, 8, 40);
    CHECK(found[0] == std::vector<Neighbor>(all.begin() + 3, all.end()));
    const auto near =
        fpga.Must(view, {query}, {.k = 8, .ef = 40, .score_threshold = all[3].distance});
    CHECK(near[0] == std::vector<Neighbor>(all.begin(), all.begin() + 4));
  }
  CHECK(fpga.Must(view, {}, {.k = 3}).empty());
  // Beyond what codes reach: walked here.
  const int64_t walks = fpga.search.graphs().Residency().walks;
  std::vector<float> far(kSearchDimension, 0.0f);
  far[0] = 1e5f;
  CHECK(fpga.Must(view, {far}, {.k = 5, .ef = 40})[0] ==
        OnCpu(*view, {far}, {.k = 5, .ef = 40})[0]);
  CHECK(fpga.search.graphs().Residency().walks == walks);
}

TEST_CASE("filtered answers are the strict CPU's and of few matches the CPU's") {
  const bool whole = GENERATE(true, false);
  CAPTURE(whole);
  CollectionSpec spec = GraphSpec();
  if (whole) spec.storage = VectorStorage::kInt8;
  FpgaStore store(spec, 6400);
  store.whole = whole;
  REQUIRE_OK(store.store->CreatePayloadIndex("c", {"n", PayloadIndexKind::kInteger}));
  store.Upsert(0, 6400);
  store.store->WaitUntilIdle();
  store.Upsert(6400, 90);  // beside the segment, what still grows
  store.Delete({7, 14, 21, 3333});
  FpgaSearch fpga;
  const auto view = store.View();
  const auto queries = store.Queries(60);
  const StrictCpu strict(view);
  SearchParams params{.k = 10, .ef = 40};
  const auto walks = [&] { return fpga.search.graphs().Residency().walks; };
  for (const int64_t below : {6, 5, 4, 3}) {
    CAPTURE(below);
    params.filter = Below(below);
    const int64_t walks_before = walks();
    const auto found = fpga.Must(view, queries, params);
    CHECK(walks() == walks_before + std::ssize(queries));
    CHECK(SameAsStrict(found, strict, queries, params, IdsBelow(below)) == queries.size());
    CHECK(strict.too_few() == 0);
    // The CPU as it serves walks along rows that match, the card past those that do not: other
    // rows, and of the nearest no fewer.
    SearchParams exact = params;
    exact.exact = true;
    const auto nearest = OnCpu(*view, queries, exact);
    const double recall = Recall(found, nearest);
    const double served = Recall(OnCpu(*view, queries, params), nearest);
    std::cout << below << " of 7 match: recall " << recall << ", the CPU's " << served << "\n";
    CHECK(recall >= served - 0.02);
  }
  // So few match that all of them are compared, here as on the CPU: one answer.
  params.filter = Below(1);
  const int64_t walks_before = walks();
  CHECK(fpga.Must(view, queries, params) == OnCpu(*view, queries, params));
  // None, and all.
  params.filter =
      std::make_shared<Filter>(Condition{.field = "n", .test = Match{.any = {int64_t{100}}}});
  for (const auto& its : fpga.Must(view, queries, params)) CHECK(its.empty());
  CHECK(walks() == walks_before);
  params.filter = Below(7);
  CHECK(SameAsStrict(fpga.Must(view, queries, params), strict, queries, params, IdsBelow(7)) ==
        queries.size());
  params.filter =
      std::make_shared<Filter>(Condition{.field = "m", .test = Match{.any = {int64_t{0}}}});
  CHECK(absl::IsFailedPrecondition(fpga.Submit(view, queries, params).get().status));
}

TEST_CASE("where a walk meets too few matches the answer is the CPU's") {
  CollectionSpec spec = GraphSpec();
  spec.storage = VectorStorage::kInt8;
  FpgaStore store(spec, 6400);
  REQUIRE_OK(store.store->CreatePayloadIndex("c", {"n", PayloadIndexKind::kInteger}));
  // Two clouds far from each other, of which the filter has the one where no query is.
  const auto vector = [&](bool there) {
    std::vector<float> made = RandomVector(store.random, kSearchDimension);
    for (float& value : made) value = std::clamp(std::round(value * 8), -30.0f, 30.0f);
    made[0] = there ? 120.0f : -120.0f;
    return made;
  };
  std::vector<Point> points;
  for (int64_t i = 0; i < 6400; ++i) {
    const bool there = i % 2 == 0;
    points.push_back(MakePoint(static_cast<PointId>(i), vector(there), {{"n", there ? 1 : 0}}));
  }
  REQUIRE_OK(CommitOne(*store.store, "c", std::move(points)).status);
  store.store->WaitUntilIdle();
  FpgaSearch fpga;
  const auto view = store.View();
  std::vector<std::vector<float>> queries;
  for (int i = 0; i < 20; ++i) queries.push_back(vector(false));
  SearchParams params{.k = 10, .ef = 40};
  params.filter =
      std::make_shared<Filter>(Condition{.field = "n", .test = Match{.any = {int64_t{1}}}});
  const auto found = fpga.Must(view, queries, params);
  CHECK(fpga.search.graphs().Residency().walks == std::ssize(queries));
  CHECK(found == OnCpu(*view, queries, params));
  for (const auto& its : found) CHECK(its.size() == 10);
}

TEST_CASE("answers are the strict CPU's while points come and go and segments merge") {
  CollectionSpec spec = GraphSpec();
  spec.storage = VectorStorage::kInt8;
  FpgaStore store(spec, 1600);
  store.whole = true;
  REQUIRE_OK(store.store->CreatePayloadIndex("c", {"n", PayloadIndexKind::kInteger}));
  store.Upsert(0, 3200);
  store.store->WaitUntilIdle();
  FpgaSearch fpga;
  const auto queries = store.Queries(6);
  SearchParams params{.k = 6, .ef = 32};
  std::atomic<bool> done = false;
  std::thread writer([&] {
    std::mt19937 random(9);
    // New points for the most part, so that new segments are worth a walk.
    PointId next = 3200;
    const int rounds_max = kSanitized ? 150 : 1000;
    for (int round = 0; round < 45 || (!done && round < rounds_max); ++round) {
      std::vector<Point> points;
      for (int i = 0; i < 80; ++i) {
        std::vector<float> vector = RandomVector(random, kSearchDimension);
        for (float& value : vector) value = std::clamp(std::round(value * 25), -127.0f, 127.0f);
        const PointId id = i < 4 ? random() % next : next++;
        points.push_back(MakePoint(id, std::move(vector), {{"n", static_cast<int64_t>(id % 7)}}));
      }
      static_cast<void>(
          CommitOne(*store.store, "c", std::move(points), {random() % next, random() % next}));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  std::set<const Segment*> segments;
  std::shared_ptr<const CollectionView> first = store.View();
  size_t same = 0;
  size_t asked = 0;
  int64_t too_few = 0;
  const auto loaded = [&] { return fpga.search.graphs().Residency().loaded; };
  const auto ask = [&](int round, const std::shared_ptr<const CollectionView>& view) {
    for (const auto& part : view->segments()) segments.insert(part.segment.get());
    const bool filtered = round % 2 == 0;
    params.filter = filtered ? Below(5) : nullptr;
    std::vector<std::future<SearchBatchResult>> pending;
    for (const auto& query : queries) pending.push_back(fpga.Submit(view, {query}, params));
    const StrictCpu cpu(view);
    for (size_t i = 0; i < queries.size(); ++i) {
      const SearchBatchResult result = pending[i].get();
      REQUIRE_OK(result.status);
      ++asked;
      same += result.neighbors[0] ==
              cpu.Search(queries[i], params.k, params.ef, filtered ? IdsBelow(5) : nullptr);
    }
    too_few += cpu.too_few();
  };
  // Until a segment that came meanwhile was walked, if graphs are built that quickly here. Now and
  // then a view of before, whatever the card has seen since.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  const int rounds = kSanitized ? 8 : 25;
  for (int round = 0; round < rounds || (loaded() < 3 && std::chrono::steady_clock::now() < until);
       ++round) {
    ask(round, round % 5 == 4 ? first : store.View());
  }
  done = true;
  writer.join();
  store.store->WaitUntilIdle();
  for (int round = 0; round < 2; ++round) ask(round, store.View());
  CHECK(same == asked);
  CHECK(too_few == 0);
  CHECK(segments.size() > 2);
  const GraphResidency graphs = fpga.search.graphs().Residency();
  CHECK(graphs.loaded > 2);
  CHECK(graphs.loaded == graphs.graphs + graphs.evicted + graphs.dropped + graphs.lost);
}

TEST_CASE("what was not searched for the longest makes room and what is too large is refused") {
  FpgaStore store(GraphSpec());
  for (const char* name : {"d", "e"}) {
    REQUIRE_OK(store.store->CreateCollection(GraphSpec(Metric::kL2, name), ""));
  }
  for (const char* name : {"c", "d", "e"}) {
    store.Upsert(0, 1600, name);
    store.store->WaitUntilIdle();
  }
  // 1,600 codes of 64 bytes, 16 links each and some upper ones: a graph fills a bank of the four
  // that have 256 KiB each, and two of the three collections fit at most where others walk.
  FpgaSearch fpga(1);
  const SearchParams params{.k = 4, .ef = 40};
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"c", "d", "e"}) {
      const auto view = store.View(name);
      const auto queries = store.Queries(3, name);
      CHECK(fpga.search.Unable(*view, params) == "");
      CHECK(SameAsStrict(fpga.Must(view, queries, params), StrictCpu(view), queries, params) == 3);
    }
  }
  CHECK(fpga.search.graphs().Residency().loaded == 3);
  CHECK(fpga.search.graphs().Residency().evicted == 0);
  for (const char* name : {"f", "g"}) {
    REQUIRE_OK(store.store->CreateCollection(GraphSpec(Metric::kL2, name), ""));
    store.Upsert(0, 1600, name);
    store.store->WaitUntilIdle();
  }
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"c", "d", "e", "f", "g"}) {
      const auto view = store.View(name);
      const auto queries = store.Queries(3, name);
      CHECK(SameAsStrict(fpga.Must(view, queries, params), StrictCpu(view), queries, params) == 3);
    }
  }
  CHECK(fpga.search.graphs().Residency().evicted > 4);

  FpgaStore large(GraphSpec(), 3200);
  large.Upsert(0, 3200);
  large.store->WaitUntilIdle();
  const std::string why = fpga.search.Unable(*large.View(), params);
  CHECK_THAT(why, Contains("the largest of ") && Contains("bytes of each of 4 banks of the FPGA") &&
                      Contains("262144 for graphs"));
  // Who asks nevertheless is answered here.
  const auto view = large.View();
  const auto queries = large.Queries(2);
  CHECK(fpga.Must(view, queries, params) == OnCpu(*view, queries, params));
}

TEST_CASE("searches that leave nothing to the card are refused before they are sent") {
  FpgaStore store(GraphSpec());
  store.Upsert(0, 100);
  FpgaSearch fpga;
  CHECK(fpga.search.Unable(*store.View(), {.k = 4}) ==
        "no segment is so large that a walk of the FPGA pays");
  CHECK(fpga.search.Unable(*store.View(), {.k = 4, .exact = true}) ==
        "an exact search compares all rows, and the FPGA none");
  FpgaStore big(GraphSpec(), 8400);  // as many as it takes for such a walk to pay
  big.Upsert(0, 8400);
  big.store->WaitUntilIdle();
  CHECK(fpga.search.Unable(*big.View(), {.k = 4, .ef = 257}) ==
        "a walk would keep 257 candidates, the FPGA's limit is 256");
}

TEST_CASE("a search past its deadline ends with it and the next one runs") {
  FpgaStore store(GraphSpec());
  store.Upsert(0, 1600);
  store.store->WaitUntilIdle();
  FpgaSearch fpga;
  const auto view = store.View();
  const auto queries = store.Queries(3);
  const SearchParams params{.k = 4, .ef = 40};
  const SearchBatchResult late = fpga.Submit(view, queries, params, 1).get();
  CHECK(absl::IsDeadlineExceeded(late.status));
  CHECK(SameAsStrict(fpga.Must(view, queries, params), StrictCpu(view), queries, params) == 3);
}

TEST_CASE("the executor searches where memory is set aside") {
  FpgaOptions options = EmulatedFpga();
  options.search_memory_mb = 0;
  CHECK(MakeFpga(options).executor->search() == nullptr);
}

}  // namespace
}  // namespace baton
