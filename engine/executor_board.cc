#include "engine/executor_board.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/base/strings.h"
#include "engine/threshold_tuner.h"

namespace baton {
namespace {

constexpr double kStreakRate = 1.0 / 32;  // the mean of about so many batches
constexpr TimeUs kLookUs = 100'000;
// Looks further apart than this, with work in flight, mean that this process did not run: it was
// stopped, or its machine was moved. The devices' threads did not either.
constexpr TimeUs kAbsenceUs = 2 * kLookUs;
constexpr TimeUs kTuneUs = 1'000'000;
constexpr size_t kRecentEventsMax = 8;
// Company pays where a launch of more takes less than so much of what each alone does.
constexpr double kCompanyShareMax = 0.8;

std::vector<std::string> NamesOf(const std::vector<Executor*>& executors) {
  std::vector<std::string> names;
  for (const Executor* executor : executors) {
    const ExecutorInfo& info = executor->Describe();
    names.push_back(
        StrCat(Name(info.platform), " ", info.device, info.emulated ? " emulated" : ""));
  }
  return names;
}

std::vector<PowerModel::Device> PowerOf(const std::vector<Executor*>& executors) {
  std::vector<PowerModel::Device> devices;
  for (const Executor* executor : executors) {
    const ExecutorInfo& info = executor->Describe();
    devices.push_back({.platform = info.platform,
                       .figures = {.idle_w = info.power_idle_w, .max_w = info.power_max_w}});
  }
  return devices;
}

// The CPU is the last resort: it is watched, but neither fenced nor refused.
DeviceHealth HealthOf(HealthOptions options, bool cpu) {
  if (cpu) options.stall_ms = options.cpu_stall_ms;
  return DeviceHealth(options, /*fences=*/!cpu);
}

// Why an executor lacks what work of this class takes; empty where it has it.
std::string Unable(Executor& executor, WorkClass work_class) {
  bool able = false;
  switch (work_class) {
    case WorkClass::kPrefill:
    case WorkClass::kDecode:
      able = executor.llm() != nullptr;
      break;
    case WorkClass::kSearchSingle:
    case WorkClass::kSearchBulk:
      able = executor.search() != nullptr;
      break;
    case WorkClass::kKmeans:
      able = executor.cluster() != nullptr;
      break;
    case WorkClass::kEmbed:
    case WorkClass::kRerank:
      able = executor.embed() != nullptr;
      break;
    case WorkClass::kGraphBuild:
    case WorkClass::kBulkInsert:
    case WorkClass::kGraphUpdate:
      return executor.Describe().platform == Platform::kCpu ? "" : "points are written by the host";
  }
  return able ? "" : StrCat("it has no skill for ", Name(work_class));
}

std::optional<double> MemoryPercent(const ExecutorInfo& info, const ExecutorSample& sample) {
  if (info.memory_bytes_total <= 0) return std::nullopt;
  return 100.0 * static_cast<double>(sample.memory_bytes_used) /
         static_cast<double>(info.memory_bytes_total);
}

}  // namespace

bool IsExecutorsFault(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kAborted:
      return true;
    default:
      return false;
  }
}

ExecutorBoard::ExecutorBoard(const EngineOptions& options, std::vector<Executor*> executors,
                             const Clock& clock, Metrics& metrics, PlacementPlan placement)
    : options_(options),
      placement_(std::move(placement)),
      clock_(clock),
      metrics_(metrics),
      costs_(options.cost_model, NamesOf(executors)),
      power_(options.power, PowerOf(executors)),
      thresholds_(options.classify) {
  BATON_CHECK(executors.size() <= 32);  // bits of Work::failed
  for (Executor* executor : executors) {
    const ExecutorInfo& info = executor->Describe();
    const bool cpu = info.platform == Platform::kCpu;
    const std::string_view platform = Name(info.platform);
    State& state = states_.emplace_back(State{.executor = executor,
                                              .present = info.present,
                                              .cpu = cpu,
                                              .health = HealthOf(options.health, cpu)});
    state.up = &metrics.Gauge(MetricId::kExecutorUp,
                              {platform, info.device, info.emulated ? "true" : "false"});
    state.capacity = &metrics.Gauge(MetricId::kDeviceCapacity, {platform, info.device});
    state.watts = &metrics.Gauge(MetricId::kDeviceWatts, {platform, info.device});
    state.load = &metrics.Gauge(MetricId::kDeviceLoad, {platform, info.device});
    state.queue_depth = &metrics.Gauge(MetricId::kDeviceQueue, {platform, info.device});
    state.memory_used =
        &metrics.Gauge(MetricId::kDeviceMemoryBytes, {platform, info.device, "used"});
    metrics.Gauge(MetricId::kDeviceMemoryBytes, {platform, info.device, "total"})
        .Set(static_cast<double>(info.memory_bytes_total));
    present_count_ += info.present ? 1 : 0;
  }
  for (int i = 0; i < static_cast<int>(states_.size()); ++i) Look(i, clock_.NowUs());
}

