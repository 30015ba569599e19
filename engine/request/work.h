#pragma once

#include <cstdint>
#include <string_view>

namespace baton {

enum class Platform : uint8_t { kCpu, kGpu, kFpga };
inline constexpr int kPlatformCount = 3;

// What the classifier makes of a piece of work. DESIGN: one name per kind of kernel shape.
enum class WorkClass : uint8_t {
  kPrefill,
  kDecode,
  kSearchSingle,
  kSearchBulk,
  kGraphBuild,
  kBulkInsert,
  kGraphUpdate,
  kEmbed,
  kRerank,
  kKmeans,
};
inline constexpr int kWorkClassCount = 10;

// How the scorer weighs executors against each other.
enum class Policy : uint8_t {
  kLatencyOptimized,
  kThroughputOptimized,
  kPowerOptimized,
  kBalanced,
};

// What may happen when the preferred platform cannot take a stage.
enum class Fallback : uint8_t { kNone, kCpu, kAlternate };

// Names as they appear in configuration, metrics and the API's metadata: "cpu", "search_single" ...
std::string_view Name(Platform platform);
std::string_view Name(WorkClass work_class);
std::string_view Name(Policy policy);
std::string_view Name(Fallback fallback);

// The reverse; false where `name` is none of them.
bool Parse(std::string_view name, Platform* platform);
bool Parse(std::string_view name, Policy* policy);
bool Parse(std::string_view name, Fallback* fallback);

}  // namespace baton
