// SearchView with walks that are made elsewhere.
#include "engine/vector/view_walker.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "engine/base/status_macros.h"
#include "engine/vector/distance.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

constexpr int kDimension = 16;

// A walker that compares all nodes, and has what it is told to have wrong with it.
class ComparingWalker final : public ViewWalker {
 public:
  enum class Mode { kNearest, kNothing, kNotWalked, kFails, kStale };
  explicit ComparingWalker(Mode mode) : mode_(mode) {}

  bool Takes(const ViewGraph&, int64_t ef) const override { return ef <= ef_max; }
  absl::Status Walk(std::span<const GraphWalk> walks, std::span<const std::vector<float>> queries,
                    absl::FunctionRef<absl::Status()> poll,
                    std::vector<GraphWalked>* walked) override {
    RETURN_IF_ERROR(poll());
    if (mode_ == Mode::kFails) return absl::InternalError("the walker failed");
    for (const GraphWalk& walk : walks) {
      ++taken;
      CHECK(walk.wanted <= walk.ef);
      walked->push_back(One(walk, queries));
    }
    return absl::OkStatus();
  }

  int64_t ef_max = 256;
  int taken = 0;

 private:
  GraphWalked One(const GraphWalk& walk, std::span<const std::vector<float>> queries) const {
    const ViewGraph& graph = walk.graph;
    const CollectionSpec& spec = graph.view().spec();
    std::vector<float> vectors(size_t{graph.nodes()} * static_cast<size_t>(spec.dimension));
    graph.ReadVectors(0, graph.nodes(), vectors.data());
    std::vector<float> distances(graph.nodes());
    const std::vector<uint32_t> live =
        walk.matching.empty() ? graph.FindLiveNodes() : walk.matching;
    // Stale: dead ones are given as well, as many as there are.
    const bool stale = mode_ == Mode::kStale;
    GraphWalked made{.stride = stale ? int64_t{graph.nodes()} : walk.wanted};
    for (const auto& query : queries) {
      DistanceFor(spec.metric)(query.data(), vectors.data(), graph.nodes(), spec.dimension,
                               distances.data());
      std::vector<std::pair<float, uint32_t>> keys;
      for (uint32_t node = 0; node < graph.nodes(); ++node) {
        const bool counts = (live[node / 32] >> node % 32 & 1) != 0;
        if (counts || stale) keys.emplace_back(distances[node], node);
      }
      std::sort(keys.begin(), keys.end());
      if (mode_ == Mode::kNothing) keys.clear();
      for (size_t i = 0; i < static_cast<size_t>(made.stride); ++i) {
        made.nodes.push_back(i < keys.size() ? keys[i].second : UINT32_MAX);
      }
      made.walked.push_back(mode_ == Mode::kNotWalked ? 0 : 1);
    }
    return made;
  }

  const Mode mode_;
};

struct Walked {
  Walked() {
    CollectionSpec spec = Spec("c", kDimension);
    spec.hnsw_m = 4;
    VectorOptions options = TestOptions(dir.path());
    options.seal_points = 2000;
    auto opened = VectorStore::Open(options, metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
    REQUIRE_OK(store->CreateCollection(spec, ""));
    REQUIRE_OK(store->CreatePayloadIndex("c", {"n", PayloadIndexKind::kInteger}));
    std::vector<Point> points;
    for (int64_t i = 0; i < 2000; ++i) {
      // Some vectors are several points'.
      std::vector<float> vector =
          i % 10 == 9 ? points.back().vector : RandomVector(random, kDimension);
      points.push_back(MakePoint(static_cast<PointId>(i), std::move(vector), {{"n", i % 4}}));
    }
    REQUIRE_OK(CommitOne(*store, "c", std::move(points)).status);
    store->WaitUntilIdle();
    REQUIRE_OK(CommitOne(*store, "c", {}, {1, 10, 19, 100, 1000}).status);
    view = *store->View("c");
    for (int i = 0; i < 8; ++i) queries.push_back(RandomVector(random, kDimension));
  }

  std::vector<std::vector<Neighbor>> Search(const SearchParams& params, ViewWalker* walker) const {
    std::vector<std::vector<Neighbor>> found;
    REQUIRE_OK(SearchView(
        *view, queries, params, [] { return absl::OkStatus(); }, &found, nullptr, walker));
    return found;
  }

  TempDir dir;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
  std::mt19937 random{4};
  std::shared_ptr<const CollectionView> view;
  std::vector<std::vector<float>> queries;
};

TEST_CASE("what a walker finds is scored and cut and ordered as the view's own") {
  using Mode = ComparingWalker::Mode;
  const Walked c;
  SearchParams params{.k = 9, .ef = 40};
  for (const bool filtered : {false, true}) {
    CAPTURE(filtered);
    if (filtered) {
      params.filter = std::make_shared<Filter>(
          Condition{.field = "n", .test = Match{.any = {int64_t{0}, int64_t{1}, int64_t{2}}}});
    }
    SearchParams exact = params;
    exact.exact = true;
    for (const Mode mode : {Mode::kNearest, Mode::kStale}) {
      if (filtered && mode == Mode::kStale) continue;  // which match is never old
      ComparingWalker walker(mode);
      CHECK(c.Search(params, &walker) == c.Search(exact, nullptr));
      CHECK(walker.taken == 1);
      SearchParams paged = params;
      paged.k = 4;
      paged.offset = 3;
      SearchParams exact_page = paged;
      exact_page.exact = true;
      CHECK(c.Search(paged, &walker) == c.Search(exact_page, nullptr));
    }
    // Too little, or nothing: as without it.
    for (const Mode mode : {Mode::kNothing, Mode::kNotWalked}) {
      ComparingWalker walker(mode);
      CHECK(c.Search(params, &walker) == c.Search(params, nullptr));
      CHECK(walker.taken == 1);
    }
  }
}

TEST_CASE("a walker is not asked for what it does not take or what is scanned") {
  const Walked c;
  ComparingWalker walker(ComparingWalker::Mode::kNothing);
  walker.ef_max = 30;
  CHECK(c.Search({.k = 9, .ef = 40}, &walker) == c.Search({.k = 9, .ef = 40}, nullptr));
  static_cast<void>(c.Search({.k = 9, .exact = true}, &walker));
  static_cast<void>(c.Search({.k = 9, .ef = 1900}, &walker));
  CHECK(walker.taken == 0);
}

TEST_CASE("a walker's error is the search's") {
  const Walked c;
  ComparingWalker walker(ComparingWalker::Mode::kFails);
  std::vector<std::vector<Neighbor>> found;
  const absl::Status failed = SearchView(
      *c.view, c.queries, {.k = 9, .ef = 40}, [] { return absl::OkStatus(); }, &found, nullptr,
      &walker);
  CHECK(failed == absl::InternalError("the walker failed"));
}

}  // namespace
}  // namespace baton