const char* ExecutorBoard::PlatformName(int index) const {
  return Name(states_[static_cast<size_t>(index)].executor->Describe().platform).data();
}

// ---- Where work goes

ExecutorChoice ExecutorBoard::Describe(int index, const Classification& work, const Hints& hints,
                                       const Work& wanted, TimeUs now_us) {
  State& state = states_[static_cast<size_t>(index)];
  const ExecutorInfo& info = state.executor->Describe();
  ExecutorChoice choice{.platform = info.platform,
                        .device = info.device,
                        .emulated = info.emulated,
                        .ineligible = {},
                        .holds_data = state.cpu};
  if (!info.present) {
    choice.ineligible = info.reason;
    return choice;
  }
  const ExecutorSample sample = state.executor->Sample();
  choice.queue_depth = sample.queue_depth;
  choice.ineligible = Unable(*state.executor, work.work_class);
  if (choice.ineligible.empty() && !sample.healthy) {
    choice.ineligible = sample.trouble.empty() ? "it is not healthy" : sample.trouble;
  }
  if (choice.ineligible.empty() && !wanted.unable.empty()) {
    choice.ineligible = wanted.unable[static_cast<size_t>(index)];
  }
  if (choice.ineligible.empty() && !state.cpu) choice.ineligible = state.health.Refusal(now_us);
  if (choice.ineligible.empty()) choice.ineligible = power_.Refusal(index);
  if (choice.ineligible.empty() && wanted.only && *wanted.only != index) {
    choice.ineligible = "the work is for another device";
  }
  if (choice.ineligible.empty() && (wanted.failed >> index & 1) != 0) {
    choice.ineligible = "it has failed at this work";
  }
  if (present_count_ == 1 && !wanted.explain && !hints.sla_required) return choice;

  // Only what another device could change.
  if (work.work_class == WorkClass::kPrefill) choice.paired = placement_.HasPair(index);
  if (wanted.after) choice.paired = placement_.Paired(index, *wanted.after);
  choice.capacity = state.health.capacity();
  choice.watts = power_.BusyWatts(index);
  choice.avoid = power_.OverBudget(index, hints.power_budget_w);
  const bool counts =
      !wanted.explain && choice.ineligible.empty() && !state.cpu && info.platform == work.preferred;
  if (choice.avoid.empty() && counts && choice.capacity < 1 && state.health.Spare()) {
    choice.avoid =
        StrCat("it is spared, at ", std::lround(100 * choice.capacity), " % of its capacity");
  }
  if (choice.avoid.empty() && state.health.suspected()) {
    choice.avoid = "it has work and completes nothing at the moment";
  }
  if (choice.avoid.empty() && state.queue.Full(work.work_class)) {
    choice.avoid = "its queue is full";
  }
  WorkShape shape = wanted.shape;
  if (present_count_ > 1) shape.load = sample.load;
  // As such batches mostly have it: what went there last is chance, and routing by it would follow
  // its own steps.
  shape.streak = std::expm1(state.mean_log_streak[static_cast<size_t>(work.work_class)]);
  choice.wait_us = state.queue.WaitUs(work.work_class, now_us);
  if (wanted.held != nullptr) choice.wait_us += wanted.held->AheadUs(index, work.work_class);
  choice.predicted = costs_.Predict(index, work.work_class, shape);
  choice.sure = choice.predicted && options_.cost_model.route && costs_.Sure(*choice.predicted);
  return choice;
}

