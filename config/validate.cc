#include "config/validate.h"

#include <cmath>
#include <initializer_list>
#include <string>

#include "config/models.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// Where the first of `keys` that was set at all was set.
std::string Origin(const Origins& origins, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const auto origin = origins.find(key);
    if (origin != origins.end()) return StrCat(origin->second, ": ");
  }
  return "";
}

// A score is 0 to 1, so that it can be compared between policies and releases.
absl::Status CheckWeights(const RouteOptions& route, const Origins& origins) {
  for (const Policy policy : {Policy::kLatencyOptimized, Policy::kThroughputOptimized,
                              Policy::kPowerOptimized, Policy::kBalanced}) {
    const double sum = route.WeightsOf(policy).sum();
    if (std::abs(sum - 1) < 1e-6) continue;
    const std::string row = StrCat("route.", Name(policy));
    std::string origin;
    for (const char* part : {".performance", ".queue", ".capability", ".residency"}) {
      if (origin.empty()) origin = Origin(origins, {StrCat(row, part).c_str()});
    }
    return absl::InvalidArgumentError(
        StrCat(origin, row, ": its four weights must add up to 1, but add up to ", sum));
  }
  return absl::OkStatus();
}

// A way back that lies beyond its limit would never be taken, or at once.
absl::Status CheckHealth(const HealthOptions& health, const Origins& origins) {
  struct Pair {
    const char* low_key;
    double low;
    const char* high_key;
    double high;
  };
  const Pair pairs[] = {
      {"health.temperature_c_cool", health.temperature_c_cool, "health.temperature_c_max",
       health.temperature_c_max},
      {"health.memory_percent_free", health.memory_percent_free, "health.memory_percent_max",
       health.memory_percent_max},
      {"health.cpu_share_capacity_percent", health.cpu_share_capacity_percent,
       "health.cpu_share_capacity_percent_off", health.cpu_share_capacity_percent_off}};
  for (const Pair& pair : pairs) {
    if (pair.low <= pair.high) continue;
    return absl::InvalidArgumentError(StrCat(Origin(origins, {pair.low_key, pair.high_key}),
                                             pair.low_key, " must be at most ", pair.high_key, " (",
                                             pair.high, "), but is ", pair.low));
  }
  return absl::OkStatus();
}

absl::Status CheckTls(const TlsOptions& tls, const Origins& origins) {
  struct Pair {
    const char* key;
    const std::string& value;
    const char* needs_key;
    const std::string& needs;
  };
  const Pair pairs[] = {
      {"server.tls.certificate", tls.certificate, "server.tls.key", tls.key},
      {"server.tls.key", tls.key, "server.tls.certificate", tls.certificate},
      {"server.tls.client_ca", tls.client_ca, "server.tls.certificate", tls.certificate}};
  for (const Pair& pair : pairs) {
    if (pair.value.empty() || !pair.needs.empty()) continue;
    return absl::InvalidArgumentError(
        StrCat(Origin(origins, {pair.key}), pair.key, " is set, but ", pair.needs_key, " is not"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateConfig(const Config& config, const Origins& origins) {
  const RagOptions& rag = config.engine.rag;
  if (rag.passage_overlap_chars * 2 >= rag.passage_chars_max) {
    return absl::InvalidArgumentError(
        StrCat(Origin(origins, {"rag.passage_overlap_chars", "rag.passage_chars_max"}),
               "rag.passage_overlap_chars must be less than half of rag.passage_chars_max (",
               rag.passage_chars_max, "), but is ", rag.passage_overlap_chars));
  }
  if (!config.embedder.path.empty()) {
    const absl::Status embedder = EmbedderModel(config).status();
    if (!embedder.ok()) {
      return absl::InvalidArgumentError(StrCat(Origin(origins, {"embedder.name", "embedder.path"}),
                                               std::string(embedder.message())));
    }
  }
  RETURN_IF_ERROR(CheckTls(config.server.tls, origins));
  RETURN_IF_ERROR(CheckWeights(config.engine.route, origins));
  RETURN_IF_ERROR(CheckHealth(config.engine.health, origins));
  if (config.vector.data_dir.empty()) {
    return absl::InvalidArgumentError(
        StrCat(Origin(origins, {"vector.data_dir"}),
               "vector.data_dir must be the path of a directory, but is empty"));
  }
  return absl::OkStatus();
}

}  // namespace baton
