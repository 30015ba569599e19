#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace baton::plan {

// Batches that collect requests: one opens with the first request that finds none open, and goes
// when it is full or `wait_ms` old.
struct BatchLimits {
  int64_t requests_max = 1;
  double wait_ms = 0;
};

// What such batches are like where requests arrive at random (Poisson). Exact.
struct BatchForming {
  std::vector<double> size_share;  // [n]: the share of batches that have n requests; [0] is 0
  double mean_size = 1;
  double mean_wait_ms = 0;  // of a request, until its batch goes
  double interval_scv = 1;  // squared coefficient of variation of the times between batches
};
BatchForming FormBatches(double requests_per_ms, const BatchLimits& limits);

// What comes to `lanes` that serve one queue in order of arrival.
struct QueueLoad {
  double per_ms = 0;
  double run_ms = 0;        // mean
  double run_scv = 0;       // squared coefficient of variation
  double interval_scv = 1;  // of the times between arrivals; 1: at random
  int64_t lanes = 1;

  double utilisation() const { return per_ms * run_ms / static_cast<double>(lanes); }
};

// The share of arrivals that wait, by Erlang's C formula; 1 where utilisation() >= 1.
double WaitChance(const QueueLoad& load);
// Mean wait; infinity where utilisation() >= 1. Exact for random arrivals to one lane
// (Pollaczek-Khinchine) and for exponential run times (Erlang C); between and beside these the
// formula of Allen and Cunneen, with the correction of Kraemer and Langenbach-Belz where arrivals
// are more regular than random.
double QueueWaitMs(const QueueLoad& load);

// How variable the arrivals of several streams are together, by Whitt's "The queueing network
// analyzer" (1983), (29) and (33).
struct ArrivalStream {
  double per_ms = 0;
  double interval_scv = 1;
};
double MergedScv(const std::vector<ArrivalStream>& streams, double utilisation);

// Continuous batching: every sequence that is there takes part in each step, up to
// `sequences_max`; more wait.
struct StepLoad {
  double sequences_per_ms = 0;
  double steps = 1;      // of each sequence, mean
  double steps_scv = 1;  // and their squared coefficient of variation
  int64_t sequences_max = 1;
  std::function<double(double sequences)> step_ms;
};
struct StepQueue {
  double utilisation = 0;  // of what full steps could do; the rest holds below 1 only
  double busy = 0;         // share of time with steps
  double mean_sequences = 0;
  double sojourn_ms = 0;       // mean, from arrival to the last step
  double mean_step_ms = 0;     // of those that run
  double step_scv = 0;         // of the steps' times as sequences see them
  double mean_step_batch = 0;  // sequences in a step
};
// As processor sharing whose rate depends on how many share: its stationary distribution is exact
// for any distribution of steps per sequence (Cohen 1979) up to sequences_max; those beyond it wait
// as exponential ones would, less where steps vary less. Added is what is left of the step that an
// arrival finds running.
StepQueue ShareSteps(const StepLoad& load);

// The value that a share of `quantile` stays below, of a lognormal variable of this mean and
// variance.
double LognormalQuantile(double mean, double variance, double quantile);

}  // namespace baton::plan
