#include "engine/vector/buffer_scan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "engine/base/huge_allocator.h"
#include "engine/vector/distance.h"
#include "engine/vector/nibble_screen.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

// Rows that are hard on bounds: near each other and far from zero, of a few large values, tiny,
// huge, whole, all alike, and of zeros.
std::vector<float> HardVector(std::mt19937& random, int kind, int dimension) {
  std::vector<float> vector = RandomVector(random, dimension);
  for (float& value : vector) {
    switch (kind) {
      case 1:
        value = 1000 + 0.01f * value;
        break;
      case 2:
        value = random() % 16 == 0 ? 100 * value : 0.01f * value;
        break;
      case 3:
        value *= 1e-20f;
        break;
      case 4:
        value *= 1e14f;
        break;
      case 5:
        value = std::floor(16 * value + 128);
        break;
      case 6:
        value = vector[0];
        break;
      case 7:
        value = 0;
        break;
      case 8:
        value *= 1e-38f;
        break;
      default:
        break;
    }
  }
  return vector;
}
constexpr int kKinds = 9;

float DistanceOf(Metric metric, const std::vector<float>& a, const std::vector<float>& b) {
  float distance = 0;
  DistanceFor(metric)(a.data(), b.data(), 1, std::ssize(a), &distance);
  return distance;
}

struct CodedRow {
  std::vector<float> vector;
  std::vector<uint8_t> code;
  ScanTerms terms;
  std::vector<uint8_t> nibbles;
  ScanTerms nibble_terms;
};

CodedRow Coded(Metric metric, std::vector<float> vector) {
  CodedRow row{.vector = std::move(vector)};
  row.code.assign(static_cast<size_t>(CodeStride(std::ssize(row.vector))), 99);
  row.terms = EncodeScanRow(metric, row.vector.data(), std::ssize(row.vector), row.code.data());
  const int64_t lines = NibbleLines(std::ssize(row.vector));
  row.nibbles.assign(static_cast<size_t>(lines * kNibbleLineValues), 99);
  row.nibble_terms =
      EncodeNibbleRow(metric, row.vector.data(), std::ssize(row.vector), row.nibbles.data());
  return row;
}

// The places that a level's screen keeps of rows.
std::vector<uint32_t> Kept(SimdLevel level, Metric metric, const ScanQuery& query,
                           const ScanLimits& limits, const std::vector<CodedRow>& rows) {
  std::vector<float> low, step, error, size, keys(rows.size());
  std::vector<int32_t> products(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const ScanTerms& terms = rows[i].terms;
    low.push_back(terms.low);
    step.push_back(terms.step);
    error.push_back(terms.error);
    size.push_back(terms.size);
    const uint32_t zero = 0;
    CodeProductsFor(level)(query.code(), rows[i].code.data(), std::ssize(rows[i].code),
                           std::ssize(rows[i].code), &zero, 1, &products[i], nullptr);
  }
  std::vector<uint32_t> places(rows.size());
  const ScanRows terms{
      .low = low.data(), .step = step.data(), .error = error.data(), .size = size.data()};
  places.resize(static_cast<size_t>(ScanScreenFor(metric, level)(
      limits, terms, products.data(), std::ssize(rows), places.data(), keys.data())));
  return places;
}

// The same by nibbles; the last rows stand in for those that a block lacks.
HugeVector<std::byte> NibbleBlocks(const std::vector<CodedRow>& rows) {
  HugeVector<std::byte> blocks;
  for (size_t first = 0; first < rows.size(); first += kNibbleBlockRows) {
    std::vector<ScanTerms> terms;
    std::vector<uint8_t> codes;
    for (size_t i = 0; i < kNibbleBlockRows; ++i) {
      const CodedRow& row = rows[std::min(first + i, rows.size() - 1)];
      terms.push_back(row.nibble_terms);
      codes.insert(codes.end(), row.nibbles.begin(), row.nibbles.end());
    }
    const auto dimension = std::ssize(rows.front().vector);
    const size_t at = blocks.size();
    blocks.resize(at + static_cast<size_t>(NibbleBlockBytes(dimension)));
    StoreNibbleBlock(terms.data(), codes.data(), dimension, &blocks[at]);
  }
  return blocks;
}

std::vector<uint32_t> KeptByNibbles(SimdLevel level, Metric metric, const NibbleQuery& query,
                                    const ScanLimits& limits, const std::vector<CodedRow>& rows,
                                    const HugeVector<std::byte>& blocks) {
  if (rows.empty()) return {};
  const auto dimension = std::ssize(rows.front().vector);
  const NibbleScreen screen{.query = query.values(),
                            .lines = NibbleLines(dimension),
                            .blocks = blocks.data(),
                            .block_count = std::ssize(blocks) / NibbleBlockBytes(dimension)};
  std::vector<uint32_t> places(static_cast<size_t>(screen.block_count * kNibbleBlockRows));
  places.resize(static_cast<size_t>(NibbleScreenFor(metric, level)(limits, screen, places.data())));
  std::erase_if(places, [&rows](uint32_t place) { return place >= rows.size(); });
  return places;
}

