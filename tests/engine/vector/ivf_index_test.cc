#include "engine/vector/ivf_index.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "engine/vector/distance.h"
#include "tests/engine/vector/vector_harness.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

bool Never() { return false; }
bool All(int64_t) { return true; }

// Rows near one of some points, as embeddings are.
struct Rows {
  Rows(int count, int dimension, Metric metric, uint32_t seed = 61) : random(seed) {
    std::normal_distribution<float> noise(0, 0.6f);
    const int clouds = count / 50 + 1;
    const std::vector<float> centers = RandomVector(random, clouds * dimension);
    for (int row = 0; row < count; ++row) {
      std::vector<float> vector;
      const auto cloud = static_cast<int>(random() % clouds);
      for (int j = 0; j < dimension; ++j) {
        vector.push_back(1 + centers[cloud * dimension + j] + noise(random));
      }
      if (metric == Metric::kCosine) Normalized(vector);
      vectors.insert(vectors.end(), vector.begin(), vector.end());
    }
    rows = {.vectors = vectors.data(), .rows = count, .dimension = dimension, .metric = metric};
  }
  static void Normalized(std::vector<float>& vector) {
    double sum = 0;
    for (const float value : vector) sum += double{value} * value;
    for (float& value : vector) value = static_cast<float>(value / std::sqrt(sum));
  }
  // Near a random row.
  std::vector<float> Query() {
    const float* row = vectors.data() + random() % rows.rows * rows.dimension;
    std::vector<float> query(row, row + rows.dimension);
    std::normal_distribution<float> noise(0, 0.2f);
    for (float& value : query) value += noise(random);
    if (rows.metric == Metric::kCosine) Normalized(query);
    return query;
  }
  std::vector<GraphNeighbor> Nearest(const std::vector<float>& query,
                                     IvfIndex::LiveRow live) const {
    std::vector<GraphNeighbor> all;
    for (int64_t row = 0; row < rows.rows; ++row) {
      GraphNeighbor neighbor{.row = row};
      DistanceFor(rows.metric)(query.data(), vectors.data() + row * rows.dimension, 1,
                               rows.dimension, &neighbor.distance);
      if (live(row)) all.push_back(neighbor);
    }
    Sort(all);
    return all;
  }
  static void Sort(std::vector<GraphNeighbor>& found) {
    std::sort(found.begin(), found.end(), [](const GraphNeighbor& a, const GraphNeighbor& b) {
      return a.distance < b.distance || (a.distance == b.distance && a.row < b.row);
    });
  }

  std::mt19937 random;
  std::vector<float> vectors;
  GraphRows rows;
};

std::unique_ptr<IvfIndex> Build(const Rows& rows, const IvfParams& params) {
  auto index = IvfIndex::Build(rows.rows, params, Never);
  REQUIRE_OK(index);
  return *std::move(index);
}

bool Same(const std::vector<GraphNeighbor>& a, const std::vector<GraphNeighbor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.row == y.row && x.distance == y.distance;
  });
}

HugeBuffer CopyOf(std::span<const std::byte> bytes) {
  HugeBuffer copy(bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.data());
  return copy;
}

TEST_CASE("all lists and enough candidates find what an exact scan does, at ragged sizes") {
  const IvfCodes codes = GENERATE(IvfCodes::kPq, IvfCodes::kPq8, IvfCodes::kBytes);
  const Metric metric = GENERATE(Metric::kL2, Metric::kDot, Metric::kCosine);
  struct Size {
    int rows, dimension, lists, pq_bytes;
  };
  for (const Size& size :
       {Size{1, 1, 0, 0}, Size{2, 3, 9, 1}, Size{15, 5, 4, 7}, Size{33, 16, 1, 0},
        Size{300, 17, 7, 3}, Size{700, 40, 0, 0}, Size{64, 130, 2, 4}}) {
    CAPTURE(static_cast<int>(codes), static_cast<int>(metric), size.rows, size.dimension);
    Rows rows(size.rows, size.dimension, metric);
    const auto index =
        Build(rows, {.codes = codes, .lists = size.lists, .pq_bytes = size.pq_bytes});
    REQUIRE(index->lists() >= 1);
    REQUIRE(index->lists() <= size.rows);
    const std::vector<float> query = rows.Query();
    std::vector<GraphNeighbor> found;
    const auto live = [](int64_t row) { return row % 3 != 1; };
    // By asking for all lists; and by wanting more rows than few lists have.
    for (const bool ask : {true, false}) {
      index->Search({.vector = query.data(),
                     .nprobe = ask ? index->lists() : 1,
                     .candidates = ask ? size.rows : 1,
                     .wanted = ask ? 0 : size.rows},
                    live, &found);
      Rows::Sort(found);
      REQUIRE(Same(found, rows.Nearest(query, live)));
    }
  }
}

