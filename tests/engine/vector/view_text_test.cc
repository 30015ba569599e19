// Searches by text, beside hand-computed values and a naive twin.

#include "engine/vector/view_text.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/vector/fusion.h"
#include "tests/engine/vector/filter_harness.h"

namespace baton {
namespace {

constexpr int kDimension = 4;
constexpr PointId kIds = 400;

std::vector<Neighbor> TextSearch(const CollectionView& view, const TextQuery& query,
                                 const SearchParams& params) {
  std::vector<Neighbor> neighbors;
  REQUIRE_OK(SearchViewText(
      view, query, params, [] { return absl::OkStatus(); }, &neighbors));
  return neighbors;
}

// ---- By hand

struct Fixture {
  Fixture() : store(*VectorStore::Open(TestOptions(dir.path()), metrics)) {
    REQUIRE_OK(store->CreateCollection(Spec("c", kDimension), ""));
    REQUIRE_OK(store->CreatePayloadIndex("c", {.field = "text", .kind = PayloadIndexKind::kText}));
  }
  void Put(PointId id, const std::string& text) {
    REQUIRE_OK(CommitOne(*store, "c", {MakePoint(id, {1, 2, 3, 4}, {{"text", text}})}).status);
  }
  std::vector<Neighbor> Find(const TextQuery& query, const SearchParams& params = {.k = 10}) {
    return TextSearch(**store->View("c"), query, params);
  }