void ExecutorBoard::SetProbes(const Work& work, WorkClass work_class, TimeUs now_us,
                              std::vector<ExecutorChoice>& choices) const {
  const TimeUs probe_us = options_.cost_model.probe_ms * 1000;
  if (probe_us == 0 || work.explain || work.only || work.failed != 0) return;
  bool flows = false;  // where no work is done at all, nothing is known to be passed over
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].sure && costs_.SilentUs(static_cast<int>(i), work_class, now_us) < probe_us) {
      flows = true;
    }
  }
  if (!flows) return;
  for (size_t i = 0; i < choices.size(); ++i) {
    const TimeUs silent_us = costs_.SilentUs(static_cast<int>(i), work_class, now_us);
    const TimeUs probed_us = states_[i].probed_us[static_cast<size_t>(work_class)];
    choices[i].probe = choices[i].sure && silent_us >= probe_us && now_us - probed_us >= probe_us;
  }
}

RouteChoice ExecutorBoard::Choose(const Hints& hints, const Work& work) {
  const std::lock_guard lock(mutex_);
  const TimeUs now_us = clock_.NowUs();
  const Classification classified =
      Classify(thresholds_, hints, work.kind, std::llround(work.shape.items));
  std::vector<ExecutorChoice> choices;
  choices.reserve(states_.size());
  double share = 0;
  for (int i = 0; i < static_cast<int>(states_.size()); ++i) {
    choices.push_back(Describe(i, classified, hints, work, now_us));
    const State& state = states_[static_cast<size_t>(i)];
    if (state.present && !state.cpu && choices.back().platform == classified.preferred) {
      share = std::max(share, state.health.cpu_share());
    }
  }
  for (ExecutorChoice& choice : choices) {
    if (choice.platform == Platform::kCpu) choice.share = share;
  }
  if (present_count_ > 1) SetProbes(work, classified.work_class, now_us, choices);
  RouteChoice choice = ChooseRoute(options_.route, classified, hints, choices);
  if (choice.probe) {
    states_[static_cast<size_t>(choice.chosen)]
        .probed_us[static_cast<size_t>(classified.work_class)] = now_us;
  }
  return choice;
}

// ---- What work teaches

// 0 where the device did other work last, or the same with another model or other vectors.
int64_t ExecutorBoard::StreakOf(const State& state, WorkClass work_class, const WorkShape& shape) {
  return state.last_class == work_class && state.last_scale == shape.scale ? state.streak : 0;
}

uint64_t ExecutorBoard::Begin(Begun begun, absl::AnyInvocable<void()> fenced) {
  const std::lock_guard lock(mutex_);
  State& state = states_[static_cast<size_t>(begun.executor)];
  // A sample costs microseconds, and where there is nothing to choose between nothing is decided.
  if (present_count_ > 1) begun.shape.load = state.executor->Sample().load;
  const int64_t streak = StreakOf(state, begun.work_class, begun.shape);
  begun.shape.streak = static_cast<double>(streak);
  state.streak = streak + 1;
  double& mean_log_streak = state.mean_log_streak[static_cast<size_t>(begun.work_class)];
  mean_log_streak += kStreakRate * (std::log1p(begun.shape.streak) - mean_log_streak);
  state.last_class = begun.work_class;
  state.last_scale = begun.shape.scale;
  if (begun.prompts) {
    begun.prompts->load = begun.shape.load;
    begun.prompts->streak = begun.shape.streak;
  }
  TimeUs expected_us = begun.open_ended ? -1 : 0;
  TimeUs median_us = 0;
  if (present_count_ > 1 && !begun.open_ended && !begun.prompts) {
    const auto predicted = costs_.Predict(begun.executor, begun.work_class, begun.shape);
    if (predicted && costs_.Sure(*predicted)) {
      median_us = std::llround(predicted->run_us);
      if (!state.cpu) expected_us = std::llround(predicted->run_us_high);
    }
  }
  const TimeUs now_us = clock_.NowUs();
  state.health.Begin(expected_us, now_us);
  const uint64_t queued = state.queue.Begin(begun.work_class, median_us, now_us);
  ++state.in_flight;
  const uint64_t ticket = next_ticket_++;
  tickets_.emplace(ticket, Ticket{.begun = std::move(begun),
                                  .generation = state.health.generation(),
                                  .queued = queued,
                                  .fenced = std::move(fenced)});
  return ticket;
}

std::optional<CostPrediction> ExecutorBoard::Expected(const Begun& begun) const {
  const std::lock_guard lock(mutex_);
  const auto predicted = costs_.Predict(begun.executor, begun.work_class, begun.shape);
  return predicted && costs_.Sure(*predicted) ? predicted : std::nullopt;
}

