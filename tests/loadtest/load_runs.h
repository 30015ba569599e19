#pragma once

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "loadtest/load_run.h"
#include "loadtest/report.h"
#include "loadtest/scenario.h"
#include "loadtest/scenario_file.h"
#include "loadtest/transport.h"

namespace baton::load {

struct LoadOutcome {
  absl::Status status;
  nlohmann::json document;
  nlohmann::json figures;
};

// Connects `transport`, runs the scenario over it, and reports.
inline LoadOutcome RunOver(Scenario scenario, Transport& transport) {
  const std::atomic<bool> stop = false;
  LoadOutcome outcome;
  outcome.status = CheckScenario(scenario, "test");
  Results results(scenario.slo, scenario.load, scenario.probe.has_value());
  if (outcome.status.ok()) outcome.status = transport.Connect();
  if (outcome.status.ok()) {
    auto load = PreparedLoad::Make(scenario, transport);
    outcome.status =
        load.ok() ? RunLoad(scenario, *load, transport, stop, {}, results) : load.status();
  }
  outcome.document = MakeDocument(scenario, outcome.status, results, nullptr);
  outcome.figures = outcome.document["figures"];
  return outcome;
}

inline LoadOutcome RunScenario(const Scenario& scenario) {
  const auto transport = MakeTransport(scenario);
  if (transport.ok()) return RunOver(scenario, **transport);
  return {.status = transport.status(), .document = {}, .figures = {}};
}

// Searches of collection "c" at 100/s for half a second.
inline Scenario SearchLoad(const std::string& target) {
  Scenario scenario;
  scenario.target = target;
  scenario.arrivals = {.process = Process::kConstant, .rate_per_s = 100};
  scenario.duration_s = 0.5;
  scenario.channels = 2;
  RequestMix& mix = scenario.load.emplace_back();
  mix.kind = Kind::kSearch;
  mix.collection = "c";
  return scenario;
}

}  // namespace baton::load
