#include "engine/classify/classifier.h"

namespace baton {
namespace {

WorkClass ClassOf(const ClassifierOptions& options, WorkKind kind, int64_t items) {
  switch (kind) {
    case WorkKind::kSearch:
      return items > options.search_bulk_queries ? WorkClass::kSearchBulk
                                                 : WorkClass::kSearchSingle;
    case WorkKind::kPrefill:
      return WorkClass::kPrefill;
    case WorkKind::kDecode:
      return WorkClass::kDecode;
    case WorkKind::kEmbed:
      return WorkClass::kEmbed;
    case WorkKind::kRerank:
      return WorkClass::kRerank;
    case WorkKind::kCluster:
      return WorkClass::kKmeans;
    case WorkKind::kWrite:
      break;
  }
  return items > options.batch_items ? WorkClass::kBulkInsert : WorkClass::kGraphUpdate;
}

}  // namespace

Classification Classify(const ClassifierOptions& options, const Hints& hints, WorkKind kind,
                        int64_t items) {
  const int64_t batch = hints.batch_size.value_or(items);
  const WorkClass work_class = ClassOf(options, kind, batch);
  const auto sla_below = [&hints](int64_t limit_us) {
    return hints.latency_sla_us.has_value() && *hints.latency_sla_us < limit_us;
  };
  const auto decide = [work_class](Platform platform, std::string_view rule) {
    return Classification{.work_class = work_class, .preferred = platform, .rule = rule};
  };

  if (hints.platform.has_value()) return decide(*hints.platform, "pin");
  if (work_class == WorkClass::kSearchBulk) return decide(Platform::kGpu, "search-bulk");
  if (work_class == WorkClass::kSearchSingle && sla_below(options.search_sla_us)) {
    return decide(Platform::kFpga, "search-single");
  }
  if (work_class == WorkClass::kPrefill) return decide(Platform::kGpu, "llm-prefill");
  if (work_class == WorkClass::kDecode) return decide(Platform::kFpga, "llm-decode");
  if (sla_below(options.sla_us)) return decide(Platform::kFpga, "sla");
  if (batch > options.batch_items) return decide(Platform::kGpu, "batch");
  if (hints.power_budget_w.has_value() && *hints.power_budget_w < options.power_budget_w) {
    return decide(Platform::kFpga, "power");
  }
  if (hints.deterministic.value_or(false)) return decide(Platform::kFpga, "deterministic");
  return decide(Platform::kGpu, "default");
}

}  // namespace baton