LaunchOutlook ExecutorBoard::Outlook(const LaunchKey& key, const WorkShape& first,
                                     int64_t items) const {
  const std::lock_guard lock(mutex_);
  const State& state = states_[static_cast<size_t>(key.executor)];
  const auto alone = costs_.Predict(key.executor, key.work_class, first);
  if (!alone || !costs_.Sure(*alone)) return {};
  WorkShape shape = first;
  shape.items = std::max(2 * first.items, static_cast<double>(items));
  shape.batch = shape.items / std::max(1.0, first.items);
  const auto together = costs_.Predict(key.executor, key.work_class, shape);
  const double share = together->run_us / alone->run_us * first.items / shape.items;
  return {.known = true,
          .pays = share < kCompanyShareMax,
          .room = state.queue.Room(key.work_class),
          .patience_us = 2 * state.queue.TypicalRunUs(key.work_class)};
}

void ExecutorBoard::Observe(const Begun& begun, TimeUs run_us, TimeUs now_us) {
  State& state = states_[static_cast<size_t>(begun.executor)];
  const auto predicted = costs_.Predict(begun.executor, begun.work_class, begun.shape);
  if (predicted && predicted->samples >= options_.cost_model.samples_min && run_us > 0) {
    prometheus::Histogram*& error = state.error[static_cast<size_t>(begun.work_class)];
    if (error == nullptr) {
      error = &metrics_.Histogram(MetricId::kCostErrorRatio,
                                  {Name(begun.work_class), PlatformName(begun.executor)});
    }
    error->Observe(std::abs(predicted->run_us / static_cast<double>(run_us) - 1));
  }
  costs_.Observe(begun.executor, begun.work_class, begun.shape, run_us, now_us);
}

std::optional<Energy> ExecutorBoard::End(uint64_t ticket, const absl::Status& status,
                                         const BatchTimes& times) {
  const std::lock_guard lock(mutex_);
  const auto it = tickets_.find(ticket);
  BATON_CHECK(it != tickets_.end());
  const Ticket ended = std::move(it->second);
  tickets_.erase(it);
  const int index = ended.begun.executor;
  State& state = states_[static_cast<size_t>(index)];
  const TimeUs now_us = clock_.NowUs();
  const int sharing = state.in_flight--;
  const bool late = ended.generation != state.health.generation();
  const auto outcome = late                                ? DeviceQueue::Outcome::kOther
                       : absl::IsResourceExhausted(status) ? DeviceQueue::Outcome::kRefused
                       : status.ok()                       ? DeviceQueue::Outcome::kRan
                                                           : DeviceQueue::Outcome::kOther;
  state.queue.End(ended.queued, outcome, times.queue_us, times.run_us);
  if (late) {
    state.health.EndLate(now_us);
    metrics_.Counter(MetricId::kLateResults, {PlatformName(index)}).Increment();
    Tell(index);
    return std::nullopt;
  }
  if (!ended.begun.open_ended) state.health.End(!IsExecutorsFault(status), now_us);
  if (status.ok() && ended.begun.prompts) {
    costs_.ObserveMixed(index, ended.begun.shape, *ended.begun.prompts, times.run_us, now_us);
  } else if (status.ok()) {
    Observe(ended.begun, times.run_us, now_us);
  }
  const Energy energy = power_.Of(index, times.run_us, sharing);
  metrics_
      .Counter(MetricId::kEnergyJoules, {Name(ended.begun.work_class), PlatformName(index),
                                         energy.measured ? "true" : "false"})
      .Increment(energy.joules);
  Tell(index);
  return energy;
}

// ---- How the devices are

void ExecutorBoard::Tell(int index) {
  State& state = states_[static_cast<size_t>(index)];
  const ExecutorInfo& info = state.executor->Describe();
  for (HealthEvent& event : state.health.TakeEvents()) {
    metrics_.Counter(MetricId::kDeviceEvents, {PlatformName(index), info.device, event.kind})
        .Increment();
    Log().warn("executor {} {}: {}: {}", PlatformName(index), info.device, event.kind, event.text);
    Remember(state, std::move(event));
  }
}

void ExecutorBoard::Remember(State& state, HealthEvent event) {
  if (state.recent.size() >= kRecentEventsMax) state.recent.erase(state.recent.begin());
  state.recent.push_back(std::move(event));
}

