#include "engine/vector/pq_scan.h"

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "engine/vector/pq_code.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

TEST_CASE("scans of 4-bit codes are the naive ones at every level, shape and number of blocks") {
  std::mt19937 random(41);
  for (const int groups : {1, 2, 3, 8, 31, 128}) {
    for (const int blocks : {0, 1, 3, 4, 5, 9}) {
      for (const bool extreme : {false, true}) {
        const int sub_quantizers = groups * 4;
        const int rows = blocks * 32;
        std::vector<uint8_t> tables(static_cast<size_t>(sub_quantizers * 16));
        for (uint8_t& entry : tables) {
          entry = static_cast<uint8_t>(extreme ? kPqEntryMax : random() % (kPqEntryMax + 1));
        }
        const PqShape shape{.sub_quantizers = sub_quantizers};
        // One byte in: codes may lie anywhere.
        std::vector<uint8_t> lines(static_cast<size_t>(blocks * groups * 64 + 1));
        std::vector<float> terms(static_cast<size_t>(rows));
        std::vector<int> sums(static_cast<size_t>(rows));
        for (int row = 0; row < rows; ++row) {
          std::vector<uint8_t> codes;
          for (int m = 0; m < sub_quantizers; ++m) {
            codes.push_back(random() % 16);
            sums[row] += tables[m * 16 + codes.back()];
          }
          StorePqCodes(shape, codes.data(), row % 32,
                       lines.data() + 1 + row / 32 * groups * kPqLineBytes);
          terms[row] = static_cast<float>(random() % 1000) / 7;
        }
        for (const bool with_terms : {false, true}) {
          const float scale = 0.37f;
          const float base = -3.1f;
          std::vector<float> expected;
          for (int row = 0; row < rows; ++row) {
            const float first = with_terms ? base + terms[row] : base;
            const float product = scale * static_cast<float>(sums[row]);
            expected.push_back(first + product);
          }
          const float bound = expected.empty() ? 0 : expected[rows / 2];
          for (const SimdLevel level : SupportedSimdLevels()) {
            CAPTURE(groups, blocks, extreme, with_terms, Name(level));
            std::vector<float> keys(static_cast<size_t>(rows));
            std::vector<uint32_t> nearer(static_cast<size_t>(blocks));
            PqScanFor(level)({.tables = tables.data(),
                              .groups = groups,
                              .blocks = lines.data() + 1,
                              .block_count = blocks,
                              .terms = with_terms ? terms.data() : nullptr,
                              .base = base,
                              .scale = scale,
                              .bound = bound,
                              .keys = keys.data(),
                              .nearer = nearer.data()});
            REQUIRE(keys == expected);
            bool same = true;
            for (int row = 0; row < rows; ++row) {
              same = same && ((nearer[row / 32] >> row % 32 & 1) != 0) == (keys[row] < bound);
            }
            REQUIRE(same);
          }
        }
      }
    }
  }
}

TEST_CASE("scans of 8-bit codes are the naive ones at every level, shape and number of blocks") {
  std::mt19937 random(43);
  for (const int groups : {1, 2, 3, 31, 128}) {
    for (const int blocks : {0, 1, 2, 3, 8, 9, 19}) {
      for (const bool extreme : {false, true}) {
        const int sub_quantizers = groups * 2;
        const int rows = blocks * 32;
        std::vector<uint8_t> tables(static_cast<size_t>(sub_quantizers * 256 + 1));
        for (uint8_t& entry : tables) {
          entry = static_cast<uint8_t>(extreme ? kPq8EntryMax : random() % (kPq8EntryMax + 1));
        }
        const PqShape shape{.sub_quantizers = sub_quantizers, .bits = 8};
        std::vector<uint8_t> lines(static_cast<size_t>(blocks * groups * kPqLineBytes + 1));
        std::vector<float> terms(static_cast<size_t>(rows));
        std::vector<float> expected(static_cast<size_t>(rows));
        const float scale = 0.37f;
        const float base = -3.1f;
        for (int row = 0; row < rows; ++row) {
          std::vector<uint8_t> codes;
          int sum = 0;
          for (int m = 0; m < sub_quantizers; ++m) {
            codes.push_back(static_cast<uint8_t>(random()));
            sum += tables[static_cast<size_t>(m * 256 + codes.back() + 1)];
          }
          StorePqCodes(shape, codes.data(), row % 32,
                       lines.data() + 1 + row / 32 * groups * kPqLineBytes);
          terms[row] = static_cast<float>(random() % 1000) / 7;
          const float first = base + terms[row];
          const float product = scale * static_cast<float>(sum);
          expected[row] = first + product;
        }
        const float bound = expected.empty() ? 0 : expected[rows / 2];
        for (const SimdLevel level : SupportedSimdLevels()) {
          CAPTURE(groups, blocks, extreme, Name(level));
          std::vector<float> keys(static_cast<size_t>(rows));
          std::vector<uint32_t> nearer(static_cast<size_t>(blocks));
          Pq8ScanFor(level)({.tables = tables.data() + 1,
                             .groups = groups,
                             .blocks = lines.data() + 1,
                             .block_count = blocks,
                             .terms = terms.data(),
                             .base = base,
                             .scale = scale,
                             .bound = bound,
                             .keys = keys.data(),
                             .nearer = nearer.data()});
          REQUIRE(keys == expected);
          bool same = true;
          for (int row = 0; row < rows; ++row) {
            same = same && ((nearer[row / 32] >> row % 32 & 1) != 0) == (keys[row] < bound);
          }
          REQUIRE(same);
        }
      }
    }
  }
}