  TempDir dir;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
};

// Four documents of 2, 4, 1 and 5 words: 3 on average. "fox" is in three of them, "owl" in one.
//   idf(fox) = ln(1 + 1.5 / 3.5) = 0.356674944, idf(owl) = ln(1 + 3.5 / 1.5) = 1.203972804
//   norm(length) = 1.2 * (0.25 + 0.75 * length / 3) = 0.3 + 0.3 * length
TEST_CASE("scores by text are BM25's") {
  Fixture f;
  f.Put(1, "Red fox");               // fox: 2.2 / (1 + 0.9)
  f.Put(2, "fox, fox; fox -- owl");  // fox: 6.6 / (3 + 1.5); owl: 2.2 / (1 + 1.5)
  f.Put(3, "hen");
  f.Put(4, "the fox saw the hen");  // fox: 2.2 / (1 + 1.8)
  f.Put(5, "...");                  // no word: not a document
  const auto fox = f.Find({.text = "FOX"});
  REQUIRE(fox.size() == 3);
  REQUIRE(fox[0].id == 2);
  REQUIRE(-fox[0].distance == Approx(0.523123251).epsilon(1e-6));
  REQUIRE(fox[1].id == 1);
  REQUIRE(-fox[1].distance == Approx(0.412992040).epsilon(1e-6));
  REQUIRE(fox[2].id == 4);
  REQUIRE(-fox[2].distance == Approx(0.280244599).epsilon(1e-6));
  const auto both = f.Find({.text = "owl fox owl wolf"});
  REQUIRE(both.size() == 3);
  REQUIRE(-both[0].distance == Approx(0.523123251 + 1.059496068).epsilon(1e-6));
  // Without length and saturation, a word counts its idf.
  const auto plain = f.Find({.text = "fox", .field = "text", .k1 = 0});
  REQUIRE(plain.size() == 3);
  REQUIRE(plain[0] == Neighbor{static_cast<float>(-std::log(1 + 1.5 / 3.5)), 1});
  REQUIRE(plain[1].id == 2);
  REQUIRE(plain[2].id == 4);
  // b = 0: without length. fox three times: 6.6 / 4.2.
  REQUIRE(-f.Find({.text = "fox", .b = 0})[0].distance ==
          Approx(0.356674944 * 6.6 / 4.2).epsilon(1e-6));
  REQUIRE(f.Find({.text = "fox"}, {.k = 1, .offset = 1}) == std::vector{fox[1]});
  REQUIRE(f.Find({.text = "fox"}, {.k = 10, .score_threshold = 0.4f}).size() == 2);
  REQUIRE(f.Find({.text = "wolf"}).empty());
}

TEST_CASE("a text query that cannot be answered says why") {
  Fixture f;
  const auto view = *f.store->View("c");
  const auto check = [&view](const TextQuery& query) { return CheckTextQuery(*view, query); };
  REQUIRE_OK(check({.text = "fox"}));
  REQUIRE_STATUS(check({.text = " .,-"}), absl::StatusCode::kInvalidArgument, "has no word");
  std::string many;
  for (int i = 0; i < 257; ++i) many += std::to_string(i) + " ";
  REQUIRE_STATUS(check({.text = many}), absl::StatusCode::kInvalidArgument,
                 "at most 256 distinct words, but has 257");
  REQUIRE_STATUS(check({.text = "fox", .k1 = -1}), absl::StatusCode::kInvalidArgument,
                 "text.k1 must be 0 to 100, but is -1");
  REQUIRE_STATUS(check({.text = "fox", .k1 = std::nan("")}), absl::StatusCode::kInvalidArgument,
                 "text.k1");
  REQUIRE_STATUS(check({.text = "fox", .b = 1.5}), absl::StatusCode::kInvalidArgument,
                 "text.b must be 0 to 1, but is 1.5");
  REQUIRE_STATUS(check({.text = "fox", .field = "body"}), absl::StatusCode::kFailedPrecondition,
                 "field \"body\" of collection \"c\" has no payload index");
  REQUIRE_OK(f.store->CreatePayloadIndex("c", {.field = "n", .kind = PayloadIndexKind::kInteger}));
  REQUIRE_OK(f.store->CreatePayloadIndex("c", {.field = "title", .kind = PayloadIndexKind::kText}));
  const auto changed = *f.store->View("c");
  REQUIRE_STATUS(CheckTextQuery(*changed, {.text = "fox", .field = "n"}),
                 absl::StatusCode::kInvalidArgument, "is of kind integer, needed is text");
  REQUIRE_STATUS(CheckTextQuery(*changed, {.text = "fox"}), absl::StatusCode::kFailedPrecondition,
                 "several text indexes: of \"text\" and \"title\"");
  REQUIRE_OK(f.store->DropPayloadIndex("c", "text"));
  REQUIRE_OK(f.store->DropPayloadIndex("c", "title"));
  REQUIRE_STATUS(CheckTextQuery(**f.store->View("c"), {.text = "fox"}),
                 absl::StatusCode::kFailedPrecondition, "no payload index of kind text");
}

TEST_CASE("a text search ends when it is told to") {
  Fixture f;
  f.Put(1, "fox");
  std::vector<Neighbor> neighbors;
  REQUIRE_STATUS(SearchViewText(
                     **f.store->View("c"), {.text = "fox"}, {.k = 1},
                     [] { return absl::CancelledError("enough"); }, &neighbors),
                 absl::StatusCode::kCancelled, "enough");
}

// ---- Beside a twin

std::vector<std::string> NaiveListWords(const PayloadValue& value) {
  std::string text;
  if (const auto* one = std::get_if<std::string>(&value)) text = *one;
  if (const auto* several = std::get_if<std::vector<std::string>>(&value)) {
    for (const std::string& each : *several) text += each + " ";
  }
  std::vector<std::string> words;
  std::string word;
  for (const char c : text + " ") {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      word += static_cast<char>(std::tolower(c));
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, ""));
    }
  }
  return words;
}

// All hits, best first, of the points in `among`.
std::vector<Neighbor> NaiveTextSearch(const PointTwin& twin, const Twin& among,
                                      const TextQuery& query) {
  std::map<PointId, std::map<std::string, int>> counts;
  std::map<PointId, int> lengths;
  std::map<std::string, int> all_holders;
  double total = 0;
  for (const auto& [id, point] : twin) {
    const auto found = point.payload.find("text");
    if (found == point.payload.end()) continue;
    for (const std::string& word : NaiveListWords(found->second)) {
      if (++counts[id][word] == 1) ++all_holders[word];
      ++lengths[id];
      ++total;
    }
  }
  const auto documents = static_cast<double>(lengths.size());
  std::vector<Neighbor> hits;
  const std::set<std::string> wanted = NaiveWords(query.text);
  for (const auto& [id, words] : counts) {
    if (!among.contains(id)) continue;
    double score = 0;
    bool some = false;
    for (const std::string& word : wanted) {
      if (!words.contains(word)) continue;
      some = true;
      const auto holders = static_cast<double>(all_holders[word]);
      const double frequency = words.at(word);
      const double norm = query.k1 * (1 - query.b + query.b * (lengths[id] / (total / documents)));
      score += std::log(1 + (documents - holders + 0.5) / (holders + 0.5)) *
               (frequency * (query.k1 + 1)) / (frequency + norm);
    }
    if (some) hits.push_back({-static_cast<float>(score), id});
  }
  std::sort(hits.begin(), hits.end());
  return hits;
}

