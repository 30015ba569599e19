#include "engine/base/metric_table.h"

#include <utility>

#include "absl/strings/str_join.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// 1-2-5 steps: sub-millisecond work and minute-long generations in one histogram.
std::vector<double> SecondsBuckets() {
  return {1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2,
          5e-2, 0.1,  0.2,  0.5,  1.0,  2.0,  5.0,  10.0, 20.0, 50.0, 120.0};
}
std::vector<double> TokenBuckets() {
  return {1,    2,    5,    10,     20,     50,     100,     200,    500,
          1000, 2000, 5000, 10'000, 20'000, 50'000, 100'000, 200'000};
}

using Labels = std::vector<std::string>;

MetricRow Counter(MetricId id, const char* name, const char* unit, Labels labels,
                  const char* meaning, MetricNeeds needs = MetricNeeds::kNothing,
                  const char* mirrors = "") {
  return {id, MetricKind::kCounter, name, unit, std::move(labels), meaning, {}, needs, mirrors};
}
MetricRow Gauge(MetricId id, const char* name, const char* unit, Labels labels, const char* meaning,
                MetricNeeds needs = MetricNeeds::kNothing, const char* mirrors = "") {
  return {id, MetricKind::kGauge, name, unit, std::move(labels), meaning, {}, needs, mirrors};
}
MetricRow Histogram(MetricId id, const char* name, const char* unit, Labels labels,
                    const char* meaning, std::vector<double> buckets,
                    MetricNeeds needs = MetricNeeds::kNothing, const char* mirrors = "") {
  return {id,      MetricKind::kHistogram, name,  unit,   std::move(labels),
          meaning, std::move(buckets),     needs, mirrors};
}

std::vector<MetricRow> MakeTable() {
  using enum MetricId;
  using enum MetricNeeds;
  return {
      Gauge(kBuildInfo, "baton_build_info", "1", {"version"}, "Always 1; the labels say what runs"),
      Gauge(kReady, "baton_ready", "0 or 1", {},
            "1 while the daemon takes requests and its engine gets on with them, as /readyz says"),
      Counter(kRequests, "baton_requests_total", "requests", {"method", "code"},
              "RPCs answered, by gRPC status code", kNothing,
              "nv_inference_request_success, nv_inference_request_failure"),
      Histogram(kRequestSeconds, "baton_request_seconds", "seconds", {"method"},
                "RPC time from arrival to the last byte handed to the transport", SecondsBuckets(),
                kNothing, "nv_inference_request_duration_us"),
      Gauge(kRequestsInFlight, "baton_requests_in_flight", "requests", {},
            "Requests accepted by the engine whose answer is not yet out", kNothing,
            "nv_inference_pending_request_count"),
      Histogram(kStageSeconds, "baton_stage_seconds", "seconds", {"work_class", "platform"},
                "Time a stage of a request ran on its executor", SecondsBuckets(), kNothing,
                "nv_inference_compute_infer_duration_us"),
      Histogram(kStageQueueSeconds, "baton_stage_queue_seconds", "seconds",
                {"work_class", "platform"}, "Time a stage waited before its executor began",
                SecondsBuckets(), kNothing, "nv_inference_queue_duration_us"),
      Counter(kStages, "baton_stages_total", "stages",
              {"work_class", "platform", "emulated", "rule"},
              "Stages routed, with the classifier rule that decided"),
      Counter(kFallbacks, "baton_fallbacks_total", "fallbacks", {"work_class", "from", "to"},
              "Stages that ran elsewhere than their preferred platform", kDevice),
      Histogram(kTimeToFirstTokenSeconds, "baton_time_to_first_token_seconds", "seconds", {},
                "From a Generate or Ask being accepted to its first generated token",
                SecondsBuckets(), kModel, "vllm:time_to_first_token_seconds"),
      Histogram(kInterTokenSeconds, "baton_inter_token_seconds", "seconds", {},
                "Gap between consecutive tokens of one sequence", SecondsBuckets(), kModel,
                "vllm:inter_token_latency_seconds"),
      Histogram(
          kGenerateSeconds, "baton_generate_seconds", "seconds", {},
          "From a Generate or Ask being accepted to the end of its text, of texts that ended well",
          SecondsBuckets(), kModel, "vllm:e2e_request_latency_seconds"),
      Histogram(kGenerateQueueSeconds, "baton_generate_queue_seconds", "seconds", {},
                "From a Generate or Ask being accepted to the begin of its prefill: for Ask with "
                "the retrieval",
                SecondsBuckets(), kModel, "vllm:request_queue_time_seconds"),
      Histogram(kGeneratePrefillSeconds, "baton_generate_prefill_seconds", "seconds", {},
                "From the begin of the prefill to the first token", SecondsBuckets(), kModel,
                "vllm:request_prefill_time_seconds"),
      Histogram(kGenerateDecodeSeconds, "baton_generate_decode_seconds", "seconds", {},
                "From the first token to the last, of texts of two or more", SecondsBuckets(),
                kModel, "vllm:request_decode_time_seconds"),
      Histogram(kTimePerOutputTokenSeconds, "baton_time_per_output_token_seconds", "seconds", {},
                "The same divided by the tokens after the first: one mean per text",
                SecondsBuckets(), kModel, "vllm:request_time_per_output_token_seconds"),
      Histogram(kGeneratePromptTokens, "baton_generate_prompt_tokens", "tokens", {},
                "Length of the prompt, cached or not, of texts that ended well", TokenBuckets(),
                kModel, "vllm:request_prompt_tokens"),
      Histogram(kGenerateOutputTokens, "baton_generate_output_tokens", "tokens", {},
                "Length of the text, of texts that ended well", TokenBuckets(), kModel,
                "vllm:request_generation_tokens"),
      Counter(kPromptTokens, "baton_prompt_tokens_total", "tokens", {}, "Prompt tokens prefilled",
              kNothing, "vllm:prompt_tokens_total, without what the cache had"),
      Counter(kCachedPromptTokens, "baton_cached_prompt_tokens_total", "tokens", {},
              "Prompt tokens found in the prefix cache: not prefilled, not in the count of those",
              kNothing, "vllm:prefix_cache_hits_total"),
      Counter(kRecomputedTokens, "baton_recomputed_tokens_total", "tokens", {},
              "Tokens prefilled again after a preemption, not in the count of prompt tokens"),
      Counter(kGeneratedTokens, "baton_generated_tokens_total", "tokens", {}, "Tokens generated",
              kNothing, "vllm:generation_tokens_total"),
      Counter(kDraftTokens, "baton_draft_tokens_total", "tokens", {},
              "Next tokens guessed from prompts and retrieved passages, and verified", kNothing,
              "vllm:spec_decode_num_draft_tokens_total"),
      Counter(kDraftTokensAccepted, "baton_draft_tokens_accepted_total", "tokens", {},
              "Of the guessed tokens those that were right", kNothing,
              "vllm:spec_decode_num_accepted_tokens_total"),
      Counter(kGenerateFinished, "baton_generate_finished_total", "sequences", {"reason"},
              "Sequences ended, by finish reason", kModel,
              "vllm:request_success_total, and what did not succeed"),
      Gauge(kSequencesRunning, "baton_sequences_running", "sequences", {"model"},
            "Sequences holding KV blocks", kModel, "vllm:num_requests_running"),
      Gauge(kSequencesWaiting, "baton_sequences_waiting", "sequences", {"model"},
            "Sequences waiting for admission", kModel, "vllm:num_requests_waiting"),
      Histogram(kStepTokens, "baton_step_tokens", "tokens", {},
                "Tokens computed by one engine step",
                {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000}, kModel,
                "vllm:iteration_tokens_total"),
      Counter(kPreemptions, "baton_preemptions_total", "sequences", {},
              "Sequences whose KV blocks were taken for others, to be computed again later",
              kNothing, "vllm:num_preemptions_total"),
      Gauge(kKvBlocks, "baton_kv_blocks", "blocks", {"model", "space", "state"},
            "KV blocks of a memory space by state: total, used by sequences, cached (in use or "
            "not), reserved",
            kModel, "vllm:kv_cache_usage_perc, as used / total"),
      Gauge(kKvBlockBytes, "baton_kv_block_bytes", "bytes", {"model", "type"},
            "Bytes of one KV block, by the type of its elements", kModel),
      Gauge(kKvOffloadBlocks, "baton_kv_offload_blocks", "blocks", {"model", "state"},
            "KV blocks that the offload tier of a model has room for (total), and holds (used)",
            kOffload),
      Counter(kKvOffloadEvents, "baton_kv_offload_events_total", "blocks", {"event"},
              "KV blocks copied to the offload tier (stored) and back (reloaded), and those that "
              "made room for others there (evicted), were wanted before they were copied "
              "(dropped), or whose copy failed",
              kOffload),
      Counter(
          kKvOffloadLookups, "baton_kv_offload_lookups_total", "lookups", {"result"},
          "Sequences admitted of whose text the offload tier had more than the prefix cache (hit), "
          "or not (miss), or had it but takes longer to bring it back than computing it (slower)",
          kOffload),
      Counter(kKvOffloadBytes, "baton_kv_offload_bytes_total", "bytes", {"direction"},
              "Bytes of KV blocks copied to the offload tier (out) and back", kOffload),
      Counter(kKvReloadedTokens, "baton_kv_reloaded_tokens_total", "tokens", {},
              "Tokens whose keys and values came from the offload tier instead of being computed",
              kOffload),
      Histogram(kKvReloadSeconds, "baton_kv_reload_seconds", "seconds", {},
                "Time from a sequence's admission until its blocks were back from the offload tier",
                SecondsBuckets(), kOffload),
      Counter(kHandoffs, "baton_handoffs_total", "handoffs", {"path"}, "KV handoffs completed",
              kModel),
      Counter(kHandoffBytes, "baton_handoff_bytes_total", "bytes", {"path"},
              "Bytes copied by KV handoffs (the same-space path copies none)", kModel),
      Histogram(kHandoffSeconds, "baton_handoff_seconds", "seconds", {"path"},
                "From a handoff being posted to its data being ready", SecondsBuckets(), kModel),
      Counter(kHandoffsEnded, "baton_handoffs_ended_total", "handoffs", {"end"},
              "Copies of KV blocks that ended, of any kind: released, when all was there; "
              "cancelled; expired, when nobody renewed the lease; failed; stale, when the blocks "
              "were freed; peer_lost",
              kModel),
      Gauge(kPeerLinks, "baton_peer_links", "links", {"direction"},
            "Links with other daemons: out, to those that prefill for this one, and in", kPeer),
      Counter(
          kPeerPrefills, "baton_peer_prefills_total", "prefills", {"side", "outcome"},
          "Prompts that another daemon was to prefill: asked, by this one, or served, for another",
          kPeer),
      Histogram(kPeerPrefillSeconds, "baton_peer_prefill_seconds", "seconds", {},
                "From a prompt going to a peer until its KV was here", SecondsBuckets(), kPeer),
      Gauge(kPeerLeases, "baton_peer_leases", "leases", {},
            "Prompts whose KV is held for other daemons", kPeer),
      Gauge(kPeerMemoryBytes, "baton_peer_memory_bytes", "bytes", {"state"},
            "Of peer.memory_mb: total, and used by KV on its way", kPeer),
      Counter(kPeerSentBytes, "baton_peer_sent_bytes_total", "bytes", {},
              "Bytes of KV sent to other daemons", kPeer),
      Gauge(kPoints, "baton_points", "points", {"collection"}, "Live points"),
      Gauge(kPointsUnindexed, "baton_points_unindexed", "points", {"collection"},
            "Live points still in the growing buffer, searched exactly"),
      Gauge(kSegments, "baton_segments", "segments", {"collection"},
            "Sealed segments with live points"),
      Gauge(kCollectionBytes, "baton_collection_disk_bytes", "bytes", {"collection"},
            "Files of segments and payload indexes; points and payloads themselves are in "
            "baton_store_bytes"),
      Gauge(kStoreBytes, "baton_store_bytes", "bytes", {},
            "Files of the database of all points and payloads"),
      Gauge(kStoreUnflushedBytes, "baton_store_unflushed_bytes", "bytes", {},
            "Writes that are in the write-ahead log alone: what a restart replays"),
      Gauge(
          kStoreCompactionBytes, "baton_store_compaction_pending_bytes", "bytes", {},
          "What the database has to rewrite to be in shape; it slows writes down when this grows"),
      Gauge(kDiskBytes, "baton_disk_bytes", "bytes", {"state"},
            "Of the file system of vector.data_dir: total, and free for the daemon"),
      Counter(kPointsWritten, "baton_points_written_total", "points", {},
              "Points made durable by upserts"),
      Histogram(kWriteCommitSeconds, "baton_write_commit_seconds", "seconds", {},
                "One group commit, fsync included", SecondsBuckets()),
      Gauge(kWritesHeld, "baton_writes_held", "writes", {},
            "Writes that wait since vector.unindexed_points_max points have no graph"),
      Gauge(kWritesPending, "baton_writes_pending", "writes", {},
            "Writes that were accepted and are not yet durable, those that are held too"),
      Gauge(kWritesPendingBytes, "baton_writes_pending_bytes", "bytes", {},
            "Vectors and payloads of these"),
      Counter(kSegmentsBuilt, "baton_segments_built_total", "segments", {"kind"},
              "Segments built: seal, from points without a graph; merge, from segments too"),
      Counter(kGraphsLinked, "baton_graphs_linked_total", "graphs", {"by"},
              "Graphs of segments by what linked them: device; cpu, where no device offers to; "
              "cpu_fallback, where one did and failed"),
      Counter(kInvertedFilesBuilt, "baton_inverted_files_built_total", "files", {"by"},
              "Inverted files of segments by what trained and coded them: device; cpu, where no "
              "device offers to; cpu_fallback, where one did and failed"),
      Counter(kBuildsShortOfMemory, "baton_builds_short_of_memory_total", "builds", {},
              "Times that no graph was built, since vector.build_memory_mb had no room for it"),
      Counter(kQueueRefused, "baton_queue_refused_total", "requests", {"queue"},
              "Work refused because a bounded queue was full, or (admission) because it would have "
              "waited too long",
              kIncident),
      Gauge(kExecutorUp, "baton_executor_up", "0 or 1", {"platform", "device", "emulated"},
            "1 where the executor can take work, else 0"),
      Gauge(kModelInfo, "baton_model_info", "1", {"model", "kind"},
            "1 for each model that takes requests"),
      Gauge(kModelBytes, "baton_model_bytes", "bytes", {"model"},
            "Memory of a model: weights, packed copies, KV blocks, workspace"),
      Gauge(kModelsBytes, "baton_models_bytes", "bytes", {},
            "Memory set aside for models, those that are coming or going too"),
      Gauge(kModelsBytesMax, "baton_models_bytes_max", "bytes", {},
            "Memory that models may take together"),
      Counter(kModelLoads, "baton_model_loads_total", "loads", {"code"},
              "Models loaded while the daemon ran, by gRPC status code", kIncident),
      Counter(kModelUnloads, "baton_model_unloads_total", "unloads", {},
              "Models unloaded while the daemon ran"),
      Counter(kDeviceEvents, "baton_device_events_total", "events", {"platform", "device", "event"},
              "Changes of a device's health: hot, cool, memory_full, memory_free, open, probing, "
              "closed, stalled, moving, cpu_share_raised, cpu_share_lowered",
              kIncident),
      Gauge(kDeviceCapacity, "baton_device_capacity_ratio", "ratio", {"platform", "device"},
            "Part of its usual work that a device gets"),
      Gauge(kDeviceWatts, "baton_device_watts", "watts", {"platform", "device"},
            "What a device draws, measured where it tells, else estimated", kNothing,
            "nv_gpu_power_usage"),
      Gauge(kDeviceCelsius, "baton_device_temperature_celsius", "degrees Celsius",
            {"platform", "device"}, "Temperature, of devices that tell it", kTelemetry),
      Gauge(kDeviceUtilisation, "baton_device_utilisation", "ratio", {"platform", "device"},
            "Part of the time that a device was busy by its own account, lately; of devices that "
            "tell it",
            kTelemetry, "nv_gpu_utilization"),
      Gauge(kDeviceMemoryErrors, "baton_device_memory_errors", "errors", {"platform", "device"},
            "Errors of its memory that a device could not correct, of devices that tell it",
            kTelemetry),
      Gauge(kDeviceMemoryBytes, "baton_device_memory_bytes", "bytes",
            {"platform", "device", "state"},
            "Memory of a device: total and used; of the host, as far as its executor counts it",
            kNothing, "nv_gpu_memory_total_bytes, nv_gpu_memory_used_bytes"),
      Gauge(kDeviceLoad, "baton_device_load_ratio", "ratio", {"platform", "device"},
            "How busy its executor keeps a device: 0 idle, 1 busy"),
      Gauge(kDeviceQueue, "baton_device_queue_batches", "batches", {"platform", "device"},
            "Batches that wait and run there", kNothing, "nv_inference_pending_request_count"),
      Gauge(kDeviceGraphs, "baton_device_graphs", "graphs", {"platform", "device"},
            "Graphs of segments in the memory of a device that walks them", kFpga),
      Gauge(kDeviceGraphBytes, "baton_device_graph_bytes", "bytes", {"platform", "device"},
            "What these take of its memory, copies included", kFpga),
      Counter(
          kDeviceGraphEvents, "baton_device_graph_events_total", "graphs",
          {"platform", "device", "event"},
          "Graphs of segments that came to a device or went: loaded; evicted, for others' room; "
          "dropped, with their segment; lost, with a reset",
          kFpga),
      Counter(kDeviceGraphWalks, "baton_device_graph_walks_total", "walks", {"platform", "device"},
              "Walks of one query through the graph of one segment", kFpga),
      Counter(kEnergyJoules, "baton_energy_joules_total", "joules",
              {"work_class", "platform", "measured"},
              "Energy that work drew, measured or estimated", kNothing, "nv_energy_consumption"),
      Histogram(kCostErrorRatio, "baton_cost_error_ratio", "ratio", {"work_class", "platform"},
                "Relative error of a batch's time as it was predicted before it ran",
                {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0}),
      Counter(kWorkRetries, "baton_work_retries_total", "retries", {"work_class", "from"},
              "Work done again because the executor it was on failed at it", kIncident),
      Histogram(kLaunchItems, "baton_launch_items", "items", {"work_class", "platform"},
                "Queries or texts that went to an executor as one batch",
                {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}, kDevice),
      Histogram(kLaunchRequests, "baton_launch_requests", "requests", {"work_class", "platform"},
                "Requests whose work went to an executor as one batch",
                {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}, kDevice,
                "nv_inference_request_success / nv_inference_exec_count"),
      Histogram(
          kLaunchWaitSeconds, "baton_launch_wait_seconds", "seconds", {"work_class", "platform"},
          "How long work waited for company before its batch went", SecondsBuckets(), kDevice),
      Counter(kSequencesRecovered, "baton_sequences_recovered_total", "sequences", {"how"},
              "Texts that had begun and went on after their handoff or executor failed, by how"),
      Counter(kLateResults, "baton_late_results_total", "results", {"platform"},
              "Results of fenced devices that came too late and were dropped", kIncident),
      Counter(kAsks, "baton_asks_total", "requests", {"mode"},
              "Questions answered: generated, retrieval_only, nothing_found"),
      Histogram(kAskRetrievedSeconds, "baton_ask_retrieved_seconds", "seconds", {},
                "From an Ask being accepted to its passages going to the client", SecondsBuckets()),
      Histogram(kAskStageSeconds, "baton_ask_stage_seconds", "seconds", {"stage"},
                "Time that a stage of an Ask took, waiting included", SecondsBuckets()),
      Counter(kAccessRefused, "baton_access_refused_total", "requests", {"reason"},
              "Requests refused at the door: no_token, unknown_token, expired_token, scope, rate, "
              "concurrency, unknown_method",
              kIncident),
      Gauge(kAccessTokens, "baton_access_tokens", "tokens", {},
            "Bearer tokens that are known; 0: none is asked for"),
      Counter(kReloads, "baton_reloads_total", "reloads", {"what", "outcome"},
              "Files read again while the daemon ran, by what they hold", kIncident),
      Gauge(kCertificateExpiry, "baton_tls_certificate_not_after_seconds", "seconds", {},
            "When the certificate that is served expires, in seconds since 1970", kTls),
      Counter(kSeriesRefused, "baton_metric_series_refused_total", "series", {"metric"},
              "Series that were not made, since the metric has as many as it may have", kIncident),
      Gauge(kProcessResidentBytes, "process_resident_memory_bytes", "bytes", {}, "Resident memory"),
      Counter(kProcessCpuSeconds, "process_cpu_seconds_total", "seconds", {},
              "Time that all threads ran, user and system"),
      Gauge(kProcessOpenFds, "process_open_fds", "descriptors", {}, "Open file descriptors"),
      Gauge(kProcessMaxFds, "process_max_fds", "descriptors", {}, "How many there may be"),
      Gauge(kProcessThreads, "process_threads", "threads", {}, "Threads"),
      Gauge(kProcessStartSeconds, "process_start_time_seconds", "seconds", {},
            "When the process began, in seconds since 1970"),
  };
}

}  // namespace

