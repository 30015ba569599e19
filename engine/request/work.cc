#include "engine/request/work.h"

#include <array>

namespace baton {
namespace {

constexpr std::array<std::string_view, kPlatformCount> kPlatforms = {"cpu", "gpu", "fpga"};
constexpr std::array<std::string_view, kWorkClassCount> kWorkClasses = {
    "prefill",     "decode",       "search_single", "search_bulk", "graph_build",
    "bulk_insert", "graph_update", "embed",         "rerank",      "kmeans"};
constexpr std::array<std::string_view, 4> kPolicies = {"latency_optimized", "throughput_optimized",
                                                       "power_optimized", "balanced"};
constexpr std::array<std::string_view, 4> kFallbacks = {"none", "cpu", "alternate", "retry"};
constexpr std::array<std::string_view, 3> kHandoffFailures = {"fail", "recompute", "local"};

template <size_t kSize, class Enum>
bool ParseIn(const std::array<std::string_view, kSize>& names, std::string_view name, Enum* value) {
  for (size_t i = 0; i < kSize; ++i) {
    if (names[i] == name) {
      *value = static_cast<Enum>(i);
      return true;
    }
  }
  return false;
}

}  // namespace

std::string_view Name(Platform platform) { return kPlatforms[static_cast<size_t>(platform)]; }
std::string_view Name(WorkClass work_class) {
  return kWorkClasses[static_cast<size_t>(work_class)];
}
std::string_view Name(Policy policy) { return kPolicies[static_cast<size_t>(policy)]; }
std::string_view Name(Fallback fallback) { return kFallbacks[static_cast<size_t>(fallback)]; }
std::string_view Name(HandoffFailure failure) {
  return kHandoffFailures[static_cast<size_t>(failure)];
}

std::string Name(PlatformSet platforms) {
  std::string names;
  for (int i = 0; i < kPlatformCount; ++i) {
    if (!platforms.Has(static_cast<Platform>(i))) continue;
    if (!names.empty()) names += ',';
    names += kPlatforms[static_cast<size_t>(i)];
  }
  return names;
}

bool Parse(std::string_view name, Platform* platform) {
  return ParseIn(kPlatforms, name, platform);
}
bool Parse(std::string_view name, Policy* policy) { return ParseIn(kPolicies, name, policy); }
bool Parse(std::string_view name, Fallback* fallback) {
  return ParseIn(kFallbacks, name, fallback);
}
bool Parse(std::string_view name, HandoffFailure* failure) {
  return ParseIn(kHandoffFailures, name, failure);
}
bool Parse(std::string_view names, PlatformSet* platforms) {
  *platforms = {};
  while (true) {
    const size_t comma = names.find(',');
    Platform platform{};
    if (!Parse(names.substr(0, comma), &platform)) return false;
    platforms->Add(platform);
    if (comma == names.npos) return true;
    names.remove_prefix(comma + 1);
  }
}

}  // namespace baton