// Words as they are in texts: few of them in most.
std::string ZipfText(std::mt19937& random) {
  std::string text;
  for (size_t i = random() % 12; i > 0; --i) {
    size_t word = 0;
    while (word < 30 && random() % 4 != 0) ++word;
    text +=
        (random() % 2 == 0 ? "w" : "W") + std::to_string(word) + (random() % 3 == 0 ? ", " : " ");
  }
  return text;
}

TEST_CASE("text searches find what their naive twin does while points come, change and go") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = 32;
  options.vacuum_deleted_percent = GENERATE(0, 30);
  auto store = *VectorStore::Open(options, metrics);
  REQUIRE_OK(store->CreateCollection(Spec("c", kDimension), ""));
  for (const PayloadIndex& index : TestIndexes()) {
    REQUIRE_OK(store->CreatePayloadIndex("c", index));
  }
  PointTwin twin;
  for (int round = 0; round < 150; ++round) {
    CAPTURE(round);
    Write write{.collection = "c"};
    for (size_t i = random() % 14; i > 0; --i) {
      Payload payload = RandomPayload(random);
      if (random() % 8 != 0) payload["text"] = ZipfText(random);
      if (random() % 8 == 0) {
        payload["text"] = std::vector<std::string>{ZipfText(random), ZipfText(random)};
      }
      write.upserts.push_back(
          MakePoint(random() % kIds, RandomVector(random, kDimension), std::move(payload)));
    }
    for (size_t i = random() % 5; i > 0; --i) write.deletes.push_back(random() % kIds);
    PayloadPatch patch{.set = {{"text", ZipfText(random)}}};
    if (random() % 4 == 0) patch = {.delete_keys = {"text"}, .set = {}};
    for (size_t i = 1 + random() % 6; i > 0; --i) patch.ids.push_back(random() % kIds);
    write.patches.push_back(std::move(patch));
    for (const PointId id : write.deletes) twin.erase(id);
    for (const Point& point : write.upserts) twin[point.id] = point;
    for (const PayloadPatch& applied : write.patches) ApplyPatch(twin, applied);
    REQUIRE_OK(CommitWrite(*store, std::move(write)).status);
    if (random() % 8 == 0) store->WaitUntilIdle();
    if (random() % 40 == 0) {
      store.reset();
      store = *VectorStore::Open(options, metrics);
    }
    const auto view = *store->View("c");
    for (int i = 0; i < 3; ++i) {
      TextQuery query{.text = ZipfText(random) + " w" + std::to_string(random() % 30)};
      if (random() % 2 == 0) query.k1 = static_cast<double>(random() % 30) / 10;
      if (random() % 2 == 0) query.b = static_cast<double>(random() % 11) / 10;
      CAPTURE(query.text, query.k1, query.b);
      SearchParams params{.k = 1 + static_cast<int32_t>(random() % 20)};
      if (random() % 2 == 0) {
        params.filter = std::make_shared<Filter>(RandomFilter(random, kIds));
      }
      if (random() % 4 == 0) params.offset = static_cast<int32_t>(random() % 10);
      const Filter all;
      std::vector<Neighbor> expected = NaiveTextSearch(
          twin, MatchingTwin(twin, params.filter == nullptr ? all : *params.filter), query);
      expected.resize(std::min<size_t>(expected.size(), params.k + params.offset));
      expected.erase(expected.begin(),
                     expected.begin() + std::min<int64_t>(params.offset, std::ssize(expected)));
      REQUIRE(TextSearch(*view, query, params) == expected);
    }
  }
}

