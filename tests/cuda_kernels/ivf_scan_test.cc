#include "cuda_kernels/ivf_scan.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "engine/vector/code_book.h"
#include "engine/vector/code_products.h"
#include "engine/vector/pq_code.h"
#include "engine/vector/pq_scan.h"
#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

struct Shape {
  std::vector<int64_t> lists = {70, 0, 33, 5, 32};  // rows of each
  int64_t dimension = 20;
  int64_t queries = 2;
  std::vector<uint32_t> probes = {4, 0, 3};
  int32_t k = 10;
  int32_t splits = 1;
  bool terms = true;
  bool squares = false;
  bool some_live = false;
  bool falling = false;  // terms bring each row before those in front of it
};

struct Row {
  float key;
  uint32_t row;
  bool operator<(const Row& other) const {
    return key != other.key ? key < other.key : row < other.row;
  }
};

// Lists in places, rows in no order, padded to whole blocks; what is in none is kNoRow.
struct Lists {
  Lists(const Shape& s, int64_t block_rows) {
    uint32_t at = 0;
    uint32_t row_count = 0;
    for (const int64_t count : s.lists) {
      begin.push_back(at);
      list_rows.push_back(static_cast<uint32_t>(count));
      at += static_cast<uint32_t>((count + block_rows - 1) / block_rows * block_rows);
      row_count += static_cast<uint32_t>(count);
    }
    std::vector<uint32_t> order(row_count);
    for (uint32_t i = 0; i < row_count; ++i) order[i] = row_count - 1 - i;
    std::mt19937_64 random(6);
    if (!s.falling) std::shuffle(order.begin(), order.end(), random);
    rows.assign(at, kNoRow);
    size_t next = 0;
    for (size_t list = 0; list < s.lists.size(); ++list) {
      for (int64_t i = 0; i < s.lists[list]; ++i) rows[begin[list] + i] = order[next++];
    }
    live.assign(row_count / 32 + 1, 0);
    for (uint32_t row = 0; row < row_count; ++row) {
      if (row % 3 != 1) live[row / 32] |= 1u << (row % 32);
    }
    terms = RandomFloats(rows.size(), 71);
    for (size_t i = 0; i < terms.size() && s.falling; ++i) terms[i] = -static_cast<float>(i) * 1e4f;
  }
  std::vector<uint32_t> begin, list_rows, rows, live;
  std::vector<float> terms;
};

// Runs `scan` with what both kinds share, and compares with the smallest of all keys.
template <typename Scan, typename KeysOf>
std::string Compare(const Shape& s, const Lists& lists, const std::vector<uint8_t>& codes,
                    Scan scan, KeysOf keys_of) {
  std::vector<uint32_t> probes;
  for (int64_t query = 0; query < s.queries; ++query) {
    for (const uint32_t list : s.probes) probes.push_back(query == 1 && list == 3 ? kNoRow : list);
  }
  std::vector<uint32_t> want_rows;
  std::vector<float> want_distances;
  for (int64_t query = 0; query < s.queries; ++query) {
    std::vector<Row> all;
    for (size_t i = 0; i < s.probes.size(); ++i) {
      const uint32_t list = probes[query * s.probes.size() + i];
      if (list == kNoRow) continue;
      const std::vector<float> keys = keys_of(query, i, list);
      for (uint32_t at = 0; at < lists.list_rows[list]; ++at) {
        const uint32_t row = lists.rows[lists.begin[list] + at];
        if (s.some_live && row % 3 == 1) continue;
        all.push_back({keys[at], row});
      }
    }
    std::sort(all.begin(), all.end());
    for (int32_t i = 0; i < s.k; ++i) {
      const bool there = i < std::ssize(all);
      want_rows.push_back(there ? all[i].row : kNoRow);
      want_distances.push_back(there ? all[i].key : INFINITY);
    }
  }
  const DeviceArray<uint32_t> begin(lists.begin);
  const DeviceArray<uint32_t> list_rows(lists.list_rows);
  const DeviceArray<uint32_t> rows(lists.rows);
  const DeviceArray<uint32_t> live(lists.live);
  const DeviceArray<float> terms(lists.terms);
  const DeviceArray<uint8_t> device_codes(codes);
  const DeviceArray<uint32_t> device_probes(probes);
  const DeviceArray<float> distances(want_rows.size());
  const DeviceArray<uint32_t> nearest(want_rows.size());
  const DeviceArray<uint64_t> workspace(static_cast<size_t>(
      IvfScanWorkspaceBytes({.query_count = s.queries, .k = s.k, .splits = s.splits}) / 8));
  const std::string failure =
      Failure(scan(IvfScanTask{.lists = {.begin = begin.data(),
                                         .list_rows = list_rows.data(),
                                         .rows = rows.data(),
                                         .codes = device_codes.data(),
                                         .terms = s.terms ? terms.data() : nullptr},
                               .probes = device_probes.data(),
                               .live = s.some_live ? live.data() : nullptr,
                               .live_stride = 0,
                               .keys = nullptr,
                               .distances = distances.data(),
                               .nearest = nearest.data(),
                               .workspace = workspace.data(),
                               .query_count = s.queries,
                               .probe_count = std::ssize(s.probes),
                               .k = s.k,
                               .splits = s.splits}));
  if (!failure.empty()) return failure;
  const std::string of_rows = DifferenceExact("nearest", nearest.Read(), want_rows);
  if (!of_rows.empty()) return of_rows;
  return Difference("distances", distances.Read(), want_distances, {});
}

