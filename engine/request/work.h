#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
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

// What may happen when the preferred platform cannot take a stage, or fails at it. kRetry: as
// kAlternate, and more than once.
enum class Fallback : uint8_t { kNone, kCpu, kAlternate, kRetry };

// What becomes of a sequence whose handoff fails, or one of its executors, once it has begun to
// answer. kFail: it ends with UNAVAILABLE. kRecompute: its text so far is prefilled elsewhere, and
// it goes on there. kLocal: it decodes where it was prefilled.
enum class HandoffFailure : uint8_t { kFail, kRecompute, kLocal };

// Some of the platforms.
class PlatformSet {
 public:
  constexpr PlatformSet() = default;
  constexpr PlatformSet(std::initializer_list<Platform> platforms) {
    for (const Platform platform : platforms) Add(platform);
  }
  constexpr void Add(Platform platform) {
    bits_ = static_cast<uint8_t>(bits_ | 1u << static_cast<int>(platform));
  }
  constexpr bool Has(Platform platform) const { return (bits_ >> static_cast<int>(platform)) & 1; }
  constexpr bool all() const { return bits_ == (1u << kPlatformCount) - 1; }
  constexpr bool empty() const { return bits_ == 0; }
  bool operator==(const PlatformSet&) const = default;

 private:
  uint8_t bits_ = 0;
};

// Names as they appear in configuration, metrics and the API's metadata: "cpu", "search_single" ...
std::string_view Name(Platform platform);
std::string_view Name(WorkClass work_class);
std::string_view Name(Policy policy);
std::string_view Name(Fallback fallback);
std::string_view Name(HandoffFailure failure);
std::string Name(PlatformSet platforms);  // "gpu,fpga"

// The reverse; false where `name` is none of them.
bool Parse(std::string_view name, Platform* platform);
bool Parse(std::string_view name, Policy* policy);
bool Parse(std::string_view name, Fallback* fallback);
bool Parse(std::string_view name, HandoffFailure* failure);
bool Parse(std::string_view names, PlatformSet* platforms);

}  // namespace baton
