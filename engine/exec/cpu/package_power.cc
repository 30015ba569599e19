#include "engine/exec/cpu/package_power.h"

#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

namespace baton {
namespace {

constexpr TimeUs kPeriodUs = 100'000;

// A count from a file of its own; nullopt where there is none.
std::optional<int64_t> ReadCount(const std::string& path) {
  std::ifstream file(path);
  int64_t count = 0;
  file >> count;
  if (!file || count < 0) return std::nullopt;
  return count;
}

// "intel-rapl:0" is a package; "intel-rapl:0:1" is a part of one.
bool IsPackage(const std::string& name) {
  const size_t colon = name.find(':');
  return name.starts_with("intel-rapl") && colon != name.npos &&
         name.find(':', colon + 1) == name.npos;
}

}  // namespace

PackagePower::PackagePower(const std::string& tree) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(tree, error)) {
    if (!IsPackage(entry.path().filename().string())) continue;
    Zone zone{.energy_path = (entry.path() / "energy_uj").string()};
    zone.range_uj = ReadCount((entry.path() / "max_energy_range_uj").string()).value_or(0);
    const std::optional<int64_t> energy_uj = ReadCount(zone.energy_path);
    if (!energy_uj) continue;
    zone.last_uj = *energy_uj;
    zones_.push_back(std::move(zone));
  }
}

std::optional<double> PackagePower::Watts(TimeUs now_us) {
  if (zones_.empty()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (last_us_ && now_us - *last_us_ < kPeriodUs) return watts_;
  int64_t used_uj = 0;
  for (Zone& zone : zones_) {
    const std::optional<int64_t> energy_uj = ReadCount(zone.energy_path);
    if (!energy_uj) return watts_ = std::nullopt;
    const int64_t delta_uj = *energy_uj - std::exchange(zone.last_uj, *energy_uj);
    used_uj += delta_uj >= 0 ? delta_uj : delta_uj + zone.range_uj;
  }
  const std::optional<TimeUs> before_us = std::exchange(last_us_, now_us);
  // Microjoules in microseconds are watts.
  if (before_us) watts_ = static_cast<double>(used_uj) / static_cast<double>(now_us - *before_us);
  return watts_;
}

}  // namespace baton
