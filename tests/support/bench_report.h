#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace baton {

// What every benchmark takes from its command line; others are the benchmark's own.
struct BenchArgs {
  std::string json_path;  // --json FILE: where the figures go; empty: nowhere
  std::string commit;     // --commit C
  uint64_t seed = 1;      // --seed N
  bool tiny = false;      // --tiny: smallest sizes, to see that it runs
};

// A flag of one benchmark's own, with a value: {"--peer", "FILE", &path}.
struct BenchFlag {
  std::string name;
  std::string value_name;
  std::string* value;
};

// Ends the process with usage and exit code 2 on anything else.
BenchArgs ParseBenchArgs(int argc, char** argv, const std::vector<BenchFlag>& own = {});

// Figures by dotted name, printed as a table and written as JSON:
//   {"figures": {name: number}, "machine": {...}, "commit": "...", "seed": N}
class BenchReport {
 public:
  explicit BenchReport(const BenchArgs& args) : args_(args) {}
  // Also prints the line at once.
  void Add(const std::string& name, double value, const std::string& unit);
  // 0, or 1 where the file cannot be written: main's return value.
  int Finish() const;

 private:
  const BenchArgs args_;
  std::map<std::string, double> figures_;
};

// Best of several rounds: seconds per call of `work`, called often enough to be measured.
template <class Work>
double BestSecondsPerCall(bool tiny, Work work);

}  // namespace baton

// ---- Implementation of the template

#include <algorithm>
#include <chrono>

namespace baton {

template <class Work>
double BestSecondsPerCall(bool tiny, Work work) {
  using Time = std::chrono::steady_clock;
  const auto seconds = [&work](int64_t calls) {
    const auto begin = Time::now();
    for (int64_t i = 0; i < calls; ++i) work();
    return std::chrono::duration<double>(Time::now() - begin).count();
  };
  const double wanted = tiny ? 1e-4 : 0.05;
  int64_t calls = 1;
  while (seconds(calls) < wanted) calls *= 2;
  double best = 1e9;
  for (int round = 0; round < (tiny ? 1 : 7); ++round) {
    best = std::min(best, seconds(calls) / static_cast<double>(calls));
  }
  return best;
}

}  // namespace baton
