#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/clock.h"

namespace baton {

// What the processor packages of this machine draw, by their own counters: Linux' powercap tree,
// zones intel-rapl:N with energy_uj, which wraps at max_energy_range_uj. Everything that runs on
// the machine is in it, not this process alone. Thread safe.
class PackagePower {
 public:
  // `tree`: /sys/class/powercap. Without zones, or where they are not readable (most distributions
  // leave them to root), nothing is ever measured.
  explicit PackagePower(const std::string& tree);

  // Mean watts of the last full tenth of a second or longer; nullopt: not measured (yet). Reads the
  // counters at most ten times a second.
  std::optional<double> Watts(TimeUs now_us);

 private:
  struct Zone {
    std::string energy_path;
    int64_t range_uj = 0;
    int64_t last_uj = 0;
  };
  std::mutex mutex_;
  std::vector<Zone> zones_;
  std::optional<TimeUs> last_us_;
  std::optional<double> watts_;
};

}  // namespace baton
