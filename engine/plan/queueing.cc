#include "engine/plan/queueing.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace baton::plan {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTiny = 1e-15;

// P(K = k) of Poisson with this mean.
double PoissonShare(double mean, int64_t k) {
  if (mean == 0) return k == 0 ? 1 : 0;
  const auto count = static_cast<double>(k);
  return std::exp(count * std::log(mean) - mean - std::lgamma(count + 1));
}

// x with NormalBelow(x) = share, by halving.
double NormalQuantile(double share) {
  double low = -10;
  double high = 10;
  for (int i = 0; i < 80; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2)) < share ? low : high) = middle;
  }
  return low;
}

}  // namespace

BatchForming FormBatches(double requests_per_ms, const BatchLimits& limits) {
  const int64_t size_max = limits.requests_max;
  BatchForming forming{.size_share = {0, 1}};
  if (size_max == 1 || requests_per_ms <= 0 || limits.wait_ms <= 0) return forming;
  const double rate = requests_per_ms;
  const double mean = rate * limits.wait_ms;
  // A batch has 1 + min(K, size_max - 1) requests, K of them having arrived within wait_ms.
  forming.size_share.assign(static_cast<size_t>(size_max) + 1, 0);
  double below = 0;  // P(K < k)
  double wait_sum_ms = 0;
  double window_ms = 0;         // E[W], of how long a batch is open
  double window_square_ms = 0;  // E[W * W]
  forming.mean_size = 0;
  for (int64_t k = 0; k + 1 < size_max; ++k) {
    const double share = PoissonShare(mean, k);
    below += share;
    const double above = std::max(0.0, 1 - below);                           // P(K > k)
    const double beyond = std::max(0.0, above - PoissonShare(mean, k + 1));  // P(K > k + 1)
    const auto count = static_cast<double>(k + 1);
    forming.size_share[static_cast<size_t>(k) + 1] = share;
    forming.mean_size += count * share;
    // The time within wait_ms for which a batch has k + 1 requests is above / rate in the mean.
    window_ms += above / rate;
    wait_sum_ms += count * above / rate;
    window_square_ms += 2 * count * beyond / (rate * rate);
    if (above<kTiny&& static_cast<double>(k)> mean) break;
  }
  const double full = std::max(0.0, 1 - below);
  forming.size_share.back() += full;
  forming.mean_size += static_cast<double>(size_max) * full;
  forming.mean_wait_ms = wait_sum_ms / forming.mean_size;
  const double interval_ms = 1 / rate + window_ms;
  const double variance = 1 / (rate * rate) + window_square_ms - window_ms * window_ms;
  forming.interval_scv = std::clamp(variance / (interval_ms * interval_ms), 0.0, 1.0);
  return forming;
}

double WaitChance(const QueueLoad& load) {
  const double utilisation = load.utilisation();
  if (utilisation >= 1) return 1;
  const double offered = load.per_ms * load.run_ms;
  double blocked = 1;  // Erlang's B formula, lane by lane
  for (int64_t lane = 1; lane <= load.lanes; ++lane) {
    blocked = offered * blocked / (static_cast<double>(lane) + offered * blocked);
  }
  return blocked / (1 - utilisation * (1 - blocked));
}

double QueueWaitMs(const QueueLoad& load) {
  const double utilisation = load.utilisation();
  if (utilisation >= 1) return kInfinity;
  if (utilisation <= 0) return 0;
  const double scv_sum = load.interval_scv + load.run_scv;
  if (scv_sum <= 0) return 0;
  double correction = 1;
  if (load.interval_scv < 1) {
    const double regular = 1 - load.interval_scv;
    correction = std::exp(-2 * (1 - utilisation) * regular * regular / (3 * utilisation * scv_sum));
  }
  const double exponential_ms =
      WaitChance(load) * load.run_ms / (static_cast<double>(load.lanes) * (1 - utilisation));
  return exponential_ms * scv_sum / 2 * correction;
}