std::span<const MetricRow> MetricTable() {
  static const std::vector<MetricRow> table = MakeTable();
  return table;
}

std::string_view Name(MetricKind kind) {
  switch (kind) {
    case MetricKind::kCounter:
      return "counter";
    case MetricKind::kGauge:
      return "gauge";
    case MetricKind::kHistogram:
      return "histogram";
  }
  return "";
}

std::string_view Name(MetricNeeds needs) {
  switch (needs) {
    case MetricNeeds::kNothing:
      return "";
    case MetricNeeds::kModel:
      return "model";
    case MetricNeeds::kDevice:
      return "device";
    case MetricNeeds::kTelemetry:
      return "telemetry";
    case MetricNeeds::kFpga:
      return "fpga";
    case MetricNeeds::kPeer:
      return "peer";
    case MetricNeeds::kOffload:
      return "offload";
    case MetricNeeds::kTls:
      return "tls";
    case MetricNeeds::kIncident:
      return "incident";
  }
  return "";
}

std::string MetricsPage() {
  std::string page =
      "# Metrics of batond\n"
      "\n"
      "What `/metrics` tells, as `batond --print-metrics` prints it. Histograms of seconds have "
      "the\n"
      "buckets 1, 2 and 5 times each power of ten, from 10 us to 120 s. *Needs* says what a "
      "daemon\n"
      "must have, or meet, before the metric has anything to say: a language `model`; a `device`\n"
      "beside the CPU, simulated ones too; a device's own `telemetry`; an `fpga`, which walks\n"
      "graphs; a `peer`; the KV `offload` tier; `tls`; an `incident`, which is something that "
      "went\n"
      "wrong or was changed while it ran.\n"
      "*Like* is what vLLM (`vllm:`) or Triton (`nv_`) call the same.\n"
      "\n"
      "| name | kind | unit | labels | meaning | needs | like |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const MetricRow& row : MetricTable()) {
    page += StrCat("| `", row.name, "` | ", Name(row.kind), " | ", row.unit, " | ",
                   absl::StrJoin(row.labels, ", "), " | ", row.meaning, " | ", Name(row.needs),
                   " | ", row.mirrors, " |\n");
  }
  return page;
}

}  // namespace baton