// Many postings, so that most are skipped; the same whether they are sealed or not.
TEST_CASE("words that are everywhere change no answer") {
  std::mt19937 random(7);
  std::vector<Point> points;
  for (PointId id = 0; id < 3000; ++id) {
    std::string text = "the of ";
    for (int i = 0; i < 6; ++i) {
      size_t word = 0;
      while (word < 60 && random() % 8 != 0) ++word;
      text += "w" + std::to_string(word) + " the ";
    }
    points.push_back(MakePoint(id, RandomVector(random, kDimension), {{"text", text}}));
  }
  PointTwin twin;
  for (const Point& point : points) twin[point.id] = point;
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = GENERATE(1000, 4096);
  auto store = *VectorStore::Open(options, metrics);
  REQUIRE_OK(store->CreateCollection(Spec("c", kDimension), ""));
  REQUIRE_OK(store->CreatePayloadIndex("c", {.field = "text", .kind = PayloadIndexKind::kText}));
  REQUIRE_OK(CommitOne(*store, "c", points).status);
  store->WaitUntilIdle();
  const Filter all;
  const Twin everything = MatchingTwin(twin, all);
  for (int i = 0; i < 10; ++i) {
    TextQuery query{.text = "the of"};
    for (int word = 0; word < i; ++word) query.text += " w" + std::to_string(random() % 60);
    std::vector<Neighbor> expected = NaiveTextSearch(twin, everything, query);
    expected.resize(10);
    REQUIRE(TextSearch(**store->View("c"), query, {.k = 10}) == expected);
  }
}

// ---- Fusion

TEST_CASE("two lists become one by reciprocal ranks") {
  const std::vector<Neighbor> dense = {{-0.9f, 7}, {-0.8f, 3}, {-0.1f, 5}};
  const std::vector<Neighbor> text = {{-12.0f, 3}, {-4.0f, 9}};
  const auto hits = Fuse(dense, text, Metric::kCosine, {});
  REQUIRE(hits.size() == 4);
  REQUIRE(hits[0].neighbor == Neighbor{static_cast<float>(-(1.0 / 62 + 1.0 / 61)), 3});
  REQUIRE(hits[0].parts == ScoreParts{0.8f, 2, 12.0f, 1});
  REQUIRE(hits[1].neighbor == Neighbor{static_cast<float>(-1.0 / 61), 7});
  REQUIRE(hits[1].parts == ScoreParts{0.9f, 1, 0, 0});
  REQUIRE(hits[2].neighbor == Neighbor{static_cast<float>(-1.0 / 62), 9});
  REQUIRE(hits[2].parts == ScoreParts{0, 0, 4.0f, 2});
  REQUIRE(hits[3].neighbor.id == 5);
  // Equal scores: by id.
  const auto equal = Fuse(std::vector<Neighbor>{{1.0f, 8}}, std::vector<Neighbor>{{-1.0f, 2}},
                          Metric::kL2, {.rank_constant = 1});
  REQUIRE(equal[0].neighbor == Neighbor{-0.5f, 2});
  REQUIRE(equal[1].neighbor == Neighbor{-0.5f, 8});
  REQUIRE(equal[1].parts == ScoreParts{1.0f, 1, 0, 0});
  const auto weighted = Fuse(dense, text, Metric::kCosine, {.dense_weight = 0, .text_weight = 3});
  REQUIRE(weighted[0].neighbor == Neighbor{static_cast<float>(-3.0 / 61), 3});
  REQUIRE(weighted.back().neighbor == Neighbor{-0.0f, 7});
}

TEST_CASE("two lists become one by weights over scaled scores") {
  const FusionParams params{.kind = FusionKind::kWeighted, .dense_weight = 3, .text_weight = 1};
  const std::vector<Neighbor> dense = {{1.0f, 7}, {2.0f, 3}, {5.0f, 5}};
  const auto hits =
      Fuse(dense, std::vector<Neighbor>{{-12.0f, 3}, {-4.0f, 9}}, Metric::kL2, params);
  REQUIRE(hits.size() == 4);
  REQUIRE(hits[0].neighbor == Neighbor{-0.8125f, 3});  // (3 * 0.75 + 1) / 4
  REQUIRE(hits[1].neighbor == Neighbor{-0.75f, 7});
  REQUIRE(hits[2].neighbor == Neighbor{-0.0f, 5});
  REQUIRE(hits[3].neighbor == Neighbor{-0.0f, 9});
  REQUIRE(hits[0].parts == ScoreParts{2.0f, 2, 12.0f, 1});
  // One hit, or equal ones: all are the best.
  const auto single = Fuse({}, std::vector<Neighbor>{{-4.0f, 9}}, Metric::kL2, params);
  REQUIRE(single.size() == 1);
  REQUIRE(single[0].neighbor == Neighbor{-0.25f, 9});
  REQUIRE(Fuse({}, {}, Metric::kL2, params).empty());
}

}  // namespace
}  // namespace baton
