#include "engine/base/metrics.h"

#include <array>
#include <string>
#include <vector>

#include "engine/base/check.h"

namespace baton {
namespace {

enum class Type { kCounter, kGauge, kHistogram };

struct Row {
  MetricId id;
  Type type;
  const char* name;
  const char* help;
  std::vector<std::string> labels;
  std::vector<double> buckets;
};

// 1-2-5 steps: sub-millisecond work and minute-long generations in one histogram.
const std::vector<double>& SecondsBuckets() {
  static const std::vector<double> buckets = {1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3,
                                              5e-3, 1e-2, 2e-2, 5e-2, 0.1,  0.2,  0.5,  1.0,
                                              2.0,  5.0,  10.0, 20.0, 50.0, 120.0};
  return buckets;
}

const std::vector<Row>& Table() {
  using enum MetricId;
  static const std::vector<Row> table = {
      {kBuildInfo,
       Type::kGauge,
       "baton_build_info",
       "Always 1; the labels say what runs",
       {"version"},
       {}},
      {kRequests,
       Type::kCounter,
       "baton_requests_total",
       "RPCs answered, by gRPC status code",
       {"method", "code"},
       {}},
      {kRequestSeconds,
       Type::kHistogram,
       "baton_request_seconds",
       "RPC time from arrival to the last byte handed to the transport",
       {"method"},
       SecondsBuckets()},
      {kRequestsInFlight,
       Type::kGauge,
       "baton_requests_in_flight",
       "Requests accepted by the engine and not yet finished",
       {},
       {}},
      {kStageSeconds,
       Type::kHistogram,
       "baton_stage_seconds",
       "Time a stage of a request ran on its executor",
       {"work_class", "platform"},
       SecondsBuckets()},
      {kStageQueueSeconds,
       Type::kHistogram,
       "baton_stage_queue_seconds",
       "Time a stage waited before its executor began",
       {"work_class", "platform"},
       SecondsBuckets()},
      {kStages,
       Type::kCounter,
       "baton_stages_total",
       "Stages routed, with the classifier rule that decided",
       {"work_class", "platform", "emulated", "rule"},
       {}},
      {kFallbacks,
       Type::kCounter,
       "baton_fallbacks_total",
       "Stages that ran elsewhere than their preferred platform",
       {"work_class", "from", "to"},
       {}},
      {kTimeToFirstTokenSeconds,
       Type::kHistogram,
       "baton_time_to_first_token_seconds",
       "From a Generate or Ask being accepted to its first generated token",
       {},
       SecondsBuckets()},
      {kInterTokenSeconds,
       Type::kHistogram,
       "baton_inter_token_seconds",
       "Gap between consecutive tokens of one sequence",
       {},
       SecondsBuckets()},
      {kPromptTokens,
       Type::kCounter,
       "baton_prompt_tokens_total",
       "Prompt tokens prefilled",
       {},
       {}},
      {kCachedPromptTokens,
       Type::kCounter,
       "baton_cached_prompt_tokens_total",
       "Prompt tokens found in the prefix cache: not prefilled, not in the count of those",
       {},
       {}},
      {kRecomputedTokens,
       Type::kCounter,
       "baton_recomputed_tokens_total",
       "Tokens prefilled again after a preemption, not in the count of prompt tokens",
       {},
       {}},
      {kGeneratedTokens,
       Type::kCounter,
       "baton_generated_tokens_total",
       "Tokens generated",
       {},
       {}},
      {kDraftTokens,
       Type::kCounter,
       "baton_draft_tokens_total",
       "Next tokens guessed from prompts and retrieved passages, and verified",
       {},
       {}},
      {kDraftTokensAccepted,
       Type::kCounter,
       "baton_draft_tokens_accepted_total",
       "Of the guessed tokens those that were right",
       {},
       {}},
      {kGenerateFinished,
       Type::kCounter,
       "baton_generate_finished_total",
       "Sequences ended, by finish reason",
       {"reason"},
       {}},
      {kSequencesRunning,
       Type::kGauge,
       "baton_sequences_running",
       "Sequences holding KV blocks",
       {"model"},
       {}},
      {kSequencesWaiting,
       Type::kGauge,
       "baton_sequences_waiting",
       "Sequences waiting for admission",
       {"model"},
       {}},
      {kStepTokens,
       Type::kHistogram,
       "baton_step_tokens",
       "Tokens computed by one engine step",
       {},
       {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000}},
      {kPreemptions,
       Type::kCounter,
       "baton_preemptions_total",
       "Sequences whose KV blocks were taken for others, to be computed again later",
       {},
       {}},
      {kKvBlocks,
       Type::kGauge,
       "baton_kv_blocks",
       "KV blocks of a memory space by state: total, used by sequences, cached (in use or not), "
       "reserved",
       {"model", "space", "state"},
       {}},
      {kKvBlockBytes,
       Type::kGauge,
       "baton_kv_block_bytes",
       "Bytes of one KV block, by the type of its elements",
       {"model", "type"},
       {}},
      {kKvOffloadBlocks,
       Type::kGauge,
       "baton_kv_offload_blocks",
       "KV blocks that the offload tier of a model has room for (total), and holds (used)",
       {"model", "state"},
       {}},
      {kKvOffloadEvents,
       Type::kCounter,
       "baton_kv_offload_events_total",
       "KV blocks copied to the offload tier (stored) and back (reloaded), and those that made "
       "room for others there (evicted), were wanted before they were copied (dropped), or whose "
       "copy failed",
       {"event"},
       {}},
      {kKvOffloadLookups,
       Type::kCounter,
       "baton_kv_offload_lookups_total",
       "Sequences admitted of whose text the offload tier had more than the prefix cache (hit), or "
       "not (miss), or had it but takes longer to bring it back than computing it (slower)",
       {"result"},
       {}},
      {kKvOffloadBytes,
       Type::kCounter,
       "baton_kv_offload_bytes_total",
       "Bytes of KV blocks copied to the offload tier (out) and back",
       {"direction"},
       {}},
      {kKvReloadedTokens,
       Type::kCounter,
       "baton_kv_reloaded_tokens_total",
       "Tokens whose keys and values came from the offload tier instead of being computed",
       {},
       {}},
      {kKvReloadSeconds,
       Type::kHistogram,
       "baton_kv_reload_seconds",
       "Time from a sequence's admission until its blocks were back from the offload tier",
       {},
       SecondsBuckets()},
      {kHandoffs, Type::kCounter, "baton_handoffs_total", "KV handoffs completed", {"path"}, {}},
      {kHandoffBytes,
       Type::kCounter,
       "baton_handoff_bytes_total",
       "Bytes copied by KV handoffs (the same-space path copies none)",
       {"path"},
       {}},
      {kHandoffSeconds,
       Type::kHistogram,
       "baton_handoff_seconds",
       "From a handoff being posted to its data being ready",
       {"path"},
       SecondsBuckets()},
      {kPeerLinks,
       Type::kGauge,
       "baton_peer_links",
       "Links with other daemons: out, to those that prefill for this one, and in",
       {"direction"},
       {}},
      {kPeerPrefills,
       Type::kCounter,
       "baton_peer_prefills_total",
       "Prompts that another daemon was to prefill: asked, by this one, or served, for another",
       {"side", "outcome"},
       {}},
      {kPeerPrefillSeconds,
       Type::kHistogram,
       "baton_peer_prefill_seconds",
       "From a prompt going to a peer until its KV was here",
       {},
       SecondsBuckets()},
      {kPeerLeases,
       Type::kGauge,
       "baton_peer_leases",
       "Prompts whose KV is held for other daemons",
       {},
       {}},
      {kPeerMemoryBytes,
       Type::kGauge,
       "baton_peer_memory_bytes",
       "Of peer.memory_mb: total, and used by KV on its way",
       {"state"},
       {}},
      {kPeerSentBytes,
       Type::kCounter,
       "baton_peer_sent_bytes_total",
       "Bytes of KV sent to other daemons",
       {},
       {}},
      {kPoints, Type::kGauge, "baton_points", "Live points", {"collection"}, {}},
      {kPointsUnindexed,
       Type::kGauge,
       "baton_points_unindexed",
       "Live points still in the growing buffer, searched exactly",
       {"collection"},
       {}},
      {kPointsWritten,
       Type::kCounter,
       "baton_points_written_total",
       "Points made durable by upserts",
       {},
       {}},
      {kWriteCommitSeconds,
       Type::kHistogram,
       "baton_write_commit_seconds",
       "One group commit, fsync included",
       {},
       SecondsBuckets()},
      {kWritesHeld,
       Type::kGauge,
       "baton_writes_held",
       "Writes that wait since vector.unindexed_points_max points have no graph",
       {},
       {}},
      {kSegmentsBuilt,
       Type::kCounter,
       "baton_segments_built_total",
       "Segments built: seal, from points without a graph; merge, from segments too",
       {"kind"},
       {}},
      {kGraphsLinked,
       Type::kCounter,
       "baton_graphs_linked_total",
       "Graphs of segments by what linked them: device; cpu, where no device offers to; "
       "cpu_fallback, where one did and failed",
       {"by"},
       {}},
      {kBuildsShortOfMemory,
       Type::kCounter,
       "baton_builds_short_of_memory_total",
       "Times that no graph was built, since vector.build_memory_mb had no room for it",
       {},
       {}},
      {kQueueRefused,
       Type::kCounter,
       "baton_queue_refused_total",
       "Work refused because a bounded queue was full",
       {"queue"},
       {}},
      {kExecutorUp,
       Type::kGauge,
       "baton_executor_up",
       "1 where the executor can take work, else 0",
       {"platform", "device", "emulated"},
       {}},
      {kModelInfo,
       Type::kGauge,
       "baton_model_info",
       "1 for each model that takes requests",
       {"model", "kind"},
       {}},
      {kModelBytes,
       Type::kGauge,
       "baton_model_bytes",
       "Memory of a model: weights, packed copies, KV blocks, workspace",
       {"model"},
       {}},
      {kModelsBytes,
       Type::kGauge,
       "baton_models_bytes",
       "Memory set aside for models, those that are coming or going too",
       {},
       {}},
      {kModelsBytesMax,
       Type::kGauge,
       "baton_models_bytes_max",
       "Memory that models may take together",
       {},
       {}},
      {kModelLoads,
       Type::kCounter,
       "baton_model_loads_total",
       "Models loaded while the daemon ran, by gRPC status code",
       {"code"},
       {}},
      {kModelUnloads,
       Type::kCounter,
       "baton_model_unloads_total",
       "Models unloaded while the daemon ran",
       {},
       {}},
      {kDeviceEvents,
       Type::kCounter,
       "baton_device_events_total",
       "Changes of a device's health: hot, cool, memory_full, memory_free, open, probing, closed, "
       "stalled, moving, cpu_share_raised, cpu_share_lowered",
       {"platform", "device", "event"},
       {}},
      {kDeviceCapacity,
       Type::kGauge,
       "baton_device_capacity_ratio",
       "Part of its usual work that a device gets",
       {"platform", "device"},
       {}},
      {kDeviceWatts,
       Type::kGauge,
       "baton_device_watts",
       "What a device draws, measured where it tells, else estimated",
       {"platform", "device"},
       {}},
      {kDeviceCelsius,
       Type::kGauge,
       "baton_device_temperature_celsius",
       "Temperature, of devices that tell it",
       {"platform", "device"},
       {}},
      {kDeviceUtilisation,
       Type::kGauge,
       "baton_device_utilisation",
       "Part of the time that a device was busy by its own account, lately; of devices that tell "
       "it",
       {"platform", "device"},
       {}},
      {kDeviceMemoryErrors,
       Type::kGauge,
       "baton_device_memory_errors",
       "Errors of its memory that a device could not correct, of devices that tell it",
       {"platform", "device"},
       {}},
      {kEnergyJoules,
       Type::kCounter,
       "baton_energy_joules_total",
       "Energy that work drew, measured or estimated",
       {"work_class", "platform", "measured"},
       {}},
      {kCostErrorRatio,
       Type::kHistogram,
       "baton_cost_error_ratio",
       "Relative error of a batch's time as it was predicted before it ran",
       {"work_class", "platform"},
       {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0}},
      {kWorkRetries,
       Type::kCounter,
       "baton_work_retries_total",
       "Work done again because the executor it was on failed at it",
       {"work_class", "from"},
       {}},
      {kLaunchItems,
       Type::kHistogram,
       "baton_launch_items",
       "Queries or texts that went to an executor as one batch",
       {"work_class", "platform"},
       {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}},
      {kLaunchRequests,
       Type::kHistogram,
       "baton_launch_requests",
       "Requests whose work went to an executor as one batch",
       {"work_class", "platform"},
       {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}},
      {kLaunchWaitSeconds,
       Type::kHistogram,
       "baton_launch_wait_seconds",
       "How long work waited for company before its batch went",
       {"work_class", "platform"},
       SecondsBuckets()},
      {kSequencesRecovered,
       Type::kCounter,
       "baton_sequences_recovered_total",
       "Texts that had begun and went on after their handoff or executor failed, by how",
       {"how"},
       {}},
      {kLateResults,
       Type::kCounter,
       "baton_late_results_total",
       "Results of fenced devices that came too late and were dropped",
       {"platform"},
       {}},
  };
  return table;
}

}  // namespace

struct Metrics::Family {
  const Row* row = nullptr;
  prometheus::Family<prometheus::Counter>* counter = nullptr;
  prometheus::Family<prometheus::Gauge>* gauge = nullptr;
  prometheus::Family<prometheus::Histogram>* histogram = nullptr;