std::string RunPq(const Shape& s) {
  const PqShape shape =
      PqShapeFor(static_cast<int32_t>(s.dimension), static_cast<int32_t>((s.dimension + 3) / 4));
  const std::vector<float> values = RandomFloats(static_cast<size_t>(shape.book_values()), 72);
  const PqBook book = {.shape = shape, .values = values.data()};
  const Lists lists(s, kPqBlockRows);
  std::vector<uint8_t> codes(lists.rows.size() / kPqBlockRows *
                             static_cast<size_t>(shape.groups() * kPqLineBytes));
  std::mt19937_64 random(8);
  for (uint8_t& code : codes) code = static_cast<uint8_t>(random());

  std::vector<uint8_t> entries;
  std::vector<float> scales;
  std::vector<float> bases = RandomFloats(static_cast<size_t>(s.queries) * s.probes.size(), 73);
  std::vector<PqTables> tables(static_cast<size_t>(s.queries));
  for (size_t query = 0; query < tables.size(); ++query) {
    tables[query].Fill(book, RandomFloats(static_cast<size_t>(shape.padded()), 74 + query).data(),
                       -2);
    const uint8_t* const its = tables[query].entries();
    entries.insert(entries.end(), its, its + shape.sub_quantizers * 16);
    scales.push_back(tables[query].scale());
    for (size_t i = 0; i < s.probes.size(); ++i) {
      bases[query * s.probes.size() + i] += tables[query].bias();
    }
  }
  const DeviceArray<uint8_t> device_tables(entries);
  const DeviceArray<float> device_scales(scales);
  const DeviceArray<float> device_bases(bases);
  return Compare(
      s, lists, codes,
      [&](const IvfScanTask& task) {
        return IvfPqScan({.task = task,
                          .tables = device_tables.data(),
                          .bases = device_bases.data(),
                          .scales = device_scales.data(),
                          .groups = shape.groups()},
                         nullptr);
      },
      [&](int64_t query, size_t probe, uint32_t list) {
        const int64_t block = lists.begin[list] / kPqBlockRows;
        const int64_t blocks = (lists.list_rows[list] + kPqBlockRows - 1) / kPqBlockRows;
        std::vector<float> keys(static_cast<size_t>(blocks * kPqBlockRows));
        std::vector<uint32_t> nearer(static_cast<size_t>(blocks));
        PqScanFor()({.tables = tables[query].entries(),
                     .groups = shape.groups(),
                     .blocks = codes.data() + block * shape.groups() * kPqLineBytes,
                     .block_count = blocks,
                     .terms = s.terms ? lists.terms.data() + lists.begin[list] : nullptr,
                     .base = bases[query * s.probes.size() + probe],
                     .scale = scales[query],
                     .bound = INFINITY,
                     .keys = keys.data(),
                     .nearer = nearer.data()});
        return keys;
      });
}