TEST_CASE("no row within a distance is refused by its code, at any level and size") {
  std::mt19937 random(31);
  for (const Metric metric : {Metric::kCosine, Metric::kDot, Metric::kL2}) {
    for (const int dimension : {1, 17, 32, 100, 128, 129, 768, 4000}) {
      for (int kind = 0; kind < kKinds; ++kind) {
        if (metric == Metric::kCosine && kind >= 7) continue;  // zeros have no direction
        CAPTURE(static_cast<int>(metric), dimension, kind);
        std::vector<CodedRow> rows;
        for (const int count : {0, 1, 3, 16, 33}) {
          while (std::ssize(rows) < count) {
            rows.push_back(Coded(metric, Scaled(metric, HardVector(random, kind, dimension))));
          }
          std::vector<float> query = Scaled(metric, HardVector(random, kind, dimension));
          if (count == 33) query = rows[5].vector;
          ScanQuery code;
          code.Encode(metric, query.data(), dimension);
          NibbleQuery nibbles;
          nibbles.Encode(metric, query.data(), dimension);
          const HugeVector<std::byte> blocks = NibbleBlocks(rows);
          // Each row's own distance is the tightest limit that must keep it.
          for (size_t i = 0; i < rows.size(); ++i) {
            const float distance = DistanceOf(metric, query, rows[i].vector);
            const ScanLimits limits = code.LimitsFor(distance);
            for (const SimdLevel level : SupportedSimdLevels()) {
              CAPTURE(count, i, Name(level), distance);
              const std::vector<uint32_t> kept = Kept(level, metric, code, limits, rows);
              REQUIRE(std::is_sorted(kept.begin(), kept.end()));
              const std::vector<uint32_t> by_nibbles =
                  KeptByNibbles(level, metric, nibbles, nibbles.LimitsFor(distance), rows, blocks);
              REQUIRE(std::is_sorted(by_nibbles.begin(), by_nibbles.end()));
              for (uint32_t place = 0; place < rows.size(); ++place) {
                if (DistanceOf(metric, query, rows[place].vector) > distance) continue;
                REQUIRE(std::binary_search(kept.begin(), kept.end(), place));
                REQUIRE(std::binary_search(by_nibbles.begin(), by_nibbles.end(), place));
              }
            }
          }
          for (const SimdLevel level : SupportedSimdLevels()) {
            const float all = std::numeric_limits<float>::infinity();
            REQUIRE(Kept(level, metric, code, code.LimitsFor(all), rows).size() == rows.size());
            REQUIRE(KeptByNibbles(level, metric, nibbles, nibbles.LimitsFor(all), rows, blocks)
                        .size() == rows.size());
          }
        }
      }
    }
  }
}

TEST_CASE("errors of codes are what codes leave out, and no more than half a step a value") {
  std::mt19937 random(32);
  for (int kind = 0; kind < kKinds; ++kind) {
    constexpr int kDimension = 200;
    const CodedRow row = Coded(Metric::kDot, HardVector(random, kind, kDimension));
    double errors = 0;
    double squares = 0;
    for (int j = 0; j < kDimension; ++j) {
      const double value = row.terms.low + double{row.terms.step} * row.code[j];
      errors += (row.vector[j] - value) * (row.vector[j] - value);
      squares += value * value;
    }
    for (size_t j = kDimension; j < row.code.size(); ++j) REQUIRE(row.code[j] == 0);
    CAPTURE(kind, errors, squares);
    REQUIRE(row.terms.error >= std::sqrt(errors));
    REQUIRE(row.terms.size >= std::sqrt(squares));
    if (kind == 8) continue;  // steps too small to divide by
    REQUIRE(row.terms.error <= 0.51 * row.terms.step * std::sqrt(kDimension) + 1e-30);
    if (kind == 5 || kind == 6 || kind == 7) REQUIRE(row.terms.error <= 1e-6f);
  }
}