void ExecutorBoard::Note(int executor, std::string_view kind, std::string text) {
  const std::lock_guard lock(mutex_);
  Remember(states_[static_cast<size_t>(executor)], {.kind = kind, .text = std::move(text)});
}

void ExecutorBoard::Look(int index, TimeUs now_us) {
  State& state = states_[static_cast<size_t>(index)];
  const ExecutorInfo& info = state.executor->Describe();
  const ExecutorSample sample = state.executor->Sample();
  // Of the host's memory others take part; models and requests are admitted by bounds of their own.
  if (info.present) {
    state.health.Look({.healthy = sample.healthy,
                       .temperature_c = sample.temperature_c,
                       .memory_percent = state.cpu ? std::nullopt : MemoryPercent(info, sample)},
                      now_us);
    power_.Look(index, sample.load, sample.power_w);
  }
  const bool up =
      info.present && sample.healthy && (state.cpu || state.health.Refusal(now_us).empty());
  state.up->Set(up ? 1 : 0);
  state.capacity->Set(up ? state.health.capacity() : 0);
  state.watts->Set(info.present ? power_.Watts(index) : 0);
  const auto tell = [&](MetricId metric, const std::optional<double>& value) {
    if (value) metrics_.Gauge(metric, {PlatformName(index), info.device}).Set(*value);
  };
  tell(MetricId::kDeviceCelsius, sample.temperature_c);
  tell(MetricId::kDeviceUtilisation, sample.utilisation);
  tell(MetricId::kDeviceMemoryErrors, sample.memory_errors);
  if (sample.graphs) TellGraphs(index, *sample.graphs);
  if (!info.present) return;
  state.load->Set(sample.load);
  state.queue_depth->Set(sample.queue_depth);
  state.memory_used->Set(static_cast<double>(sample.memory_bytes_used));
}

void ExecutorBoard::TellGraphs(int index, const GraphResidency& graphs) {
  State& state = states_[static_cast<size_t>(index)];
  const char* const platform = PlatformName(index);
  const std::string& device = state.executor->Describe().device;
  const GraphResidency& told = state.graphs_told;
  metrics_.Gauge(MetricId::kDeviceGraphs, {platform, device})
      .Set(static_cast<double>(graphs.graphs));
  if (graphs.bytes) {
    metrics_.Gauge(MetricId::kDeviceGraphBytes, {platform, device})
        .Set(static_cast<double>(*graphs.bytes));
  }
  metrics_.Counter(MetricId::kDeviceGraphWalks, {platform, device})
      .Increment(static_cast<double>(graphs.walks - told.walks));
  const auto tell = [&](const char* event, int64_t GraphResidency::*count) {
    metrics_.Counter(MetricId::kDeviceGraphEvents, {platform, device, event})
        .Increment(static_cast<double>(graphs.*count - told.*count));
  };
  tell("loaded", &GraphResidency::loaded);
  tell("evicted", &GraphResidency::evicted);
  tell("dropped", &GraphResidency::dropped);
  tell("lost", &GraphResidency::lost);
  state.graphs_told = graphs;
}

std::vector<absl::AnyInvocable<void()>> ExecutorBoard::Watch() {
  const std::lock_guard lock(mutex_);
  std::vector<absl::AnyInvocable<void()>> lost;
  const TimeUs now_us = clock_.NowUs();
  const TimeUs unwatched_us = now_us - looked_us_;
  if (unwatched_us < kLookUs) return lost;
  looked_us_ = now_us;
  for (int i = 0; i < static_cast<int>(states_.size()); ++i) {
    State& state = states_[static_cast<size_t>(i)];
    if (!state.present) continue;
    Look(i, now_us);
    if (unwatched_us > kAbsenceUs) state.health.Pardon(unwatched_us - kLookUs, now_us);
    if (state.health.Tick(now_us)) {
      for (auto& [ticket, held] : tickets_) {
        if (held.begun.executor == i && held.fenced != nullptr) {
          lost.push_back(std::exchange(held.fenced, nullptr));
        }
      }
    }
    Tell(i);
  }
  if (options_.cost_model.tune_thresholds && now_us - tuned_us_ >= kTuneUs) {
    tuned_us_ = now_us;
    std::vector<TunedExecutor> present;
    for (int i = 0; i < static_cast<int>(states_.size()); ++i) {
      const State& state = states_[static_cast<size_t>(i)];
      if (state.present) present.push_back({i, state.executor->Describe().platform});
    }
    thresholds_ = TuneThresholds(options_.classify, costs_, present);
  }
  return lost;
}

