#include "loadtest/sweep.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace baton::load {
namespace {

constexpr double kThreadBusyMax = 0.9;
constexpr double kSecondChance = 0.5;  // of slo.share

SweepStep StepOf(double rate, const SloOptions& slo, Results& results) {
  const double wall_s = std::max(results.wall_s(), 1e-9);
  const Summary ttft = results.all.ttft.Summarize();
  const Summary e2e = results.all.e2e.Summarize();
  SweepStep step{.rate_per_s = rate,
                 .ok_per_s = static_cast<double>(results.all.ok) / wall_s,
                 .goodput_per_s = results.goodput_per_s(),
                 .goodput_share = results.goodput_share(),
                 .tokens_per_s = static_cast<double>(results.all.tokens) / wall_s,
                 .ttft_p50_ms = ttft.p50_ms,
                 .ttft_p99_ms = ttft.p99_ms,
                 .e2e_p50_ms = e2e.p50_ms,
                 .e2e_p99_ms = e2e.p99_ms};
  step.holds = step.goodput_share >= slo.share;
  step.client_bound = IsClientBound(results);
  return step;
}

}  // namespace

bool IsClientBound(const Results& results) {
  return results.client.busiest_thread > kThreadBusyMax;
}

SweepOutcome RunSweep(const Scenario& scenario, const PreparedLoad& load, Transport& transport,
                      const std::atomic<bool>& stop, const ShowProgress& show,
                      const std::function<void(const SweepStep&)>& on_step) {
  const SweepOptions& sweep = *scenario.sweep;
  SweepOutcome outcome;
  const auto run_once = [&](double rate) -> std::optional<bool> {
    Scenario at = scenario;
    at.arrivals.rate_per_s = rate;
    at.duration_s = sweep.step_s;
    at.warmup_s = sweep.warmup_s;
    at.seed = scenario.seed + 1000 * outcome.steps.size();
    Results results(scenario.slo, scenario.load, scenario.probe.has_value());
    outcome.status = RunLoad(at, load, transport, stop, show, results);
    const SweepStep step = StepOf(rate, scenario.slo, results);
    outcome.steps.push_back(step);
    if (on_step) on_step(step);
    outcome.goodput_peak_per_s = std::max(outcome.goodput_peak_per_s, step.goodput_per_s);
    const bool best = step.holds && rate > outcome.rate_at_slo;
    if (best) outcome.rate_at_slo = rate;
    if (best || !outcome.best) outcome.best = std::move(results);
    if (!outcome.status.ok() || stop) return std::nullopt;
    if (!step.holds && step.client_bound && step.goodput_share > 0) outcome.client_bound = true;
    return step.holds;
  };
  // Whether the rate holds; nothing where the sweep is over. One that breaks narrowly gets a second
  // chance: something else on the machine may have been to blame.
  const auto run_at = [&](double rate) -> std::optional<bool> {
    const auto holds = run_once(rate);
    const bool narrow = outcome.steps.back().goodput_share >= kSecondChance * scenario.slo.share;
    return holds && !*holds && narrow ? run_once(rate) : holds;
  };
  double good = 0;
  double bad = 0;
  for (double rate = sweep.rate_min_per_s; bad == 0; rate *= sweep.factor) {
    rate = std::min(rate, sweep.rate_max_per_s);
    const auto holds = run_at(rate);
    if (!holds) return outcome;
    (*holds ? good : bad) = rate;
    if (rate >= sweep.rate_max_per_s) break;
  }
  if (good == 0 || bad == 0) return outcome;
  for (int32_t i = 0; i < sweep.refine; ++i) {
    const double rate = std::sqrt(good * bad);  // rates are ratios
    const auto holds = run_at(rate);
    if (!holds) return outcome;
    (*holds ? good : bad) = rate;
  }
  return outcome;
}

}  // namespace baton::load