// Few rows are looked at, or codes would be in vain: most of random rows are far by their codes.
TEST_CASE("a scan by codes finds what comparing all rows does, and looks at few of them") {
  std::mt19937 random(33);
  const Metric metric = GENERATE(Metric::kCosine, Metric::kDot, Metric::kL2);
  const VectorStorage storage =
      GENERATE(VectorStorage::kF32, VectorStorage::kF16, VectorStorage::kInt8);
  constexpr int kDimension = 100;
  constexpr int kRows = 6000;
  CollectionSpec spec = Spec("c", kDimension, metric);
  spec.storage = storage;
  const auto buffer = std::make_shared<GrowingBuffer>(FormatOf(spec), kRows);
  std::vector<std::vector<float>> vectors;
  const VectorFormat format = FormatOf(spec);
  std::vector<std::byte> stored(static_cast<size_t>(format.row_bytes()));
  for (int row = 0; row < kRows; ++row) {
    std::vector<float> vector = RandomVector(random, kDimension);
    for (float& value : vector) value = std::clamp(30 * value, -127.0f, 127.0f);
    vector = Scaled(metric, row % 7 == 6 ? vectors[random() % vectors.size()] : vector);
    buffer->Append(static_cast<PointId>(kRows - row), vector.data(),
                   static_cast<WriteSequence>(row) + 1);
    format.Encode(vector.data(), stored.data());
    format.Decode(stored.data(), 1, vector.data());
    vectors.push_back(vector);
    if (row % 5 == 0) REQUIRE(buffer->Delete(static_cast<PointId>(kRows - row), row + 1));
  }
  const CollectionView view(spec, kRows + 1, buffer->live(),
                            {{.buffer = buffer, .rows = buffer->rows()}}, {});
  std::vector<std::vector<float>> queries;
  for (int i = 0; i < 3; ++i) queries.push_back(Scaled(metric, RandomVector(random, kDimension)));
  queries.push_back(vectors[77]);
  for (const int32_t k : {1, 10, 300, kRows}) {
    for (const bool filtered : {false, true}) {
      const auto accepts = [&](int64_t row) { return !filtered || row % 3 == 0; };
      BufferScan scan(view, queries);
      std::vector<TopK> tops(queries.size(), TopK(k, view.points()));
      for (int64_t first = 0; first < kRows;) {
        const RowBlock block = buffer->Block(first, kRows);
        scan.Scan(
            block, buffer->Codes(first, kRows), [&](int64_t row) { return accepts(first + row); },
            tops);
        first += block.count;
      }
      for (size_t query = 0; query < queries.size(); ++query) {
        std::vector<Neighbor> expected;
        for (int row = 0; row < kRows; ++row) {
          if (row % 5 == 0 || !accepts(row)) continue;
          expected.push_back({DistanceOf(metric, queries[query], vectors[row]),
                              static_cast<PointId>(kRows - row)});
        }
        std::sort(expected.begin(), expected.end());
        expected.resize(std::min<size_t>(expected.size(), static_cast<size_t>(k)));
        CAPTURE(static_cast<int>(metric), static_cast<int>(storage), k, filtered, query);
        REQUIRE(tops[query].Take() == expected);
      }
      CAPTURE(k, scan.scored());
      if (k <= 10) REQUIRE(scan.scored() < std::ssize(queries) * kRows / 10);
    }
  }
}

TEST_CASE("a threshold holds from the first row on") {
  std::mt19937 random(34);
  constexpr int kDimension = 64;
  constexpr int kRows = 2000;
  const CollectionSpec spec = Spec("c", kDimension, Metric::kL2);
  const auto buffer = std::make_shared<GrowingBuffer>(FormatOf(spec), kRows);
  for (int row = 0; row < kRows; ++row) {
    buffer->Append(static_cast<PointId>(row), RandomVector(random, kDimension).data(), 1);
  }
  const CollectionView view(spec, 1, kRows, {{.buffer = buffer, .rows = kRows}}, {});
  const std::vector<std::vector<float>> queries = {RandomVector(random, kDimension)};
  for (const float farthest : {-1.0f, 0.0f, 60.0f, std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity()}) {
    BufferScan scan(view, queries);
    std::vector<TopK> tops(1, TopK(kRows, kRows, farthest));
    int64_t within = 0;
    for (int64_t first = 0; first < kRows;) {
      const RowBlock block = buffer->Block(first, kRows);
      scan.Scan(
          block, buffer->Codes(first, kRows), [](int64_t) { return true; }, tops);
      std::vector<float> distances(static_cast<size_t>(block.count));
      StoredDistanceFor(FormatOf(spec))(queries[0].data(), block.vectors.bytes, block.count,
                                        kDimension, distances.data());
      for (const float distance : distances) within += distance <= farthest ? 1 : 0;
      first += block.count;
    }
    CAPTURE(farthest, scan.scored());
    REQUIRE(std::ssize(tops[0].Take()) == within);
    if (farthest <= 0) REQUIRE(scan.scored() == 0);
  }
}

}  // namespace
}  // namespace baton
