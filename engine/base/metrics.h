#pragma once

#include <memory>
#include <string_view>

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace baton {

// Every metric the daemon has, declared in one table (metrics.cc): name, type, help, label names,
// buckets. A component asks for a handle once and keeps it; handles are thread safe and cost a few
// nanoseconds. Names carry their unit.
enum class MetricId {
  kBuildInfo,                // {version}
  kRequests,                 // {method, code}
  kRequestSeconds,           // {method}
  kRequestsInFlight,         // {}
  kStageSeconds,             // {work_class, platform}
  kStageQueueSeconds,        // {work_class, platform}
  kStages,                   // {work_class, platform, emulated, rule}
  kFallbacks,                // {work_class, from, to}
  kTimeToFirstTokenSeconds,  // {}
  kInterTokenSeconds,        // {}
  kPromptTokens,             // {}
  kCachedPromptTokens,       // {}
  kRecomputedTokens,         // {}
  kGeneratedTokens,          // {}
  kDraftTokens,              // {}
  kDraftTokensAccepted,      // {}
  kGenerateFinished,         // {reason}
  kSequencesRunning,         // {model}
  kSequencesWaiting,         // {model}
  kStepTokens,               // {}
  kPreemptions,
  kKvBlocks,             // {model, space, state}
  kKvBlockBytes,         // {model, type}
  kKvOffloadBlocks,      // {model, state}
  kKvOffloadEvents,      // {event}
  kKvOffloadLookups,     // {result}
  kKvOffloadBytes,       // {direction}
  kKvReloadedTokens,     // {}
  kKvReloadSeconds,      // {}
  kHandoffs,             // {path}
  kHandoffBytes,         // {path}
  kHandoffSeconds,       // {path}
  kPeerLinks,            // {direction}
  kPeerPrefills,         // {side, outcome}
  kPeerPrefillSeconds,   // {}
  kPeerLeases,           // {}
  kPeerMemoryBytes,      // {state}
  kPeerSentBytes,        // {}
  kPoints,               // {collection}
  kPointsUnindexed,      // {collection}
  kPointsWritten,        // {}
  kWriteCommitSeconds,   // {}
  kWritesHeld,           // {}
  kSegmentsBuilt,        // {kind}
  kGraphsLinked,         // {by}
  kBuildsShortOfMemory,  // {}
  kQueueRefused,         // {queue}
  kExecutorUp,           // {platform, device, emulated}
  kModelInfo,            // {model, kind}
  kModelBytes,           // {model}
  kModelsBytes,          // {}
  kModelsBytesMax,       // {}
  kModelLoads,           // {code}
  kModelUnloads,         // {}
  kDeviceEvents,         // {platform, device, event}
  kDeviceCapacity,       // {platform, device}
  kDeviceWatts,          // {platform, device}
  kDeviceCelsius,        // {platform, device}
  kDeviceUtilisation,    // {platform, device}
  kDeviceMemoryErrors,   // {platform, device}
  kEnergyJoules,         // {work_class, platform, measured}
  kCostErrorRatio,       // {work_class, platform}
  kWorkRetries,          // {work_class, from}
  kLaunchItems,          // {work_class, platform}
  kLaunchRequests,       // {work_class, platform}
  kLaunchWaitSeconds,    // {work_class, platform}
  kSequencesRecovered,   // {how}
  kLateResults,          // {platform}
  kCount
};

// Owns the registry. Built first, destroyed last. Thread safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // `labels` are values in the order of the table's label names. The returned handle lives as long
  // as this object. CHECKs the metric's type and its number of labels: both are ours to get right.
  prometheus::Counter& Counter(MetricId id, std::initializer_list<std::string_view> labels = {});
  prometheus::Gauge& Gauge(MetricId id, std::initializer_list<std::string_view> labels = {});
  prometheus::Histogram& Histogram(MetricId id,
                                   std::initializer_list<std::string_view> labels = {});
  // Forgets one series, e.g. of a dropped collection. Its handle must not be used afterwards.
  void RemoveGauge(MetricId id, std::initializer_list<std::string_view> labels);

  const std::shared_ptr<prometheus::Registry>& registry() const { return registry_; }

 private:
  struct Family;
  std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<Family[]> families_;  // [MetricId::kCount]
};

}  // namespace baton
