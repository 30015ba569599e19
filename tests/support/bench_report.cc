#include "tests/support/bench_report.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/base/simd_level.h"

namespace baton {
namespace {

std::string ProcessorName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(": ") + 2);
  }
  return "unknown";
}

}  // namespace

BenchArgs ParseBenchArgs(int argc, char** argv, const std::vector<BenchFlag>& own) {
  BenchArgs args;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    char* end = nullptr;
    const auto found = std::find_if(own.begin(), own.end(),
                                    [&flag](const BenchFlag& f) { return f.name == flag; });
    if (flag == "--tiny") {
      args.tiny = true;
      continue;
    } else if (flag == "--json" && value != nullptr) {
      args.json_path = value;
    } else if (flag == "--commit" && value != nullptr) {
      args.commit = value;
    } else if (flag == "--seed" && value != nullptr &&
               (args.seed = std::strtoull(value, &end, 10), *value != '\0' && *end == '\0')) {
      // parsed in the condition
    } else if (found != own.end() && value != nullptr) {
      *found->value = value;
    } else {
      std::fprintf(stderr, "usage: %s [--json FILE] [--commit C] [--seed N] [--tiny]", argv[0]);
      for (const BenchFlag& f : own) {
        std::fprintf(stderr, " [%s %s]", f.name.c_str(), f.value_name.c_str());
      }
      std::fprintf(stderr, "\n");
      std::exit(2);
    }
    ++i;
  }
  return args;
}

void BenchReport::Add(const std::string& name, double value, const std::string& unit) {
  figures_[name] = value;
  std::printf("%-40s %12.3f %s\n", name.c_str(), value, unit.c_str());
  std::fflush(stdout);
}

int BenchReport::Finish() const {
  if (args_.json_path.empty()) return 0;
  const nlohmann::json report = {{"figures", figures_},
                                 {"machine",
                                  {{"processor", ProcessorName()},
                                   {"cores", std::thread::hardware_concurrency()},
                                   {"simd", Name(DetectedSimdLevel())}}},
                                 {"commit", args_.commit},
                                 {"seed", args_.seed}};
  std::ofstream file(args_.json_path);
  file << report.dump(2) << "\n";
  if (file.flush()) return 0;
  std::fprintf(stderr, "cannot write %s\n", args_.json_path.c_str());
  return 1;
}

}  // namespace baton