std::vector<int> ExecutorBoard::TakeSuspected() {
  const std::lock_guard lock(mutex_);
  std::vector<int> suspected;
  for (int i = 0; i < static_cast<int>(states_.size()); ++i) {
    if (states_[static_cast<size_t>(i)].health.TakeSuspected()) suspected.push_back(i);
  }
  return suspected;
}

TimeUs ExecutorBoard::NextWatchUs() const {
  const std::lock_guard lock(mutex_);
  for (const State& state : states_) {
    // The CPU is no device whose vitals change; its silence is watched where it has a limit.
    const bool watched = !state.cpu || options_.health.cpu_stall_ms > 0;
    if (watched && state.health.in_flight() > 0) return looked_us_ + kLookUs;
  }
  return kNoDeadline;
}

absl::Status ExecutorBoard::Progress() const {
  const std::lock_guard lock(mutex_);
  for (const State& state : states_) {
    if (!state.health.stalled()) continue;
    return absl::UnavailableError(
        StrCat("executor ", state.executor->Describe().device, " has work and completes nothing"));
  }
  return absl::OkStatus();
}

std::vector<DeviceReport> ExecutorBoard::Devices() const {
  const std::lock_guard lock(mutex_);
  const TimeUs now_us = clock_.NowUs();
  std::vector<DeviceReport> reports;
  for (int i = 0; i < static_cast<int>(states_.size()); ++i) {
    const State& state = states_[static_cast<size_t>(i)];
    Executor& executor = *state.executor;
    DeviceReport& report = reports.emplace_back();
    report.info = executor.Describe();
    report.sample = executor.Sample();
    if (!placement_.executors.empty()) {
      const ExecutorPlacement& placed = placement_.executors[static_cast<size_t>(i)];
      report.cpus = placed.threads.cpus().ToString();
      report.numa_nodes = placed.nodes;
    }
    if (executor.llm() != nullptr) report.skills.push_back("llm");
    if (executor.search() != nullptr) report.skills.push_back("search");
    if (executor.embed() != nullptr) report.skills.push_back("embed");
    if (executor.cluster() != nullptr) report.skills.push_back("cluster");
    if (executor.graph() != nullptr) report.skills.push_back("graph");
    if (!state.present) continue;
    report.state = state.health.StateName();
    report.refusal = state.cpu ? "" : state.health.Refusal(now_us);
    if (!report.sample.healthy && !report.sample.trouble.empty()) {
      report.refusal = report.sample.trouble;
    }
    if (report.refusal.empty()) report.refusal = power_.Refusal(i);
    report.capacity = state.health.capacity();
    report.watts = power_.Watts(i);
    report.watts_measured = power_.Measured(i);
    for (const HealthEvent& event : state.recent) {
      report.events.push_back(StrCat(event.kind, ": ", event.text));
    }
  }
  return reports;
}

std::vector<LearnedCost> ExecutorBoard::Costs() const {
  const std::lock_guard lock(mutex_);
  std::vector<LearnedCost> costs;
  for (const CostReport& report : costs_.Report()) {
    const ExecutorInfo& info = states_[static_cast<size_t>(report.executor)].executor->Describe();
    costs.push_back({.work_class = report.work_class,
                     .platform = info.platform,
                     .device = info.device,
                     .samples = report.samples,
                     .median_error = report.median_error,
                     .drifts = report.drifts});
  }
  return costs;
}

PowerMode ExecutorBoard::power_mode() const {
  const std::lock_guard lock(mutex_);
  return power_.mode();
}

double ExecutorBoard::NodeWatts() const {
  const std::lock_guard lock(mutex_);
  return power_.NodeWatts();
}

void ExecutorBoard::set_power_mode(PowerMode mode) {
  const std::lock_guard lock(mutex_);
  power_.set_mode(mode);
  Log().info("power mode {}", Name(mode));
}

ClassifierOptions ExecutorBoard::thresholds() const {
  const std::lock_guard lock(mutex_);
  return thresholds_;
}

std::string ExecutorBoard::SaveCosts() const {
  const std::lock_guard lock(mutex_);
  return costs_.Save();
}

absl::Status ExecutorBoard::RestoreCosts(std::string_view saved) {
  const std::lock_guard lock(mutex_);
  return costs_.Restore(saved);
}

}  // namespace baton
