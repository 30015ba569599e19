#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/request/work.h"

namespace baton {

// What the client knows about its work; all optional. Bounds as in common.proto.
struct Hints {
  std::optional<int64_t> latency_sla_us;  // 1 to 3.6e9
  std::optional<int32_t> batch_size;      // 1 to 1,000,000
  std::optional<double> power_budget_w;   // above 0, at most 100,000
  std::optional<bool> deterministic;
  std::optional<Platform> platform;  // an explicit pin
  std::optional<Fallback> fallback;
  std::optional<int32_t> retries;      // 1 to 10, of Fallback::kRetry
  std::optional<PlatformSet> exclude;  // where it must not run, whatever else is said
  std::optional<Policy> policy;
  std::optional<bool> sla_required;  // refuse what is predicted to take longer than latency_sla_us
  std::optional<HandoffFailure> on_handoff_failure = {};

  bool operator==(const Hints&) const = default;
};

// Checks the bounds, and that the hints do not contradict each other; the error names the fields,
// the limit and the values.
absl::Status ValidateHints(const Hints& hints);

// Hints sent in the message and as metadata, as one. A field sent both ways must agree:
// INVALID_ARGUMENT names the field and both values.
absl::StatusOr<Hints> MergeHints(const Hints& message, const Hints& metadata);

// What every request carries besides its body.
struct Envelope {
  Hints hints;
  TimeUs deadline_us = kNoDeadline;  // on the engine's clock
  int32_t priority = 0;              // higher first, -100 to 100
  std::string tenant;                // at most 128 bytes
};

absl::Status ValidateEnvelope(const Envelope& envelope);

}  // namespace baton
