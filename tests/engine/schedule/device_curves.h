#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "engine/schedule/cost_curve.h"

namespace baton {

// Times of devices that no executor here has, fixed before the cost model was tuned to anything:
// knees, steps and products that its basis does not hold.
struct DeviceCurve {
  std::string name;
  std::function<double(const WorkShape&)> run_us;
  std::function<WorkShape(std::mt19937&)> traffic;
};

inline double LogUniform(std::mt19937& random, double low, double high) {
  return std::exp(std::uniform_real_distribution<>(std::log(low), std::log(high))(random));
}

inline std::vector<DeviceCurve> DeviceCurves() {
  const auto items = [](double low, double high) {
    return [low, high](std::mt19937& random) {
      return WorkShape{.items = std::floor(LogUniform(random, low, high + 1))};
    };
  };
  std::vector<DeviceCurve> curves;
  curves.push_back({"a GPU's bulk search: 5 ms up to 500 queries, 100,000/s beyond",
                    [](const WorkShape& w) { return std::max(5000.0, w.items * 10); },
                    items(11, 4000)});
  curves.push_back({"an FPGA's searches: 0.5 ms each, one after another",
                    [](const WorkShape& w) { return 400 + 100 * w.items; }, items(1, 64)});
  curves.push_back({"waves of 132 blocks",
                    [](const WorkShape& w) { return 800 + 1200 * std::ceil(w.items / 132); },
                    items(1, 2000)});
  curves.push_back({"padding to 64, and a kernel that changes at 512",
                    [](const WorkShape& w) {
                      const double padded = 64 * std::ceil(w.items / 64);
                      return 150 + padded * (w.items < 512 ? 9 : 4);
                    },
                    items(1, 2048)});
  curves.push_back({"prefill: attention grows with the context, a cache ends at 256 tokens",
                    [](const WorkShape& w) {
                      const double each = w.items > 256 ? 320 : 200;
                      return 900 + each * w.items * (1 + w.context / 2000);
                    },
                    [](std::mt19937& random) {
                      return WorkShape{.items = std::floor(LogUniform(random, 1, 513)),
                                       .context = std::floor(LogUniform(random, 1, 8192))};
                    }});
  curves.push_back({"decode: weights once, keys and values of each, slower when busy",
                    [](const WorkShape& w) {
                      return (9000 + 40 * w.items + 0.02 * w.items * w.context) * (1 + w.load);
                    },
                    [](std::mt19937& random) {
                      const double n = std::floor(LogUniform(random, 1, 65));
                      return WorkShape{.items = n,
                                       .batch = n,
                                       .context = std::floor(LogUniform(random, 16, 8192)),
                                       .load = std::uniform_real_distribution<>(0, 1)(random)};
                    }});
  curves.push_back({"a CPU's search: more points, deeper walks, slower when busy",
                    [](const WorkShape& w) {
                      return 30 + w.items * w.scale * std::log2(w.context) / 40 * (1 + w.load);
                    },
                    [](std::mt19937& random) {
                      const double points[] = {3000, 200'000, 5'000'000};
                      const double dims[] = {128, 384, 1024};
                      const auto pick = random() % 3;
                      return WorkShape{.items = std::floor(LogUniform(random, 1, 33)),
                                       .context = points[pick],
                                       .scale = dims[pick],
                                       .load = std::uniform_real_distribution<>(0, 1)(random)};
                    }});
  return curves;
}

// Lognormal noise of a tenth, and one batch in a hundred that something else made ten times slower.
class DeviceNoise {
 public:
  explicit DeviceNoise(uint32_t seed) : random_(seed) {}
  double Next() {
    const double outlier = random_() % 100 == 0 ? 10 : 1;
    return std::exp(normal_(random_)) * outlier;
  }

 private:
  std::mt19937 random_;
  std::normal_distribution<> normal_{0, 0.1};
};

}  // namespace baton
