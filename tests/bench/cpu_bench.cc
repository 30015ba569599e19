// The distance kernels on one thread beside what the machine can do: vectors are read from memory
// once per call, so the limit is the read bandwidth measured in the same run. Products of matrices
// are llm_kernels_bench.cc's.
//
// And the scan of a full growing buffer of 32,768 rows, for the 10 nearest, of values that are all
// random (SET normal: all rows about as far, which is the worst for codes) and of vectors like
// embeddings (SET clusters):
//   buffer.SET.METRIC.dN.scan_us        alone, by codes first
//   buffer.SET.METRIC.dN.scan_after_us  where rows as near are known, as after segments
//   buffer.SET.METRIC.dN.vectors_us     comparing all vectors, which finds the same
//   buffer.SET.METRIC.dN.scored_rows    whose vectors the first looks at, of each query

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "engine/vector/buffer_scan.h"
#include "engine/vector/distance.h"
#include "engine/vector/growing_buffer.h"
#include "tests/bench/vector_sets.h"
#include "tests/support/bench_report.h"
#include "tests/support/read_bandwidth.h"

namespace baton {
namespace {

std::vector<float> RandomFloats(size_t count, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

void BenchScan(const BenchArgs& args, BenchReport& report, std::mt19937_64& random) {
  for (const int64_t dimension : {int64_t{128}, int64_t{768}}) {
    const int64_t rows = args.tiny ? 100 : (int64_t{64} << 20) / (4 * dimension);
    const std::vector<float> vectors = RandomFloats(static_cast<size_t>(rows * dimension), random);
    const double read_gb_per_s = ReadBandwidth(rows * dimension * 4, args.tiny);
    const std::vector<float> query = RandomFloats(static_cast<size_t>(dimension), random);
    std::vector<float> out(static_cast<size_t>(rows));
    const double seconds = BestSecondsPerCall(args.tiny, [&] {
      DistanceFor(Metric::kL2)(query.data(), vectors.data(), rows, dimension, out.data());
    });
    const double gb_per_s = static_cast<double>(rows * dimension * 4) / seconds * 1e-9;
    const std::string name = "scan.l2.d" + std::to_string(dimension);
    report.Add(name + ".read_gb_per_s", read_gb_per_s, "GB/s, one thread that only reads");
    report.Add(name + ".gb_per_s", gb_per_s, "GB/s of vectors");
    report.Add(name + ".bandwidth_share", gb_per_s / read_gb_per_s, "of the read bandwidth");
  }
}

// The 10 nearest, by comparing with all rows.
std::vector<Neighbor> ScanVectors(const GrowingBuffer& buffer, const VectorFormat& format,
                                  const std::vector<float>& query) {
  const StoredDistanceFn distance = StoredDistanceFor(format);
  TopK top(10, buffer.rows());
  std::vector<float> distances(static_cast<size_t>(buffer.chunk_rows()));
  for (int64_t first = 0; first < buffer.rows();) {
    const RowBlock block = buffer.Block(first, buffer.rows());
    distance(query.data(), block.vectors.bytes, block.count, format.dimension(), distances.data());
    for (int64_t i = 0; i < block.count; ++i) {
      top.Add({distances[static_cast<size_t>(i)], block.ids[i]});
    }
    first += block.count;
  }
  return top.Take();
}

// The next vectors of a set, [count, dimension].
using Draw = std::function<std::vector<float>(int64_t count)>;

constexpr float kAnyDistance = std::numeric_limits<float>::infinity();

void BenchBuffer(const BenchArgs& args, const std::string& set, Metric metric,
                 const std::string& metric_name, BenchReport& report,
                 const std::function<Draw(int32_t dimension)>& draw_of) {
  constexpr size_t kQueries = 16;
  for (const int32_t dimension : {128, 768}) {
    const Draw draw = draw_of(dimension);
    const int64_t rows = args.tiny ? 300 : 32'768;
    const CollectionSpec spec{.name = "c", .dimension = dimension, .metric = metric};
    const VectorFormat format = FormatOf(spec);
    const auto buffer = std::make_shared<GrowingBuffer>(format, rows);
    const std::vector<float> vectors = draw(rows);
    for (int64_t row = 0; row < rows; ++row) {
      buffer->Append(static_cast<PointId>(row), &vectors[static_cast<size_t>(row * dimension)], 1);
    }
    const CollectionView view(spec, 1, rows, {{.buffer = buffer, .rows = rows}}, {});
    std::vector<std::vector<float>> queries;
    for (size_t i = 0; i < kQueries; ++i) {
      queries.push_back(draw(1));
    }
    int64_t scored = 0;
    std::vector<float> tenth(kQueries);  // how far it is
    const auto by_code = [&](size_t query, float farthest) {
      BufferScan scan(view, std::span(&queries[query], 1));
      std::vector<TopK> tops(1, TopK(10, rows, farthest));
      for (int64_t first = 0; first < rows;) {
        const RowBlock block = buffer->Block(first, rows);
        scan.Scan(
            block, buffer->Codes(first, rows), [](int64_t) { return true; }, tops);
        first += block.count;
      }
      scored += scan.scored();
      return tops[0].Take();
    };
    for (size_t query = 0; query < kQueries; ++query) {
      const std::vector<Neighbor> found = by_code(query, kAnyDistance);
      tenth[query] = found.back().distance;
      if (found == ScanVectors(*buffer, format, queries[query])) continue;
      std::fprintf(stderr, "a scan by codes found other rows than comparing all\n");
      std::exit(1);
    }
    const std::string name = "buffer." + set + "." + metric_name + ".d" + std::to_string(dimension);
    report.Add(name + ".scored_rows", static_cast<double>(scored) / kQueries, "rows");
    size_t next = 0;
    const auto scan_us = [&](bool after) {
      return 1e6 * BestSecondsPerCall(args.tiny, [&] {
               const size_t query = next++ % kQueries;
               by_code(query, after ? tenth[query] : kAnyDistance);
             });
    };
    report.Add(name + ".scan_us", scan_us(false), "us");
    report.Add(name + ".scan_after_us", scan_us(true), "us");
    report.Add(name + ".vectors_us",
               BestSecondsPerCall(
                   args.tiny, [&] { ScanVectors(*buffer, format, queries[next++ % kQueries]); }) *
                   1e6,
               "us");
  }
}

int Run(const BenchArgs& args) {
  std::mt19937_64 random(args.seed);
  BenchReport report(args);
  BenchScan(args, report, random);
  const auto normal = [&random](int32_t dimension) -> Draw {
    return [&random, dimension](int64_t count) {
      return RandomFloats(static_cast<size_t>(count * dimension), random);
    };
  };
  BenchBuffer(args, "normal", Metric::kL2, "l2", report, normal);
  BenchBuffer(args, "normal", Metric::kDot, "dot", report, normal);
  for (const Metric metric : {Metric::kL2, Metric::kCosine}) {
    BenchBuffer(args, "clusters", metric, metric == Metric::kL2 ? "l2" : "cosine", report,
                [&](int32_t dimension) -> Draw {
                  auto generator = std::make_shared<VectorGenerator>(metric, dimension, args.seed);
                  return [generator](int64_t count) { return generator->Draw(count); };
                });
  }
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Run(baton::ParseBenchArgs(argc, argv)); }
