#pragma once

#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loadtest/results.h"
#include "loadtest/scenario.h"
#include "loadtest/sweep.h"

namespace baton::load {

// A run as one JSON document, which tables, HTML and comparisons are made of:
//   figures   {dotted name: number}; README.md has their formulas. What was not measured is absent
//   machine, commit, seed, run, status ("" or why it is partial)
//   errors    [{code, count, message}]
//   cdf       {metric: [[ms, share], ...]}
//   timeline  [{sent, ok, good, failed, tokens}, ...] by second
//   stages    [{name, count, queue_ms, run_ms, platforms}]
//   samples   {metric: [ms, ...]}, at most 2,000 evenly by rank
//   sweep     [{rate_per_s, ...}], of a sweep
nlohmann::json MakeDocument(const Scenario& scenario, const absl::Status& status, Results& results,
                            const SweepOutcome* sweep);

// The table of a document, with its formulas and what is to be said of it.
void PrintTable(const nlohmann::json& document, std::ostream& out);

// What is to be said of a document before its figures are believed; a sentence a line.
std::string Warnings(const nlohmann::json& document);

std::string DumpDocument(const nlohmann::json& document);
absl::Status WriteText(const std::string& path, const std::string& text);
// INVALID_ARGUMENT: not such a document.
absl::StatusOr<nlohmann::json> ReadDocument(const std::string& path);
absl::StatusOr<nlohmann::json> ParseDocument(const std::string& text, const std::string& name);

}  // namespace baton::load
