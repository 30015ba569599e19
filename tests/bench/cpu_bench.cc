// The CPU executor's kernels on one thread beside what the machine can do: weights and vectors are
// read from memory once per call, so the limit of a batch of one is the read bandwidth measured in
// the same run.

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/vector/distance.h"
#include "tests/support/bench_report.h"
#include "tests/support/gguf_writer.h"

namespace baton {
namespace {

std::vector<float> RandomFloats(size_t count, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// GB/s of one thread that only reads: eight bytes a load keep several times ahead of the memory.
double ReadBandwidth(bool tiny) {
  const std::vector<uint64_t> data((tiny ? size_t{1} << 16 : size_t{256} << 20) / 8, 1);
  volatile uint64_t kept = 0;  // so that the sum is needed
  const double seconds = BestSecondsPerCall(tiny, [&] {
    uint64_t sums[4] = {};
    for (size_t i = 0; i < data.size(); i += 4) {
      for (size_t lane = 0; lane < 4; ++lane) sums[lane] += data[i + lane];
    }
    kept = sums[0] + sums[1] + sums[2] + sums[3];
  });
  return static_cast<double>(data.size() * 8) / seconds * 1e-9;
}

void BenchMatmul(const BenchArgs& args, double read_gb_per_s, BenchReport& report,
                 std::mt19937_64& random) {
  const int64_t rows = args.tiny ? 64 : 2048;
  const int64_t cols = args.tiny ? 64 : 5632;
  const CpuKernels& kernels = KernelsFor(DetectedSimdLevel());
  const std::vector<float> weights = RandomFloats(static_cast<size_t>(rows * cols), random);
  std::vector<float> scratch(static_cast<size_t>(kMatmulPanelRows * cols));
  const struct {
    const char* name;
    TensorType type;
  } types[] = {{"f32", TensorType::kF32}, {"f16", TensorType::kF16}, {"q8_0", TensorType::kQ8_0}};
  for (const auto& type : types) {
    const std::string encoded = EncodeWeights(type.type, weights);
    for (const int64_t m : {int64_t{1}, int64_t{8}, int64_t{64}}) {
      const std::vector<float> x = RandomFloats(static_cast<size_t>(m * cols), random);
      std::vector<float> y(static_cast<size_t>(m * rows));
      const double seconds = BestSecondsPerCall(args.tiny, [&] {
        kernels.matmul({.x = x.data(),
                        .w = reinterpret_cast<const std::byte*>(encoded.data()),
                        .type = type.type,
                        .y = y.data(),
                        .y_stride = rows,
                        .m = m,
                        .cols = cols,
                        .row_begin = 0,
                        .row_end = rows,
                        .add = false,
                        .scratch = scratch.data()});
      });
      const std::string name = "matmul." + std::string(type.name) + ".m" + std::to_string(m);
      report.Add(name + ".gflop_per_s", 2e-9 * static_cast<double>(m * rows * cols) / seconds,
                 "GFLOP/s");
      if (m == 1) {
        const double gb_per_s = static_cast<double>(encoded.size()) / seconds * 1e-9;
        report.Add(name + ".gb_per_s", gb_per_s, "GB/s of weights");
        report.Add(name + ".bandwidth_share", gb_per_s / read_gb_per_s, "of the read bandwidth");
      }
    }
  }
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
  BenchMatmul(args, read_gb_per_s, report, random);
  BenchScan(args, read_gb_per_s, report, random);
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Run(baton::ParseBenchArgs(argc, argv)); }
