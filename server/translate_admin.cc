#include "server/translate_admin.h"

#include <limits>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "server/translate.h"

namespace baton {
namespace {

constexpr CountBounds kPrefixBytes = {.min = 0, .max = 1024};
constexpr int kDrainSecondsMax = 3600;

static_assert(v1::ExplainRequest::GENERATE ==
              static_cast<int>(ExplainRequest::Kind::kGenerate) + 1);
static_assert(v1::ExplainRequest::CLUSTER == static_cast<int>(ExplainRequest::Kind::kCluster) + 1);

static_assert(v1::POWER_MODE_STANDBY == static_cast<int>(PowerMode::kStandby) + 1);
static_assert(v1::POWER_MODE_PEAK == static_cast<int>(PowerMode::kPeak) + 1);

}  // namespace

absl::StatusOr<ExplainRequest> ToExplain(const v1::ExplainRequest& proto, Envelope envelope) {
  if (proto.kind() == v1::ExplainRequest::KIND_UNSPECIFIED ||
      !v1::ExplainRequest::Kind_IsValid(proto.kind())) {
    return absl::InvalidArgumentError(StrCat(
        "kind must be 1 to 7 (generate, embed, search, upsert, ask, rerank, cluster), but is ",
        static_cast<int>(proto.kind())));
  }
  ExplainRequest request{.envelope = std::move(envelope),
                         .kind = static_cast<ExplainRequest::Kind>(proto.kind() - 1)};
  if (proto.has_items()) request.items = proto.items();
  return request;
}

absl::StatusOr<LoadModelRequest> ToLoadModel(const v1::LoadModelRequest& proto) {
  RETURN_IF_ERROR(CheckBytes("question_prefix", proto.question_prefix(), kPrefixBytes));
  RETURN_IF_ERROR(CheckBytes("passage_prefix", proto.passage_prefix(), kPrefixBytes));
  LoadModelRequest request;
  request.name = proto.name();
  request.path = proto.path();
  request.question_prefix = proto.question_prefix();
  request.passage_prefix = proto.passage_prefix();
  return request;
}

absl::StatusOr<UnloadModelRequest> ToUnloadModel(const v1::UnloadModelRequest& proto) {
  UnloadModelRequest request;
  request.name = proto.name();
  if (proto.has_drain_timeout_s()) {
    const double seconds = proto.drain_timeout_s();
    if (!(seconds >= 0 && seconds <= kDrainSecondsMax)) {  // NaN is neither
      return absl::InvalidArgumentError(
          StrCat("drain_timeout_s must be 0 to ", kDrainSecondsMax, ", but is ", seconds));
    }
    request.drain_us = static_cast<TimeUs>(seconds * 1e6);
  }
  return request;
}

void ToProto(const DeviceReport& report, v1::Device& proto) {
  proto.set_platform(ToProto(report.info.platform));
  proto.set_device(report.info.device);
  proto.set_available(report.info.present && report.sample.healthy && report.refusal.empty());
  proto.set_reason(report.info.present && !report.sample.healthy && report.info.reason.empty()
                       ? "the device is not healthy"
                   : !report.refusal.empty() ? report.refusal
                                             : report.info.reason);
  proto.set_emulated(report.info.emulated);
  for (const std::string& skill : report.skills) proto.add_skills(skill);
  proto.set_memory_bytes_total(report.info.memory_bytes_total);
  proto.set_memory_bytes_used(report.sample.memory_bytes_used);
  proto.set_queue_depth(report.sample.queue_depth);
  proto.set_detail(report.info.detail);
  proto.set_state(report.state);
  proto.set_refusal(report.refusal);
  proto.set_capacity(report.info.present ? report.capacity : 0);
  if (report.sample.temperature_c) proto.set_temperature_c(*report.sample.temperature_c);
  if (report.sample.utilisation) proto.set_utilisation(*report.sample.utilisation);
  if (report.sample.memory_errors) proto.set_memory_errors(*report.sample.memory_errors);
  proto.set_watts(report.watts);
  proto.set_watts_measured(report.watts_measured);
  for (const std::string& event : report.events) proto.add_events(event);
  for (const int node : report.numa_nodes) proto.add_numa_nodes(node);
  proto.set_processors(report.cpus);
  proto.set_pci_address(report.info.pci_address);
}

void ToProto(const PathReport& report, v1::TransferPath& proto) {
  proto.set_path(report.path);
  if (report.copies == 0 && report.failures == 0) return;  // it has not been taken yet
  proto.set_source(ToString(report.source));
  proto.set_destination(ToString(report.destination));
  proto.set_bytes_min(report.bytes_min);
  if (report.bytes_max != std::numeric_limits<int64_t>::max()) {
    proto.set_bytes_max(report.bytes_max);
  }
  proto.set_copies(report.copies);
  proto.set_failures(report.failures);
  proto.set_latency_us(report.latency_us);
  proto.set_bytes_per_s(report.bytes_per_s);
  proto.set_predicted_us(report.predicted_us);
}

void ToProto(const LearnedCost& cost, v1::LearnedCost& proto) {
  proto.set_work_class(ToProto(cost.work_class));
  proto.set_platform(ToProto(cost.platform));
  proto.set_device(cost.device);
  proto.set_samples(cost.samples);
  proto.set_median_error(cost.median_error);
  proto.set_drifts(cost.drifts);
}

v1::PowerMode ToProto(PowerMode mode) {
  return static_cast<v1::PowerMode>(static_cast<int>(mode) + 1);
}

absl::StatusOr<std::optional<PowerMode>> ToPowerMode(const v1::PowerRequest& proto) {
  if (proto.mode() == v1::POWER_MODE_UNSPECIFIED) return std::nullopt;
  if (!v1::PowerMode_IsValid(proto.mode())) {
    return absl::InvalidArgumentError(StrCat("mode must be 1 to 3 (standby, normal, peak), but is ",
                                             static_cast<int>(proto.mode())));
  }
  return static_cast<PowerMode>(proto.mode() - 1);
}

void ToProto(const ExplainedStage& stage, v1::ExplainStage& proto) {
  proto.set_name(stage.name);
  ToProto(stage.route, *proto.mutable_route());
  if (stage.route.device.empty()) proto.mutable_route()->clear_platform();  // nothing can take it
  for (const RouteCandidate& candidate : stage.candidates) {
    v1::Candidate& added = *proto.add_candidates();
    added.set_platform(ToProto(candidate.platform));
    added.set_device(candidate.device);
    added.set_eligible(candidate.eligible);
    added.set_reason(candidate.reason);
    added.set_score(candidate.score);
    added.set_score_performance(candidate.score_performance);
    added.set_score_queue(candidate.score_queue);
    added.set_score_capability(candidate.score_capability);
    added.set_score_residency(candidate.score_residency);
    added.set_predicted_us(candidate.predicted_us);
    added.set_predicted_us_high(candidate.predicted_us_high);
    added.set_samples(candidate.samples);
    added.set_sure(candidate.sure);
    added.set_speedup(candidate.speedup);
    added.set_predicted_joules(candidate.predicted_joules);
  }
}

}  // namespace baton