double MergedScv(const std::vector<ArrivalStream>& streams, double utilisation) {
  double rate = 0;
  for (const ArrivalStream& stream : streams) rate += stream.per_ms;
  if (rate <= 0) return 1;
  double scv = 0;
  double concentration = 0;
  for (const ArrivalStream& stream : streams) {
    const double share = stream.per_ms / rate;
    scv += share * stream.interval_scv;
    concentration += share * share;
  }
  const double idle = std::max(0.0, 1 - utilisation);
  const double weight = 1 / (1 + 4 * idle * idle * (1 / concentration - 1));
  return weight * scv + 1 - weight;
}

StepQueue ShareSteps(const StepLoad& load) {
  StepQueue queue;
  if (load.sequences_per_ms <= 0) {
    queue.mean_step_ms = load.step_ms(1);
    queue.sojourn_ms = load.steps * queue.mean_step_ms;
    queue.mean_step_batch = 1;
    return queue;
  }
  const auto full = static_cast<double>(load.sequences_max);
  const double offered = load.sequences_per_ms * load.steps;  // sequence-steps per ms
  queue.utilisation = offered * load.step_ms(full) / full;
  if (queue.utilisation >= 1) {
    queue.busy = 1;
    queue.mean_sequences = queue.sojourn_ms = kInfinity;
    queue.mean_step_ms = load.step_ms(full);
    queue.mean_step_batch = full;
    return queue;
  }
  // Weights of n sequences there: each is the one before times arrivals per departure. Kept in
  // proportion to the largest, so that none overflows.
  std::vector<double> logs = {0};
  for (int64_t n = 1; n <= load.sequences_max; ++n) {
    const auto count = static_cast<double>(n);
    logs.push_back(logs.back() + std::log(offered * load.step_ms(count) / count));
  }
  const double largest = *std::max_element(logs.begin(), logs.end());
  double sum = 0;
  double sequences = 0;
  double seen = 0;  // weighted by the sequences that see it
  double step_ms = 0;
  double step_square_ms = 0;
  double busy = 0;
  double steps = 0;       // per ms
  double step_batch = 0;  // sequence-steps per ms
  const auto add = [&](double weight, double there) {
    const double in_step = std::min(there, full);
    const double ms = load.step_ms(in_step);
    sum += weight;
    sequences += weight * there;
    busy += weight;
    steps += weight / ms;
    step_batch += weight * in_step / ms;
    seen += weight * in_step / ms;
    step_ms += weight * in_step;
    step_square_ms += weight * in_step * ms;
  };
  for (int64_t n = 1; n <= load.sequences_max; ++n) {
    add(std::exp(logs[static_cast<size_t>(n)] - largest), static_cast<double>(n));
  }
  // Beyond sequences_max: a geometric tail.
  const double last = std::exp(logs.back() - largest);
  const double ratio = queue.utilisation;
  const double tail = last * ratio / (1 - ratio);
  const double tail_excess = last * ratio / ((1 - ratio) * (1 - ratio));
  add(tail, full);
  sequences += tail_excess * (1 + load.steps_scv) / 2;
  const double idle = std::exp(-largest);
  sum += idle;
  queue.busy = busy / sum;
  queue.mean_sequences = sequences / sum;
  queue.mean_step_ms = busy / steps;
  queue.mean_step_batch = step_batch / steps;
  const double seen_ms = step_ms / seen;
  queue.step_scv = std::max(0.0, step_square_ms / seen / (seen_ms * seen_ms) - 1);
  queue.sojourn_ms =
      queue.mean_sequences / load.sequences_per_ms + queue.busy * queue.mean_step_ms / 2;
  return queue;
}

double LognormalQuantile(double mean, double variance, double quantile) {
  if (!std::isfinite(mean)) return kInfinity;
  if (variance <= 0 || mean <= 0) return mean;
  const double spread = std::log1p(variance / (mean * mean));
  return std::exp(std::log(mean) - spread / 2 + NormalQuantile(quantile) * std::sqrt(spread));
}

}  // namespace baton::plan
