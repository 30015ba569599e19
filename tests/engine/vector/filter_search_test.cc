// Filtered searches and the other questions to a view, beside a naive twin.

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/vector/view_filter.h"
#include "engine/vector/view_queries.h"
#include "engine/vector/word_split.h"
#include "tests/engine/vector/filter_harness.h"

namespace baton {
namespace {

constexpr int kDimension = 4;
constexpr int32_t kIds = 400;

std::unique_ptr<VectorStore> OpenStore(const VectorOptions& options, Metrics& metrics) {
  auto store = VectorStore::Open(options, metrics);
  REQUIRE_OK(store);
  return *std::move(store);
}

Payload RandomPatchSet(std::mt19937& random) {
  Payload set = RandomPayload(random);
  while (set.size() > 2) set.erase(set.begin());
  return set;
}

// One random write, to the store and the twin.
void WriteRandomly(VectorStore& store, PointTwin& twin, std::mt19937& random) {
  Write write{.collection = "c"};
  if (random() % 8 == 0) {
    write.filter = std::make_shared<Filter>(RandomFilter(random, kIds));
    PayloadPatch patch;
    for (const auto& [id, vector] : MatchingTwin(twin, *write.filter)) patch.ids.push_back(id);
    if (random() % 4 == 0 && patch.ids.size() < twin.size() / 4) {
      const size_t count = patch.ids.size();
      for (const PointId id : patch.ids) twin.erase(id);
      const WriteResult result = CommitWrite(store, std::move(write));
      REQUIRE_OK(result.status);
      REQUIRE(result.deleted == static_cast<int64_t>(count));
      return;
    }
    patch.set = RandomPatchSet(random);
    if (patch.set.empty()) patch.clear = true;
    ApplyPatch(twin, patch);
    const auto count = static_cast<int64_t>(patch.ids.size());
    patch.ids.clear();
    write.patches.push_back(std::move(patch));
    const WriteResult result = CommitWrite(store, std::move(write));
    REQUIRE_OK(result.status);
    REQUIRE(result.patched == count);
    return;
  }
  for (size_t i = random() % 12; i > 0; --i) {
    write.upserts.push_back(
        MakePoint(random() % kIds, RandomVector(random, kDimension), RandomPayload(random)));
  }
  for (size_t i = random() % 4; i > 0; --i) write.deletes.push_back(random() % kIds);
  if (random() % 2 == 0 || (write.upserts.empty() && write.deletes.empty())) {
    PayloadPatch patch{.clear = random() % 8 == 0, .delete_keys = {"color"}};
    for (size_t i = 1 + random() % 6; i > 0; --i) patch.ids.push_back(random() % kIds);
    patch.set = RandomPatchSet(random);
    write.patches.push_back(std::move(patch));
  }
  for (const PointId id : write.deletes) twin.erase(id);
  for (const Point& point : write.upserts) twin[point.id] = point;
  for (const PayloadPatch& patch : write.patches) ApplyPatch(twin, patch);
  REQUIRE_OK(CommitWrite(store, std::move(write)).status);
}

void CheckQuestions(const CollectionView& view, const PointTwin& twin, std::mt19937& random) {
  const auto filter = std::make_shared<Filter>(RandomFilter(random, kIds));
  const Twin matching = MatchingTwin(twin, *filter);
  const std::vector<float> query = RandomVector(random, kDimension);
  const int32_t k = 1 + static_cast<int32_t>(random() % 30);
  SearchParams params{.k = k, .exact = true, .filter = filter};
  const std::vector<Neighbor> expected = NaiveSearch(matching, Metric::kL2, query, k);
  REQUIRE(Search(view, query, params) == expected);
  params.exact = false;
  params.ef = 1 + static_cast<int32_t>(random() % 40);
  const std::vector<Neighbor> found = Search(view, query, params);
  REQUIRE(found.size() == expected.size());
  for (const Neighbor& neighbor : found) REQUIRE(matching.contains(neighbor.id));

  const auto count = CountView(view, filter.get());
  REQUIRE_OK(count);
  REQUIRE(*count == static_cast<int64_t>(matching.size()));

  std::vector<PointId> scrolled;
  PointId first = 0;
  for (bool more = true; more;) {
    const auto page =
        ScrollView(view, filter.get(), first, 1 + static_cast<int32_t>(random() % 40));
    REQUIRE_OK(page);
    scrolled.insert(scrolled.end(), page->ids.begin(), page->ids.end());
    more = page->next.has_value();
    first = page->next.value_or(0);
  }
  std::vector<PointId> ids;
  for (const auto& [id, vector] : matching) ids.push_back(id);
  REQUIRE(scrolled == ids);

  std::map<FilterValue, int64_t> counts;
  for (const PointId id : ids) {
    const Payload& payload = twin.at(id).payload;
    const auto tags = payload.find("tags");
    if (tags == payload.end()) continue;
    const auto& values = std::get<std::vector<std::string>>(tags->second);
    for (const std::string& tag : std::set(values.begin(), values.end())) ++counts[tag];
  }
  std::vector<FacetHit> hits;
  for (const auto& [value, points] : counts) hits.push_back({.value = value, .points = points});
  std::sort(hits.begin(), hits.end(), [](const FacetHit& a, const FacetHit& b) {
    return a.points > b.points || (a.points == b.points && a.value < b.value);
  });
  hits.resize(std::min<size_t>(hits.size(), 3));
  const auto facet = FacetView(view, "tags", filter.get(), 3);
  REQUIRE_OK(facet);
  REQUIRE(*facet == hits);
}

void CheckGroups(const CollectionView& view, const PointTwin& twin, std::mt19937& random) {
  const std::vector<float> query = RandomVector(random, kDimension);
  const GroupBy group_by{.field = "color", .group_size = 1 + static_cast<int32_t>(random() % 4)};
  const int32_t limit = 1 + static_cast<int32_t>(random() % 8);  // there are six colors
  std::vector<NeighborGroup> groups;
  REQUIRE_OK(SearchViewGroups(
      view, query, {.k = limit, .exact = true}, group_by, [] { return absl::OkStatus(); },
      &groups));
  Twin all;
  for (const auto& [id, point] : twin) all[id] = point.vector;
  std::vector<FilterValue> order;
  std::map<FilterValue, std::vector<Neighbor>> expected;
  for (const Neighbor& neighbor : NaiveSearch(all, Metric::kL2, query, kIds)) {
    const Payload& payload = twin.at(neighbor.id).payload;
    const auto color = payload.find("color");
    if (color == payload.end()) continue;
    const FilterValue value = std::get<std::string>(color->second);
    if (expected[value].empty()) order.push_back(value);
    if (std::ssize(expected[value]) < group_by.group_size) expected[value].push_back(neighbor);
  }
  REQUIRE(groups.size() == std::min<size_t>(order.size(), limit));
  for (size_t i = 0; i < groups.size(); ++i) {
    REQUIRE(groups[i].value == order[i]);
    REQUIRE(groups[i].neighbors == expected[order[i]]);
  }
}

TEST_CASE("filters mean the same as their naive twin while points come, change and go") {
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = 32;
  auto store = OpenStore(options, metrics);
  CollectionSpec spec = Spec("c", kDimension);
  spec.hnsw_m = 2;
  REQUIRE_OK(store->CreateCollection(spec, ""));
  std::mt19937 random(1);
  PointTwin twin;
  for (int i = 0; i < 40; ++i) {
    Write write{.collection = "c"};
    for (int j = 0; j < 8; ++j) {
      write.upserts.push_back(
          MakePoint(random() % kIds, RandomVector(random, kDimension), RandomPayload(random)));
      twin[write.upserts.back().id] = write.upserts.back();
    }
    REQUIRE_OK(CommitWrite(*store, std::move(write)).status);
  }
  // Some indexes are late.
  for (size_t i = 0; i < TestIndexes().size(); ++i) {
    REQUIRE_OK(store->CreatePayloadIndex("c", TestIndexes()[i]));
    if (i == 3) store->WaitUntilIdle();
  }
  REQUIRE(store->Describe("c")->payload_indexes == TestIndexes());
  for (int round = 0; round < 300; ++round) {
    CAPTURE(round);
    WriteRandomly(*store, twin, random);
    if (round % 30 == 0) store->WaitUntilIdle();
    const auto view = store->View("c");
    REQUIRE_OK(view);
    REQUIRE((*view)->points() == static_cast<int64_t>(twin.size()));
    CheckQuestions(**view, twin, random);
    if (round % 10 == 0) CheckGroups(**view, twin, random);
    if (round % 100 == 50) {  // what is open again answers the same
      store.reset();
      store = OpenStore(options, metrics);
    }
    if (round % 100 == 80) {
      REQUIRE_OK(store->DropPayloadIndex("c", "n"));
      REQUIRE_OK(store->CreatePayloadIndex("c", {"n", PayloadIndexKind::kInteger}));
    }
  }
  for (const auto& [id, point] : twin) {
    const auto stored = store->Get("c", std::vector<PointId>{id}, true, true);
    REQUIRE_OK(stored);
    REQUIRE(stored->at(0).payload == point.payload);
    REQUIRE(stored->at(0).vector == point.vector);
  }
}

TEST_CASE("a view shows payloads as they were when it was taken") {
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  auto store = OpenStore(options, metrics);
  REQUIRE_OK(store->CreateCollection(Spec("c", 2), ""));
  REQUIRE_OK(store->CreatePayloadIndex("c", {"n", PayloadIndexKind::kInteger}));
  std::vector<Point> points;
  for (PointId id = 0; id < 100; ++id) {
    points.push_back(MakePoint(id, {static_cast<float>(id), 0}, {{"n", int64_t{0}}}));
  }
  REQUIRE_OK(CommitOne(*store, "c", points).status);
  store->WaitUntilIdle();  // 64 of them are in a segment
  const auto matches = [&](const CollectionView& view, int64_t n) {
    const Filter filter({.field = "n", .test = Match{.any = {n}}});
    const auto count = CountView(view, &filter);
    REQUIRE_OK(count);
    return *count;
  };
  std::vector<std::shared_ptr<const CollectionView>> views;
  // More patches than a segment keeps beside its columns.
  for (int64_t n = 1; n <= 40; ++n) {
    views.push_back(*store->View("c"));
    Write write{.collection = "c"};
    write.patches.push_back({.set = {{"n", n}}});
    for (PointId id = 0; id < 100; ++id) write.patches[0].ids.push_back(id);
    write.patches[0].ids.push_back(1000);  // there is no such point
    REQUIRE(CommitWrite(*store, std::move(write)).patched == 100);
  }
  for (int64_t n = 0; n < 40; ++n) {
    REQUIRE(matches(*views[n], n) == 100);
    REQUIRE(matches(*views[n], n + 1) == 0);
  }
  REQUIRE(matches(**store->View("c"), 40) == 100);
}

TEST_CASE("a filtered walk finds the nearest that match, near the query or far from it") {
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = 6000;
  auto store = OpenStore(options, metrics);
  CollectionSpec spec = Spec("c", 8);
  REQUIRE_OK(store->CreateCollection(spec, ""));
  REQUIRE_OK(store->CreatePayloadIndex("c", {"any", PayloadIndexKind::kInteger}));
  REQUIRE_OK(store->CreatePayloadIndex("c", {"first", PayloadIndexKind::kNumber}));
  std::mt19937 random(2);
  Twin all;
  PointTwin twin;
  std::vector<Point> points;
  for (PointId id = 0; id < 6000; ++id) {
    const std::vector<float> vector = RandomVector(random, 8);
    points.push_back(MakePoint(
        id, vector, {{"any", static_cast<int64_t>(random() % 100)}, {"first", double{vector[0]}}}));
    twin[id] = points.back();
  }
  REQUIRE_OK(CommitOne(*store, "c", points).status);
  store->WaitUntilIdle();
  const auto view = *store->View("c");
  REQUIRE(view->segments().size() == 1);
  for (const bool far : {false, true}) {
    for (const int64_t percent : {1, 10, 30, 50, 90, 99}) {
      int64_t right = 0;
      for (int i = 0; i < 20; ++i) {
        std::vector<float> query = RandomVector(random, 8);
        Condition condition{.field = "any", .test = InRange{Bounds<int64_t>{.lt = percent}}};
        if (far) {
          query[0] = 2;
          // Quantiles of the first value, from below.
          const double limit = percent == 1    ? -2.33
                               : percent == 10 ? -1.28
                               : percent == 30 ? -0.52
                               : percent == 50 ? 0.0
                               : percent == 90 ? 1.28
                                               : 2.33;
          condition = {.field = "first", .test = InRange{Bounds<double>{.lt = limit}}};
        }
        const auto filter = std::make_shared<Filter>(condition);
        const Twin matching = MatchingTwin(twin, *filter);
        const auto found = Search(*view, query, {.k = 10, .ef = 32, .filter = filter});
        const auto expected = NaiveSearch(matching, Metric::kL2, query, 10);
        REQUIRE(found.size() == expected.size());
        for (const Neighbor& neighbor : found) {
          right += std::count(expected.begin(), expected.end(), neighbor);
        }
      }
      CAPTURE(far, percent);
      REQUIRE(right >= 190);
    }
  }
}

// What matches lies beyond a plane through clusters that overlap, and the query on the other side
// of it: the nearest matches are few among many that do not match, and have few links from others.
TEST_CASE("a filtered walk finds matches among what does not match") {
  constexpr int kValues = 24;
  constexpr int kPoints = 12'000;
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = kPoints;
  options.write_points_max = kPoints;
  auto store = OpenStore(options, metrics);
  CollectionSpec spec = Spec("c", kValues);
  spec.hnsw_m = 6;
  REQUIRE_OK(store->CreateCollection(spec, ""));
  REQUIRE_OK(store->CreatePayloadIndex("c", {"first", PayloadIndexKind::kNumber}));
  std::mt19937 random(3);
  std::vector<std::vector<float>> centers;
  for (int i = 0; i < 40; ++i) centers.push_back(RandomVector(random, kValues));
  const auto draw = [&] {
    std::vector<float> vector = RandomVector(random, kValues);
    const std::vector<float>& center = centers[random() % centers.size()];
    for (int i = 0; i < kValues; ++i) vector[i] = center[i] + 0.7f * vector[i];
    return vector;
  };
  PointTwin twin;
  std::vector<Point> points;
  for (PointId id = 0; id < kPoints; ++id) {
    const std::vector<float> vector = draw();
    points.push_back(MakePoint(id, vector, {{"first", double{vector[0]}}}));
    twin[id] = points.back();
  }
  REQUIRE_OK(CommitOne(*store, "c", points).status);
  store->WaitUntilIdle();
  const auto view = *store->View("c");
  REQUIRE(view->segments().size() == 1);
  std::vector<double> firsts;
  for (const Point& point : points) firsts.push_back(point.vector[0]);
  std::sort(firsts.begin(), firsts.end());
  const auto filter = std::make_shared<Filter>(
      Condition{.field = "first", .test = InRange{Bounds<double>{.lt = firsts[kPoints / 5]}}});
  const Twin matching = MatchingTwin(twin, *filter);
  int64_t right = 0;
  for (int i = 0; i < 50; ++i) {
    std::vector<float> query = draw();
    while (query[0] < firsts[kPoints / 2]) query = draw();
    const auto found = Search(*view, query, {.k = 10, .ef = 32, .filter = filter});
    const auto expected = NaiveSearch(matching, Metric::kL2, query, 10);
    REQUIRE(found.size() == expected.size());
    for (const Neighbor& neighbor : found) {
      right += std::count(expected.begin(), expected.end(), neighbor);
    }
  }
  REQUIRE(right >= 420);
}

// From the second search by a filter on, what matches is known by node.
TEST_CASE("a filter that is asked again finds what matches then, whatever comes between") {
  constexpr int kValues = 16;
  constexpr int kPoints = 8000;
  constexpr int kSearches = 40;
  const int64_t percent = GENERATE(15, 30, 60);  // compared with all, walked, walked
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = kPoints;
  options.write_points_max = kPoints;
  auto store = OpenStore(options, metrics);
  REQUIRE_OK(store->CreateCollection(Spec("c", kValues), ""));
  REQUIRE_OK(store->CreatePayloadIndex("c", {"any", PayloadIndexKind::kInteger}));
  std::mt19937 random(5);
  PointTwin twin;
  std::vector<Point> points;
  for (PointId id = 0; id < kPoints; ++id) {
    // One in three has another's vector, which makes them one node, and a value of its own.
    const std::vector<float> vector =
        id % 3 == 2 ? points[random() % points.size()].vector : RandomVector(random, kValues);
    Payload payload;
    payload.emplace("any", static_cast<int64_t>(random() % 100));
    points.push_back(MakePoint(id, vector, payload));
    twin[id] = points.back();
  }
  REQUIRE_OK(CommitOne(*store, "c", points).status);
  store->WaitUntilIdle();
  const auto filter = std::make_shared<Filter>(
      Condition{.field = "any", .test = InRange{Bounds<int64_t>{.lt = percent}}});
  const auto check = [&](const std::string& when) {
    CAPTURE(when, percent);
    const auto view = *store->View("c");
    const Twin matching = MatchingTwin(twin, *filter);
    int64_t right = 0;
    for (int i = 0; i < kSearches; ++i) {
      const std::vector<float> query = RandomVector(random, kValues);
      const auto found = Search(*view, query, {.k = 10, .ef = 64, .filter = filter});
      const auto expected = NaiveSearch(matching, Metric::kL2, query, 10);
      REQUIRE(found.size() == expected.size());
      for (const Neighbor& neighbor : found) {
        REQUIRE(matching.contains(neighbor.id));
        right += std::count(expected.begin(), expected.end(), neighbor);
      }
    }
    REQUIRE(right >= kSearches * 10 * 95 / 100);
  };
  check("at first");
  Write go{.collection = "c"};
  for (PointId id = 0; id < kPoints; id += 3) {
    go.deletes.push_back(id);
    twin.erase(id);
  }
  REQUIRE_OK(CommitWrite(*store, std::move(go)).status);
  check("a third is deleted");
  Write patch{.collection = "c"};
  patch.patches.resize(2);
  patch.patches[0].set = {{"any", int64_t{99}}};
  patch.patches[1].set = {{"any", int64_t{0}}};
  for (PointId id = 1; id < kPoints; id += 7) patch.patches[id % 2 == 0 ? 0 : 1].ids.push_back(id);
  for (const PayloadPatch& one : patch.patches) ApplyPatch(twin, one);
  REQUIRE_OK(CommitWrite(*store, std::move(patch)).status);
  check("payloads were patched");
  store.reset();
  store = OpenStore(options, metrics);
  check("opened again");
}

TEST_CASE("ids are filtered without any index") {
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = 4000;
  auto store = OpenStore(options, metrics);
  REQUIRE_OK(store->CreateCollection(Spec("c", 8), ""));
  std::mt19937 random(4);
  std::vector<Point> points;
  for (PointId id = 0; id < 4000; ++id) points.push_back(MakePoint(id, RandomVector(random, 8)));
  REQUIRE_OK(CommitOne(*store, "c", points).status);
  store->WaitUntilIdle();
  const auto view = *store->View("c");
  REQUIRE(view->segments().size() == 1);
  for (const PointId count : {1, 40, 400, 2000, 3999}) {
    HasId ids;
    Twin matching;
    for (PointId id = 0; id < count; ++id) {
      ids.ids.push_back(id * 7 % 4000);
      matching[ids.ids.back()] = points[static_cast<size_t>(ids.ids.back())].vector;
    }
    const auto filter = std::make_shared<Filter>(Condition{.field = "", .test = ids});
    const std::vector<float> query = RandomVector(random, 8);
    const auto expected = NaiveSearch(matching, Metric::kL2, query, 10);
    REQUIRE(Search(*view, query, {.k = 10, .exact = true, .filter = filter}) == expected);
    REQUIRE(Search(*view, query, {.k = 10, .ef = 32, .filter = filter}).size() == expected.size());
  }
}

TEST_CASE("a threshold and an offset cut what is found") {
  const TempDir dir;
  Metrics metrics;
  auto store = OpenStore(TestOptions(dir.path()), metrics);
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
    const std::string name = "c" + std::to_string(static_cast<int>(metric));
    REQUIRE_OK(store->CreateCollection(Spec(name, kDimension, metric), ""));
    std::mt19937 random(3);
    Twin twin;
    std::vector<Point> points;
    for (PointId id = 0; id < 1000; ++id) {
      points.push_back(MakePoint(id, RandomVector(random, kDimension)));
      twin[id] = points.back().vector;
    }
    REQUIRE_OK(CommitOne(*store, name, points).status);
    const auto view = *store->View(name);
    for (const size_t within : {0, 1, 50, 300, 999}) {
      const std::vector<float> query = RandomVector(random, kDimension);
      const auto all = NaiveSearch(twin, metric, query, 1000);
      SearchParams params{.k = 1000, .exact = true};
      params.score_threshold = ScoreOf(metric, all[within].distance);
      auto expected = all;
      expected.resize(within + 1);
      REQUIRE(Search(*view, query, params) == expected);
      params.k = 40;
      params.offset = 20;
      expected.resize(std::min<size_t>(expected.size(), 60));
      expected.erase(expected.begin(), expected.begin() + static_cast<int64_t>(std::min<size_t>(
                                                              expected.size(), 20)));
      REQUIRE(Search(*view, query, params) == expected);
    }
  }
}

TEST_CASE("filters that no index answers are refused by name") {
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.payload_indexes_max = 2;
  options.filter_write_points_max = 5;
  auto store = OpenStore(options, metrics);
  REQUIRE_OK(store->CreateCollection(Spec("c", 2), ""));
  REQUIRE_OK(store->CreatePayloadIndex("c", {"word", PayloadIndexKind::kKeyword}));
  REQUIRE_STATUS(store->CreatePayloadIndex("c", {"word", PayloadIndexKind::kText}),
                 absl::StatusCode::kAlreadyExists, "of kind keyword already");
  REQUIRE_STATUS(store->CreatePayloadIndex("c", {"", PayloadIndexKind::kText}),
                 absl::StatusCode::kInvalidArgument, "field has 0 bytes");
  REQUIRE_STATUS(store->CreatePayloadIndex("d", {"word", PayloadIndexKind::kText}),
                 absl::StatusCode::kNotFound, "\"d\"");
  REQUIRE_STATUS(store->DropPayloadIndex("c", "other"), absl::StatusCode::kNotFound, "\"other\"");
  REQUIRE_OK(store->CreatePayloadIndex("c", {"text", PayloadIndexKind::kText}));
  REQUIRE_STATUS(store->CreatePayloadIndex("c", {"third", PayloadIndexKind::kText}),
                 absl::StatusCode::kResourceExhausted, "vector.payload_indexes_max is 2");

  const auto check = [&](const Condition& condition) {
    return CheckFilter(**store->View("c"), Filter(condition));
  };
  REQUIRE_STATUS(check({.field = "other", .test = IsEmpty()}),
                 absl::StatusCode::kFailedPrecondition,
                 "filter.must[0]: field \"other\" of collection \"c\" has no payload index");
  REQUIRE_STATUS(check({.field = "word", .test = Match{.any = {int64_t{1}}}}),
                 absl::StatusCode::kInvalidArgument,
                 "is of kind keyword, this condition needs "
                 "integer");
  REQUIRE_STATUS(check({.field = "word", .test = InRange{Bounds<double>{.gt = 1}}}),
                 absl::StatusCode::kInvalidArgument, "needs integer or number");
  REQUIRE_STATUS(check({.field = "word", .test = ContainsWords{"a"}}),
                 absl::StatusCode::kInvalidArgument, "needs text");
  REQUIRE_STATUS(check({.field = "text", .test = ContainsWords{"--"}}),
                 absl::StatusCode::kInvalidArgument, "has no word");
  REQUIRE_OK(check({.field = "word", .test = ValuesCount{Bounds<int64_t>{.gt = 1}}}));

  std::vector<Point> points;
  for (PointId id = 0; id < 6; ++id) points.push_back(MakePoint(id, {1, 2}));
  REQUIRE_OK(CommitOne(*store, "c", points).status);
  const Write all{.collection = "c", .filter = std::make_shared<Filter>()};
  REQUIRE_STATUS(CommitWrite(*store, all).status, absl::StatusCode::kResourceExhausted,
                 "more than 5 points");
  Write both = all;
  both.deletes = {1};
  REQUIRE_STATUS(CommitWrite(*store, both).status, absl::StatusCode::kInvalidArgument,
                 "either ids or a filter");
  Write nothing{.collection = "c"};
  nothing.patches.push_back({.ids = {1}});
  REQUIRE_STATUS(CommitWrite(*store, nothing).status, absl::StatusCode::kInvalidArgument,
                 "patch is empty");
  REQUIRE(store->Describe("c")->points == 6);
}

TEST_CASE("words are whole, and the same in any case and composition") {
  using List = std::vector<std::string>;
  REQUIRE(DistinctWords("") == List{});
  REQUIRE(DistinctWords("The cat, the CAT!") == List{"cat", "the"});
  REQUIRE(DistinctWords("x86_64 3.5") == List{"3", "5", "64", "x86"});
  REQUIRE(DistinctWords("Stra\xC3\x9F"
                        "e") == DistinctWords("STRASSE"));
  REQUIRE(DistinctWords("\xC3\x89t\xC3\xA9") == DistinctWords("e\xCC\x81te\xCC\x81"));
  REQUIRE(DistinctWords("a\xFF"
                        "b\xC3") == List{"a", "b"});
}

}  // namespace
}  // namespace baton