std::string RunBytes(const Shape& s) {
  const int64_t stride = CodeStride(s.dimension);
  const Lists lists(s, 1);
  std::vector<uint8_t> codes(lists.rows.size() * static_cast<size_t>(stride), 0);
  std::mt19937_64 random(9);
  for (size_t place = 0; place < lists.rows.size(); ++place) {
    for (int64_t i = 0; i < s.dimension; ++i) {
      codes[place * stride + i] = static_cast<uint8_t>(random());
    }
  }
  const auto dimension = static_cast<size_t>(s.dimension);
  const std::vector<float> low(dimension, -1);
  const std::vector<float> step(dimension, 1.0f / 128);
  const CodeBook book = {.dimension = s.dimension,
                         .square_factor = s.squares ? step[0] * step[0] : 0,
                         .low = low.data(),
                         .step = step.data(),
                         .origin = low.data()};
  std::vector<QueryEncoder> encoders(static_cast<size_t>(s.queries));
  std::vector<int8_t> highs;
  std::vector<int8_t> lows;
  std::vector<float> factors;
  for (size_t query = 0; query < encoders.size(); ++query) {
    encoders[query].Encode(book, Metric::kL2, RandomFloats(dimension, 75 + query).data());
    const QueryCode code = encoders[query].code();
    highs.insert(highs.end(), code.high, code.high + stride);
    lows.insert(lows.end(), code.low, code.low + stride);
    factors.push_back(encoders[query].factor());
  }
  const DeviceArray<int8_t> device_highs(highs);
  const DeviceArray<int8_t> device_lows(lows);
  const DeviceArray<float> device_factors(factors);
  return Compare(
      s, lists, codes,
      [&](const IvfScanTask& task) {
        return IvfByteScan({.task = task,
                            .high = device_highs.data(),
                            .low = device_lows.data(),
                            .factors = device_factors.data(),
                            .square_factor = book.square_factor,
                            .stride = stride},
                           nullptr);
      },
      [&](int64_t query, size_t, uint32_t list) {
        std::vector<uint32_t> places;
        for (uint32_t i = 0; i < lists.list_rows[list]; ++i) {
          places.push_back(lists.begin[list] + i);
        }
        std::vector<int32_t> products(places.size());
        std::vector<int32_t> squares(places.size());
        CodeProductsFor()(encoders[query].code(), codes.data(), stride, stride, places.data(),
                          std::ssize(places), products.data(), squares.data());
        std::vector<float> keys(places.size());
        for (size_t i = 0; i < keys.size(); ++i) {
          keys[i] = factors[query] * static_cast<float>(products[i]);
          if (s.squares) keys[i] += book.square_factor * static_cast<float>(squares[i]);
          if (s.terms) keys[i] += lists.terms[places[i]];
        }
        return keys;
      });
}

std::vector<KernelCase> Cases(std::string (*run)(const Shape&)) {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({name, [=] { return run(shape); }});
  };
  with("a few lists", {});
  with("without terms", {.terms = false});
  with("nearer and nearer", {.lists = {3000, 1500, 20},
                             .dimension = 4,
                             .queries = 1,
                             .probes = {0, 1, 2},
                             .k = 100,
                             .falling = true});
  with("the most there may be", {.lists = {4000, 3000},
                                 .dimension = 9,
                                 .queries = 1,
                                 .probes = {1, 0},
                                 .k = kTopKMax,
                                 .splits = 2,
                                 .falling = true});
  with("splits, and deleted rows",
       {.probes = {0, 1, 2, 3, 4}, .k = 200, .splits = 3, .some_live = true});
  with("squares", {.terms = false, .squares = true});
  with("long vectors", {.dimension = 700, .k = 3});
  with("ragged vectors", {.dimension = 190, .k = 3, .squares = true});
  with("one value", {.dimension = 1, .k = 1});
  with("lists that are empty", {.probes = {1}});
  with("no lists", {.probes = {}});
  with("no queries", {.queries = 0});
  return cases;
}

TEST_CASE("product codes are scanned as the engine scans them") {
  CheckKernel(Cases(&RunPq), Barriers::kAll);
}

TEST_CASE("codes of a byte are scanned as the engine scans them") {
  CheckKernel(Cases(&RunBytes), Barriers::kAll);
}

TEST_CASE("queries are split so that multiprocessors are busy") {
  CHECK(IvfScanSplits({.query_count = 1, .probe_count = 40, .multiprocessors = 132}) == 40);
  CHECK(IvfScanSplits({.query_count = 1, .probe_count = 400, .multiprocessors = 132}) ==
        kIvfSplitsMax);
  CHECK(IvfScanSplits({.query_count = 500, .probe_count = 40, .multiprocessors = 132}) == 2);
  CHECK(IvfScanSplits({.query_count = 1, .probe_count = 0, .multiprocessors = 132}) == 1);
  CHECK(IvfScanSplits({.query_count = 0, .probe_count = 3, .multiprocessors = 132}) == 1);
}

TEST_CASE("what cannot be scanned is refused") {
  IvfPqScanArgs pq = {};
  pq.task.query_count = 1;
  pq.task.k = 1;
  pq.task.splits = 1;
  pq.groups = kIvfGroupsMax + 1;
  CHECK(IvfPqScan(pq, nullptr) == cudaErrorInvalidValue);
  pq.groups = 1;
  pq.task.k = kTopKMax + 1;
  CHECK(IvfPqScan(pq, nullptr) == cudaErrorInvalidValue);
  IvfByteScanArgs bytes = {};
  bytes.task = pq.task;
  bytes.task.k = 1;
  for (const int64_t stride : {0, 24, 32768}) {
    bytes.stride = stride;
    CHECK(IvfByteScan(bytes, nullptr) == cudaErrorInvalidValue);
  }
  bytes.stride = 16;
  bytes.task.splits = 0;
  CHECK(IvfByteScan(bytes, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