TEST_CASE("shapes of codes cover the vector, and no more bytes than asked for") {
  const int bits = GENERATE(4, 8);
  const int group = 16 / bits;
  for (const int dimension : {1, 2, 3, 4, 5, 7, 8, 96, 100, 128, 513, 768, 4096, 65'536}) {
    for (const int bytes : {1, 2, 16, 31, 64, 256}) {
      const PqShape shape = PqShapeFor(dimension, bytes, bits);
      CAPTURE(dimension, bytes, bits, shape.part, shape.parts, shape.sub_quantizers);
      CHECK(shape.parts * shape.part >= dimension);
      CHECK((shape.parts - 1) * shape.part < dimension);
      CHECK(shape.parts <= 8 / bits * bytes);
      CHECK(shape.sub_quantizers % group == 0);
      CHECK(shape.sub_quantizers >= shape.parts);
      CHECK(shape.sub_quantizers < shape.parts + group);
      CHECK(shape.sub_quantizers <= kPqSubQuantizersMax / (bits / 4));
    }
  }
}

TEST_CASE("codes name the nearest centroid of each part, and tables its product") {
  std::mt19937 random(42);
  const int bits = GENERATE(4, 8);
  const int centroids = 1 << bits;
  for (const int dimension : {1, 3, 8, 30, 100}) {
    const PqShape shape = PqShapeFor(dimension, dimension < 30 ? 2 : 8, bits);
    CAPTURE(bits, dimension, shape.part, shape.parts);
    const auto trained = RandomVector(random, shape.parts * centroids * shape.part);
    std::vector<float> values(static_cast<size_t>(shape.book_values()));
    ArrangeBook(shape, trained, values.data());
    const PqBook book{.shape = shape, .values = values.data()};
    std::vector<float> vector = RandomVector(random, dimension);
    vector.resize(static_cast<size_t>(shape.padded()));
    std::vector<uint8_t> codes(static_cast<size_t>(shape.sub_quantizers));
    EncodePq(book, vector.data(), codes.data());
    std::vector<float> decoded(vector.size());
    DecodePq(book, codes.data(), decoded.data());
    const auto centroid = [&](int m, int c, int j) {
      return trained[static_cast<size_t>((m * centroids + c) * shape.part + j)];
    };
    for (int m = 0; m < shape.parts; ++m) {
      const auto error = [&](int c) {
        float sum = 0;
        for (int j = 0; j < shape.part; ++j) {
          const float difference = vector[m * shape.part + j] - centroid(m, c, j);
          sum += difference * difference;
        }
        return sum;
      };
      for (int c = 0; c < centroids; ++c) REQUIRE(error(codes[m]) <= error(c));
      for (int j = 0; j < shape.part; ++j) {
        REQUIRE(decoded[m * shape.part + j] == centroid(m, codes[m], j));
      }
    }

    std::vector<float> query = RandomVector(random, dimension);
    query.resize(vector.size());
    PqTables tables;
    tables.Fill(book, query.data(), -2);
    double product = 0;
    int sum = 0;
    for (size_t j = 0; j < query.size(); ++j) product += -2.0 * query[j] * decoded[j];
    for (int m = 0; m < shape.sub_quantizers; ++m) {
      const uint8_t entry = tables.entries()[m * centroids + codes[m]];
      REQUIRE(entry <= (bits == 8 ? kPq8EntryMax : kPqEntryMax));
      sum += entry;
    }
    // Each entry is off by half a unit at most.
    const double tolerance = tables.scale() * shape.sub_quantizers / 2 + 1e-3;
    CHECK(std::abs(tables.bias() + tables.scale() * static_cast<float>(sum) - product) < tolerance);
  }
}

TEST_CASE("tables of a query that is zero, or of centroids that are all alike, are zero") {
  const PqShape shape = PqShapeFor(8, 2, GENERATE(4, 8));
  const std::vector<float> values(static_cast<size_t>(shape.book_values()), 3.0f);
  const PqBook book{.shape = shape, .values = values.data()};
  PqTables tables;
  const std::vector<float> zero(8);
  tables.Fill(book, zero.data(), -2);
  CHECK(tables.scale() == 0);
  CHECK(tables.bias() == 0);
  const std::vector<float> ones(8, 1.0f);
  tables.Fill(book, ones.data(), 1);
  CHECK(tables.scale() == 0);
  CHECK(tables.bias() == 24);
  const int64_t entries = shape.sub_quantizers * shape.centroids();
  CHECK(std::count(tables.entries(), tables.entries() + entries, 0) == entries);
}

}  // namespace
}  // namespace baton
