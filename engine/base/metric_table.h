#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace baton {

// Every metric the daemon has: registration, METRICS.md and the tests follow from the one table in
// metric_table.cc.
enum class MetricId {
  kBuildInfo,                  // {version}
  kReady,                      // {}
  kRequests,                   // {method, code}
  kRequestSeconds,             // {method}
  kRequestsInFlight,           // {}
  kStageSeconds,               // {work_class, platform}
  kStageQueueSeconds,          // {work_class, platform}
  kStages,                     // {work_class, platform, emulated, rule}
  kFallbacks,                  // {work_class, from, to}
  kTimeToFirstTokenSeconds,    // {}
  kInterTokenSeconds,          // {}
  kGenerateSeconds,            // {}
  kGenerateQueueSeconds,       // {}
  kGeneratePrefillSeconds,     // {}
  kGenerateDecodeSeconds,      // {}
  kTimePerOutputTokenSeconds,  // {}
  kGeneratePromptTokens,       // {}
  kGenerateOutputTokens,       // {}
  kPromptTokens,               // {}
  kCachedPromptTokens,         // {}
  kRecomputedTokens,           // {}
  kGeneratedTokens,            // {}
  kDraftTokens,                // {}
  kDraftTokensAccepted,        // {}
  kGenerateFinished,           // {reason}
  kSequencesRunning,           // {model}
  kSequencesWaiting,           // {model}
  kStepTokens,                 // {}
  kPreemptions,                // {}
  kKvBlocks,                   // {model, space, state}
  kKvBlockBytes,               // {model, type}
  kKvOffloadBlocks,            // {model, state}
  kKvOffloadEvents,            // {event}
  kKvOffloadLookups,           // {result}
  kKvOffloadBytes,             // {direction}
  kKvReloadedTokens,           // {}
  kKvReloadSeconds,            // {}
  kHandoffs,                   // {path}
  kHandoffBytes,               // {path}
  kHandoffSeconds,             // {path}
  kHandoffsEnded,              // {end}
  kPeerLinks,                  // {direction}
  kPeerPrefills,               // {side, outcome}
  kPeerPrefillSeconds,         // {}
  kPeerLeases,                 // {}
  kPeerMemoryBytes,            // {state}
  kPeerSentBytes,              // {}
  kPoints,                     // {collection}
  kPointsUnindexed,            // {collection}
  kSegments,                   // {collection}
  kCollectionBytes,            // {collection}
  kStoreBytes,                 // {}
  kStoreUnflushedBytes,        // {}
  kStoreWriteBufferBytes,      // {state}
  kStoreCompactionBytes,       // {}
  kDiskBytes,                  // {state}
  kPointsWritten,              // {}
  kWriteCommitSeconds,         // {}
  kWritesHeld,                 // {}
  kWritesPending,              // {}
  kWritesPendingBytes,         // {}
  kSegmentsBuilt,              // {kind}
  kGraphsLinked,               // {by}
  kInvertedFilesBuilt,         // {by}
  kBuildsShortOfMemory,        // {}
  kQueueRefused,               // {queue}
  kExecutorUp,                 // {platform, device, emulated}
  kModelInfo,                  // {model, kind}
  kModelBytes,                 // {model}
  kModelsBytes,                // {}
  kModelsBytesMax,             // {}
  kModelLoads,                 // {code}
  kModelUnloads,               // {}
  kDeviceEvents,               // {platform, device, event}
  kDeviceCapacity,             // {platform, device}
  kDeviceWatts,                // {platform, device}
  kDeviceCelsius,              // {platform, device}
  kDeviceUtilisation,          // {platform, device}
  kDeviceMemoryErrors,         // {platform, device}
  kDeviceMemoryBytes,          // {platform, device, state}
  kDeviceLoad,                 // {platform, device}
  kDeviceQueue,                // {platform, device}
  kDeviceGraphs,               // {platform, device}
  kDeviceGraphBytes,           // {platform, device}
  kDeviceGraphEvents,          // {platform, device, event}
  kDeviceGraphWalks,           // {platform, device}
  kEnergyJoules,               // {work_class, platform, measured}
  kCostErrorRatio,             // {work_class, platform}
  kWorkRetries,                // {work_class, from}
  kLaunchItems,                // {work_class, platform}
  kLaunchRequests,             // {work_class, platform}
  kLaunchWaitSeconds,          // {work_class, platform}
  kSequencesRecovered,         // {how}
  kLateResults,                // {platform}
  kAsks,                       // {mode}
  kAskRetrievedSeconds,        // {}
  kAskStageSeconds,            // {stage}
  kAccessRefused,              // {reason}
  kAccessTokens,               // {}
  kReloads,                    // {what, outcome}
  kCertificateExpiry,          // {}
  kSeriesRefused,              // {metric}
  kProcessResidentBytes,       // {}
  kProcessCpuSeconds,          // {}
  kProcessOpenFds,             // {}
  kProcessMaxFds,              // {}
  kProcessThreads,             // {}
  kProcessStartSeconds,        // {}
  kCount
};

enum class MetricKind : uint8_t { kCounter, kGauge, kHistogram };

// What a daemon must have, or meet, before a metric has anything to say.
enum class MetricNeeds : uint8_t {
  kNothing,    // it has data on every daemon that serves
  kModel,      // a language model
  kDevice,     // a device beside the CPU, or a simulated one
  kTelemetry,  // a device that tells how it is
  kFpga,       // a device that searches by walking segments' graphs
  kPeer,       // another daemon: peer.*
  kOffload,    // kv.offload_memory_mb
  kTls,        // server.tls_*
  kIncident,   // something that went wrong or was changed while it ran
};

struct MetricRow {
  MetricId id;
  MetricKind kind;
  const char* name;  // carries the unit; counters end in _total
  const char* unit;
  std::vector<std::string> labels;
  const char* meaning;
  std::vector<double> buckets;  // upper bounds, of a histogram
  MetricNeeds needs = MetricNeeds::kNothing;
  const char* mirrors = "";  // what vLLM (vllm:*) or Triton (nv_*) call the same
};

// By id.
std::span<const MetricRow> MetricTable();

std::string_view Name(MetricKind kind);
std::string_view Name(MetricNeeds needs);

// The table as a page, deploy/METRICS.md: what `batond --print-metrics` prints.
std::string MetricsPage();

}  // namespace baton
