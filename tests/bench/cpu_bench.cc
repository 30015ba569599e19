// The distance kernels on one thread beside what the machine can do: vectors are read from memory
// once per call, so the limit is the read bandwidth measured in the same run. Products of matrices
// are llm_kernels_bench.cc's.

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "engine/vector/distance.h"
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

void BenchScan(const BenchArgs& args, double read_gb_per_s, BenchReport& report,
               std::mt19937_64& random) {
  for (const int64_t dimension : {int64_t{128}, int64_t{768}}) {
    const int64_t rows = args.tiny ? 100 : (int64_t{64} << 20) / (4 * dimension);
    const std::vector<float> vectors = RandomFloats(static_cast<size_t>(rows * dimension), random);
    const std::vector<float> query = RandomFloats(static_cast<size_t>(dimension), random);
    std::vector<float> out(static_cast<size_t>(rows));
    const double seconds = BestSecondsPerCall(args.tiny, [&] {
      DistanceFor(Metric::kL2)(query.data(), vectors.data(), rows, dimension, out.data());
    });
    const double gb_per_s = static_cast<double>(rows * dimension * 4) / seconds * 1e-9;
    const std::string name = "scan.l2.d" + std::to_string(dimension);
    report.Add(name + ".gb_per_s", gb_per_s, "GB/s of vectors");
    report.Add(name + ".bandwidth_share", gb_per_s / read_gb_per_s, "of the read bandwidth");
  }
}

int Run(const BenchArgs& args) {
  std::mt19937_64 random(args.seed);
  BenchReport report(args);
  const double read_gb_per_s = ReadBandwidth(args.tiny);
  report.Add("machine.read_gb_per_s", read_gb_per_s, "GB/s, one thread");
  BenchScan(args, read_gb_per_s, report, random);
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Run(baton::ParseBenchArgs(argc, argv)); }