// Of the 10 nearest, over some queries that are always the same.
double Recall(Rows& rows, const IvfIndex& index, int nprobe, int candidates) {
  int hits = 0;
  std::vector<GraphNeighbor> found;
  rows.random.seed(7);
  for (int i = 0; i < 40; ++i) {
    const std::vector<float> query = rows.Query();
    const auto nearest = rows.Nearest(query, All);
    index.Search({.vector = query.data(), .nprobe = nprobe, .candidates = candidates}, All, &found);
    REQUIRE(std::ssize(found) <= candidates);
    for (int k = 0; k < 10; ++k) {
      hits += static_cast<int>(std::count_if(found.begin(), found.end(), [&](const auto& f) {
        return f.row == nearest[k].row && f.distance == nearest[k].distance;
      }));
    }
  }
  return hits / 400.0;
}

TEST_CASE("searches find the nearest by their codes") {
  const IvfCodes codes = GENERATE(IvfCodes::kPq, IvfCodes::kPq8, IvfCodes::kBytes);
  const Metric metric = GENERATE(Metric::kL2, Metric::kDot, Metric::kCosine);
  CAPTURE(static_cast<int>(codes), static_cast<int>(metric));
  Rows rows(3000, 48, metric);
  const auto index = Build(rows, {.codes = codes, .lists = 30});
  const auto recall = [&](int nprobe, int candidates) {
    return Recall(rows, *index, nprobe, candidates);
  };
  // Codes alone, then with rescoring. Bytes are nearly exact.
  CHECK(recall(30, 10) > (HasProductCodes(codes) ? 0.4 : 0.97));
  CHECK(recall(30, 60) > (HasProductCodes(codes) ? 0.9 : 0.999));
  CHECK(recall(8, 60) > (HasProductCodes(codes) ? 0.85 : 0.9));
  CHECK(recall(1, 60) < recall(30, 60));
}

// Where values depend on their neighbors, which longer parts tell of.
TEST_CASE("codes of 8 bits find more than codes of 4 in as many bytes") {
  Rows rows(3000, 48, Metric::kL2);
  for (size_t i = 0; i < rows.vectors.size(); i += 4) {
    float* const part = rows.vectors.data() + i;
    part[2] = part[0] + part[1] + 0.1f * part[2];
    part[3] = part[0] - part[1] + 0.1f * part[3];
  }
  const auto four = Build(rows, {.codes = IvfCodes::kPq, .lists = 30});
  const auto eight = Build(rows, {.codes = IvfCodes::kPq8, .lists = 30});
  CHECK(four->arrays().groups == eight->arrays().groups);
  CHECK(Recall(rows, *eight, 30, 10) > Recall(rows, *four, 30, 10) + 0.03);
}

TEST_CASE("deleted rows take no candidate's place, and rows far away stand in for missing ones") {
  const IvfCodes codes = GENERATE(IvfCodes::kPq, IvfCodes::kPq8, IvfCodes::kBytes);
  Rows rows(2000, 24, Metric::kL2);
  const auto index = Build(rows, {.codes = codes, .lists = 40});
  const std::vector<float> query = rows.Query();
  const auto nearest = rows.Nearest(query, All);
  std::set<int64_t> dead;
  for (int i = 0; i < 1500; ++i) dead.insert(nearest[i].row);
  const auto live = [&](int64_t row) { return !dead.contains(row); };
  std::vector<GraphNeighbor> found;
  index->Search({.vector = query.data(), .nprobe = 1, .candidates = 5, .wanted = 20}, live, &found);
  CHECK(std::ssize(found) == 20);
  for (const GraphNeighbor& neighbor : found) CHECK(live(neighbor.row));
  index->Search({.vector = query.data(), .nprobe = 40, .candidates = 100}, live, &found);
  const auto nearest_live = rows.Nearest(query, live);
  int hits = 0;
  for (int k = 0; k < 10; ++k) {
    hits += static_cast<int>(std::count_if(
        found.begin(), found.end(), [&](const auto& f) { return f.row == nearest_live[k].row; }));
  }
  CHECK(hits >= (codes == IvfCodes::kPq8 ? 6 : 8));  // few rows to train 256 centroids
}