  prometheus::Labels Labels(std::initializer_list<std::string_view> values) const {
    BATON_CHECK(values.size() == row->labels.size());
    prometheus::Labels labels;
    size_t i = 0;
    for (const std::string_view value : values) labels.emplace(row->labels[i++], value);
    return labels;
  }
};

Metrics::Metrics()
    : registry_(std::make_shared<prometheus::Registry>()),
      families_(std::make_unique<Family[]>(static_cast<size_t>(MetricId::kCount))) {
  BATON_CHECK(Table().size() == static_cast<size_t>(MetricId::kCount));
  for (const Row& row : Table()) {
    Family& family = families_[static_cast<size_t>(row.id)];
    BATON_CHECK(family.row == nullptr);
    family.row = &row;
    switch (row.type) {
      case Type::kCounter:
        family.counter =
            &prometheus::BuildCounter().Name(row.name).Help(row.help).Register(*registry_);
        break;
      case Type::kGauge:
        family.gauge = &prometheus::BuildGauge().Name(row.name).Help(row.help).Register(*registry_);
        break;
      case Type::kHistogram:
        family.histogram =
            &prometheus::BuildHistogram().Name(row.name).Help(row.help).Register(*registry_);
        break;
    }
  }
}

Metrics::~Metrics() = default;

prometheus::Counter& Metrics::Counter(MetricId id, std::initializer_list<std::string_view> labels) {
  const Family& family = families_[static_cast<size_t>(id)];
  BATON_CHECK(family.counter != nullptr);
  return family.counter->Add(family.Labels(labels));
}

prometheus::Gauge& Metrics::Gauge(MetricId id, std::initializer_list<std::string_view> labels) {
  const Family& family = families_[static_cast<size_t>(id)];
  BATON_CHECK(family.gauge != nullptr);
  return family.gauge->Add(family.Labels(labels));
}

prometheus::Histogram& Metrics::Histogram(MetricId id,
                                          std::initializer_list<std::string_view> labels) {
  const Family& family = families_[static_cast<size_t>(id)];
  BATON_CHECK(family.histogram != nullptr);
  return family.histogram->Add(family.Labels(labels), family.row->buckets);
}

void Metrics::RemoveGauge(MetricId id, std::initializer_list<std::string_view> labels) {
  const Family& family = families_[static_cast<size_t>(id)];
  BATON_CHECK(family.gauge != nullptr);
  family.gauge->Remove(&family.gauge->Add(family.Labels(labels)));
}

}  // namespace baton
