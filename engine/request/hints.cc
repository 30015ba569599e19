#include "engine/request/hints.h"

#include <cmath>
#include <string_view>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

std::string Shown(int64_t value) { return StrCat(value); }
std::string Shown(int32_t value) { return StrCat(value); }
std::string Shown(double value) { return StrCat(value); }
std::string Shown(bool value) { return value ? "true" : "false"; }
std::string Shown(Platform value) { return std::string(Name(value)); }
std::string Shown(Fallback value) { return std::string(Name(value)); }
std::string Shown(HandoffFailure value) { return std::string(Name(value)); }
std::string Shown(Policy value) { return std::string(Name(value)); }
std::string Shown(PlatformSet value) { return Name(value); }

template <class T>
absl::Status MergeField(std::string_view field, const std::optional<T>& metadata,
                        std::optional<T>& merged) {
  if (!metadata.has_value()) return absl::OkStatus();
  if (merged.has_value() && *merged != *metadata) {
    return absl::InvalidArgumentError(StrCat("hints.", field, ": the message says ", Shown(*merged),
                                             " but the metadata says ", Shown(*metadata),
                                             "; send it one way or equal"));
  }
  merged = metadata;
  return absl::OkStatus();
}

absl::Status OutOfRange(std::string_view field, std::string_view limit, std::string_view value) {
  return absl::InvalidArgumentError(StrCat(field, " must be ", limit, ", but is ", value));
}

// What one hint asks for and another rules out.
absl::Status CheckContradictions(const Hints& hints) {
  const PlatformSet exclude = hints.exclude.value_or(PlatformSet());
  if (exclude.all()) {
    return absl::InvalidArgumentError(
        StrCat("hints.exclude must leave a platform, but is ", Name(exclude)));
  }
  if (hints.platform && exclude.Has(*hints.platform)) {
    return absl::InvalidArgumentError(StrCat("hints.platform is ", Name(*hints.platform),
                                             ", which hints.exclude (", Name(exclude),
                                             ") leaves out"));
  }
  if (hints.fallback == Fallback::kCpu && exclude.Has(Platform::kCpu)) {
    return absl::InvalidArgumentError(
        StrCat("hints.fallback is cpu, which hints.exclude (", Name(exclude), ") leaves out"));
  }
  if (hints.retries && hints.fallback != Fallback::kRetry) {
    return absl::InvalidArgumentError(
        StrCat("hints.retries is ", *hints.retries, ", but hints.fallback is ",
               hints.fallback ? Name(*hints.fallback) : std::string_view("not given"),
               "; it belongs to retry"));
  }
  if (hints.sla_required.value_or(false) && !hints.latency_sla_us) {
    return absl::InvalidArgumentError(
        "hints.sla_required is true, but hints.latency_sla_us is not given");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateHints(const Hints& hints) {
  if (hints.latency_sla_us &&
      (*hints.latency_sla_us < 1 || *hints.latency_sla_us > 3'600'000'000)) {
    return OutOfRange("hints.latency_sla_us", "1 to 3600000000", Shown(*hints.latency_sla_us));
  }
  if (hints.batch_size && (*hints.batch_size < 1 || *hints.batch_size > 1'000'000)) {
    return OutOfRange("hints.batch_size", "1 to 1000000", Shown(*hints.batch_size));
  }
  if (hints.power_budget_w &&
      !(*hints.power_budget_w > 0 && *hints.power_budget_w <= 100'000)) {  // NaN fails too
    return OutOfRange("hints.power_budget_w", "above 0 and at most 100000",
                      Shown(*hints.power_budget_w));
  }
  if (hints.retries && (*hints.retries < 1 || *hints.retries > 10)) {
    return OutOfRange("hints.retries", "1 to 10", Shown(*hints.retries));
  }
  return CheckContradictions(hints);
}

absl::StatusOr<Hints> MergeHints(const Hints& message, const Hints& metadata) {
  Hints merged = message;
  RETURN_IF_ERROR(MergeField("latency_sla_us", metadata.latency_sla_us, merged.latency_sla_us));
  RETURN_IF_ERROR(MergeField("batch_size", metadata.batch_size, merged.batch_size));
  RETURN_IF_ERROR(MergeField("power_budget_w", metadata.power_budget_w, merged.power_budget_w));
  RETURN_IF_ERROR(MergeField("deterministic", metadata.deterministic, merged.deterministic));
  RETURN_IF_ERROR(MergeField("platform", metadata.platform, merged.platform));
  RETURN_IF_ERROR(MergeField("fallback", metadata.fallback, merged.fallback));
  RETURN_IF_ERROR(MergeField("retries", metadata.retries, merged.retries));
  RETURN_IF_ERROR(MergeField("exclude", metadata.exclude, merged.exclude));
  RETURN_IF_ERROR(MergeField("policy", metadata.policy, merged.policy));
  RETURN_IF_ERROR(MergeField("sla_required", metadata.sla_required, merged.sla_required));
  RETURN_IF_ERROR(
      MergeField("on_handoff_failure", metadata.on_handoff_failure, merged.on_handoff_failure));
  return merged;
}

absl::Status ValidateEnvelope(const Envelope& envelope) {
  RETURN_IF_ERROR(ValidateHints(envelope.hints));
  if (envelope.priority < -100 || envelope.priority > 100) {
    return OutOfRange("options.priority", "-100 to 100", Shown(envelope.priority));
  }
  if (envelope.tenant.size() > 128) {
    return OutOfRange("options.tenant", "at most 128 bytes",
                      StrCat(envelope.tenant.size(), " bytes"));
  }
  return absl::OkStatus();
}

}  // namespace baton