TEST_CASE("an index is the same again, and from its bytes") {
  const IvfCodes codes = GENERATE(IvfCodes::kPq, IvfCodes::kPq8, IvfCodes::kBytes);
  const Metric metric = GENERATE(Metric::kL2, Metric::kDot, Metric::kCosine);
  Rows rows(500, 20, metric);
  const IvfParams params{.codes = codes, .lists = 6};
  const auto index = Build(rows, params);
  const auto again = Build(rows, params);
  const auto bytes = index->bytes();
  REQUIRE(std::equal(bytes.begin(), bytes.end(), again->bytes().begin(), again->bytes().end()));
  auto loaded = IvfIndex::Load(rows.rows, CopyOf(bytes));
  REQUIRE_OK(loaded);
  CHECK((*loaded)->codes() == codes);
  std::vector<GraphNeighbor> expected;
  std::vector<GraphNeighbor> found;
  for (int i = 0; i < 20; ++i) {
    const std::vector<float> query = rows.Query();
    const IvfQuery search{.vector = query.data(), .nprobe = 2, .candidates = 15};
    index->Search(search, All, &expected);
    (*loaded)->Search(search, All, &found);
    REQUIRE(Same(found, expected));
  }
}

TEST_CASE("bytes of no index over the rows are refused") {
  const IvfCodes codes = GENERATE(IvfCodes::kPq, IvfCodes::kPq8, IvfCodes::kBytes);
  Rows rows(200, 20, Metric::kL2);
  const auto index = Build(rows, {.codes = codes, .lists = 5});
  const auto bytes = index->bytes();
  const auto load = [&](HugeBuffer buffer) {
    return IvfIndex::Load(rows.rows, std::move(buffer)).status();
  };
  for (const size_t size : {size_t{0}, size_t{10}, bytes.size() - 1}) {
    CHECK(absl::IsDataLoss(load(CopyOf(bytes.first(size)))));
  }
  for (size_t word = 0; word < 9; ++word) {
    CAPTURE(word);
    HugeBuffer copy = CopyOf(bytes);
    copy.data()[word * 4 + 1] ^= std::byte{0x10};
    CHECK(absl::IsDataLoss(load(std::move(copy))));
  }
  // A list has other rows; a row is there twice; a centroid is no number.
  const size_t list_rows = (64 + 5 * 20 * 4 + 63) / 64 * 64;
  const size_t rows_at = list_rows + 64;
  for (const size_t at : {list_rows, rows_at}) {
    CAPTURE(at);
    HugeBuffer copy = CopyOf(bytes);
    copy.data()[at] ^= std::byte{1};
    CHECK(absl::IsDataLoss(load(std::move(copy))));
  }
  HugeBuffer copy = CopyOf(bytes);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(copy.data() + 64, &nan, sizeof(nan));
  CHECK(absl::IsDataLoss(load(std::move(copy))));
  Rows others(201, 20, Metric::kL2);
  CHECK(absl::IsDataLoss(IvfIndex::Load(others.rows, CopyOf(bytes)).status()));
  Rows angles(200, 20, Metric::kCosine);
  CHECK(absl::IsDataLoss(IvfIndex::Load(angles.rows, CopyOf(bytes)).status()));
}

TEST_CASE("rows that are all alike are all found") {
  const IvfCodes codes = GENERATE(IvfCodes::kPq, IvfCodes::kPq8, IvfCodes::kBytes);
  const std::vector<float> vectors(100 * 6, 0.5f);
  const GraphRows rows{
      .vectors = vectors.data(), .rows = 100, .dimension = 6, .metric = Metric::kL2};
  const auto index = IvfIndex::Build(rows, {.codes = codes, .lists = 10}, Never);
  REQUIRE_OK(index);
  std::vector<GraphNeighbor> found;
  (*index)->Search({.vector = vectors.data(), .nprobe = 1, .candidates = 1, .wanted = 100}, All,
                   &found);
  CHECK(found.size() == 100);
}

TEST_CASE("building can be stopped") {
  Rows rows(2000, 16, Metric::kL2);
  for (const int after : {0, 1, 5, 40}) {
    int asked = 0;
    const auto stop = [&] { return asked++ >= after; };
    const auto index = IvfIndex::Build(rows.rows, {.lists = 20}, stop);
    REQUIRE((index.ok() || absl::IsCancelled(index.status())));
    CHECK(index.ok() == (asked <= after));
  }
}

}  // namespace
}  // namespace baton
