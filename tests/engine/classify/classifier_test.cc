#include "engine/classify/classifier.h"

#include <catch2/catch.hpp>
#include <string>

namespace baton {
namespace {

struct Case {
  const char* name;
  Hints hints;
  WorkKind kind;
  int64_t items;
  WorkClass work_class;
  Platform preferred;
  const char* rule;
};

Hints Sla(int64_t us) { return {.latency_sla_us = us}; }

TEST_CASE("each rule decides what it says, in its order") {
  constexpr auto kCpu = Platform::kCpu;
  constexpr auto kGpu = Platform::kGpu;
  constexpr auto kFpga = Platform::kFpga;
  const Case cases[] = {
      {"a pin beats a bulk search",
       {.platform = kCpu},
       WorkKind::kSearch,
       100,
       WorkClass::kSearchBulk,
       kCpu,
       "pin"},
      {"a pin beats an SLA",
       {.latency_sla_us = 10, .platform = kGpu},
       WorkKind::kSearch,
       1,
       WorkClass::kSearchSingle,
       kGpu,
       "pin"},
      {"11 queries are bulk",
       {},
       WorkKind::kSearch,
       11,
       WorkClass::kSearchBulk,
       kGpu,
       "search-bulk"},
      {"k-means is a class of its own",
       {},
       WorkKind::kCluster,
       5,
       WorkClass::kKmeans,
       kGpu,
       "default"},
      {"10 queries are not", {}, WorkKind::kSearch, 10, WorkClass::kSearchSingle, kGpu, "default"},
      {"bulk beats an SLA", Sla(10), WorkKind::kSearch, 11, WorkClass::kSearchBulk, kGpu,
       "search-bulk"},
      {"a quick single search", Sla(999), WorkKind::kSearch, 1, WorkClass::kSearchSingle, kFpga,
       "search-single"},
      {"the SLA bound itself is not below", Sla(1000), WorkKind::kSearch, 1,
       WorkClass::kSearchSingle, kGpu, "default"},
      {"batch_size counts as the batch",
       {.batch_size = 11},
       WorkKind::kSearch,
       1,
       WorkClass::kSearchBulk,
       kGpu,
       "search-bulk"},
      {"prefill", {}, WorkKind::kPrefill, 5, WorkClass::kPrefill, kGpu, "llm-prefill"},
      {"prefill beats an SLA", Sla(10), WorkKind::kPrefill, 5, WorkClass::kPrefill, kGpu,
       "llm-prefill"},
      {"decode", {}, WorkKind::kDecode, 1, WorkClass::kDecode, kFpga, "llm-decode"},
      {"embed with an SLA", Sla(999), WorkKind::kEmbed, 100, WorkClass::kEmbed, kFpga, "sla"},
      {"rerank of a batch", {}, WorkKind::kRerank, 17, WorkClass::kRerank, kGpu, "batch"},
      {"embed of a batch", {}, WorkKind::kEmbed, 17, WorkClass::kEmbed, kGpu, "batch"},
      {"embed of a small batch", {}, WorkKind::kEmbed, 16, WorkClass::kEmbed, kGpu, "default"},
      {"a batch beats power",
       {.power_budget_w = 10},
       WorkKind::kEmbed,
       17,
       WorkClass::kEmbed,
       kGpu,
       "batch"},
      {"power", {.power_budget_w = 49.9}, WorkKind::kEmbed, 1, WorkClass::kEmbed, kFpga, "power"},
      {"the power bound itself is not below",
       {.power_budget_w = 50},
       WorkKind::kEmbed,
       1,
       WorkClass::kEmbed,
       kGpu,
       "default"},
      {"power beats determinism",
       {.power_budget_w = 1, .deterministic = true},
       WorkKind::kEmbed,
       1,
       WorkClass::kEmbed,
       kFpga,
       "power"},
      {"determinism",
       {.deterministic = true},
       WorkKind::kEmbed,
       1,
       WorkClass::kEmbed,
       kFpga,
       "deterministic"},
      {"not deterministic",
       {.deterministic = false},
       WorkKind::kEmbed,
       1,
       WorkClass::kEmbed,
       kGpu,
       "default"},
      {"a few points", {}, WorkKind::kWrite, 16, WorkClass::kGraphUpdate, kGpu, "default"},
      {"many points", {}, WorkKind::kWrite, 17, WorkClass::kBulkInsert, kGpu, "batch"},
  };
  for (const Case& c : cases) {
    DYNAMIC_SECTION(c.name) {
      const Classification got = Classify({}, c.hints, c.kind, c.items);
      CHECK(Name(got.work_class) == Name(c.work_class));
      CHECK(Name(got.preferred) == Name(c.preferred));
      CHECK(got.rule == c.rule);
    }
  }
}

TEST_CASE("the thresholds are the options'") {
  const ClassifierOptions options{.search_bulk_queries = 2, .search_sla_us = 5};
  CHECK(Classify(options, {}, WorkKind::kSearch, 3).work_class == WorkClass::kSearchBulk);
  CHECK(Classify(options, Sla(5), WorkKind::kSearch, 1).rule != "search-single");
  CHECK(Classify(options, Sla(4), WorkKind::kSearch, 1).rule == "search-single");
}

}  // namespace
}  // namespace baton
