#include "tests/support/routing_simulation.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <sstream>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/strings.h"
#include "engine/exec/simulated/latency_curve.h"
#include "engine/executor_board.h"
#include "engine/schedule/launch_collector.h"
#include "tests/support/fake_clock.h"

namespace baton {
namespace {

enum class Lane : uint8_t { kSearch, kEmbed };

Lane LaneOf(WorkClass work_class) {
  return work_class == WorkClass::kEmbed ? Lane::kEmbed : Lane::kSearch;
}

// A device as SimulatedDevice has it, whose batches are numbers only.
class VirtualDevice final : public Executor, public SearchSkill, public EmbedSkill {
 public:
  VirtualDevice(const SimulatedDeviceOptions& options, uint64_t seed, const Clock& clock)
      : options_(options), clock_(clock), noise_(options.noise_sigma, options.seed + seed) {
    lanes_[0].assign(static_cast<size_t>(options.search_lanes), 0);
    lanes_[1].assign(1, 0);
    info_.platform = options.platform;
    info_.device = options.name;
    info_.present = true;
    info_.emulated = true;
  }

  const ExecutorInfo& Describe() const override { return info_; }
  ExecutorSample Sample() const override {
    const TimeUs now_us = clock_.NowUs();
    int64_t busy = 0;
    size_t all = 0;
    for (const auto& lanes : lanes_) {
      busy += std::count_if(lanes.begin(), lanes.end(), [=](TimeUs us) { return us > now_us; });
      all += lanes.size();
      if (options_.exclusive) break;
    }
    return {.healthy = true,
            .queue_depth = static_cast<int32_t>(held_),
            .load = static_cast<double>(busy) / static_cast<double>(all)};
  }
  LlmSkill* llm() override { return nullptr; }
  SearchSkill* search() override { return Has(WorkClass::kSearchSingle) ? this : nullptr; }
  EmbedSkill* embed() override { return Has(WorkClass::kEmbed) ? this : nullptr; }
  ClusterSkill* cluster() override { return nullptr; }
  GraphSkill* graph() override { return nullptr; }
  const IvfMath* ivf() override { return nullptr; }
  std::string Unable(const CollectionView&, const SearchParams&) const override { return ""; }
  void Execute(SearchBatch, absl::AnyInvocable<void(SearchBatchResult)>) override {
    BATON_CHECK(false);
  }
  std::string Unable(const Embedder&) const override { return ""; }
  int64_t ModelBytes(const TextEncoder&) const override { return 0; }
  absl::Status LoadModel(std::shared_ptr<const TextEncoder>) override { return absl::OkStatus(); }
  void UnloadModel(const TextEncoder&) override {}
  void Execute(EmbedBatch, absl::AnyInvocable<void(EmbedBatchResult)>) override {
    BATON_CHECK(false);
  }

  struct Job {
    TimeUs due_us = 0;
    BatchTimes times;
  };
  // nullopt: the queue is full.
  std::optional<Job> Begin(Lane lane, double items) {
    int64_t& queued = queued_[static_cast<size_t>(lane)];
    if (queued >= options_.queue_batches) return std::nullopt;
    ++queued;
    ++held_;
    auto& lanes = lanes_[options_.exclusive ? 0 : static_cast<size_t>(lane)];
    const auto free = std::min_element(lanes.begin(), lanes.end());
    const TimeUs now_us = clock_.NowUs();
    const TimeUs start_us = std::max(now_us, *free);
    const TimeUs run_us = std::llround(RunUs(lane, items) * noise_.NextFactor() * slow_);
    *free = start_us + run_us;
    return Job{.due_us = *free, .times = {.queue_us = start_us - now_us, .run_us = run_us}};
  }
  void End(Lane lane) {
    --queued_[static_cast<size_t>(lane)];
    --held_;
  }
  void set_slow(double factor) { slow_ = factor; }

 private:
  bool Has(WorkClass work_class) const {
    return options_.latency[static_cast<size_t>(work_class)].has_value();
  }
  // Work without a curve of its own takes the other one's, as in SimulatedSearch.
  double RunUs(Lane lane, double items) const {
    WorkClass work_class = WorkClass::kEmbed;
    if (lane == Lane::kSearch) {
      const bool single = items == 1 || !Has(WorkClass::kSearchBulk);
      work_class = single ? WorkClass::kSearchSingle : WorkClass::kSearchBulk;
    }
    return CurveUs(*options_.latency[static_cast<size_t>(work_class)], {.items = items});
  }

  const SimulatedDeviceOptions options_;
  const Clock& clock_;
  LatencyNoise noise_;
  ExecutorInfo info_;
  std::vector<TimeUs> lanes_[2];  // by Lane: when each is free
  int64_t queued_[2] = {};
  int64_t held_ = 0;
  double slow_ = 1;
};

class Player {
 public:
  Player(const SimulationOptions& node, const RoutingTrace& trace, const RoutingRun& run)
      : trace_(trace),
        run_(run),
        random_(trace.seed),
        collector_(run.options.batching,
                   [this](const LaunchKey& key, const WorkShape& first, int64_t items) {
                     return board_->Outlook(key, first, items);
                   }) {
    for (const SimulatedDeviceOptions& options : node.devices) {
      const bool there = run.only.empty() || std::find(run.only.begin(), run.only.end(),
                                                       options.platform) != run.only.end();
      if (!there) continue;
      devices_.push_back(std::make_unique<VirtualDevice>(options, trace.seed, clock_));
    }
    std::vector<Executor*> executors;
    for (const auto& device : devices_) executors.push_back(device.get());
    board_ = std::make_unique<ExecutorBoard>(run.options, executors, clock_, metrics_);
    outcome_.classes.resize(trace.classes.size());
  }

  RoutingOutcome Play() {
    if (run_.calibrate) Calibrate();
    begin_us_ = clock_.NowUs();
    const TimeUs count_from_us = begin_us_ + Us(run_.warmup_seconds);
    const TimeUs end_us = count_from_us + Us(run_.seconds);
    size_t drifted = 0;
    const auto drift_us = [&] {
      if (!run_.drift || drifted == trace_.drifts.size()) return kNoDeadline;
      return count_from_us + Us(run_.seconds * trace_.drifts[drifted].at);
    };
    TimeUs arrival_us = begin_us_;
    while (true) {
      const TimeUs next_us = std::min({arrival_us, drift_us(), NextUs()});
      if (next_us == kNoDeadline) break;
      AdvanceTo(next_us);
      if (drift_us() == next_us) {
        const RoutingTrace::Drift& drift = trace_.drifts[drifted++];
        for (const auto& device : devices_) {
          if (device->Describe().device == drift.device) device->set_slow(drift.factor);
        }
      }
      if (arrival_us == next_us) {
        Arrive(next_us >= count_from_us);
        arrival_us += GapUs(next_us - begin_us_);
        if (arrival_us >= end_us) arrival_us = kNoDeadline;
      }
      Turn();
    }
    for (RoutingOutcome::Class& of : outcome_.classes) {
      std::sort(of.latencies_us.begin(), of.latencies_us.end());
    }
    return std::move(outcome_);
  }

 private:
  struct Request {
    size_t of = 0;  // a class of the trace
    bool counted = false;
    int executor = 0;
    WorkClass work_class = WorkClass::kSearchSingle;
    double items = 1;
    TimeUs came_us = 0;
    uint32_t failed = 0;
  };
  struct Running {
    TimeUs due_us = 0;
    uint64_t number = 0;  // by arrival at the device
    VirtualDevice* device = nullptr;
    int executor = 0;
    WorkClass work_class = WorkClass::kSearchSingle;
    uint64_t ticket = 0;
    BatchTimes times;
    std::vector<Request> requests;

    bool operator>(const Running& other) const {
      return std::pair(due_us, number) > std::pair(other.due_us, other.number);
    }
  };

  static TimeUs Us(double seconds) { return std::llround(seconds * 1e6); }
  double Uniform() { return (static_cast<double>(random_() >> 11) + 0.5) * 0x1p-53; }
  int64_t Items(const RoutingTrace::Class& of) {
    const double low = std::log(static_cast<double>(of.items_min));
    const double high = std::log(static_cast<double>(of.items_max + 1));
    return std::min(of.items_max, static_cast<int64_t>(std::exp(low + Uniform() * (high - low))));
  }
  TimeUs GapUs(TimeUs at_us) {
    double rate = run_.per_second * 1e-6;
    if (trace_.burst_every_us > 0) {
      const double part =
          static_cast<double>(trace_.burst_us) / static_cast<double>(trace_.burst_every_us);
      rate /= 1 + part * (trace_.burst_factor - 1);
      if (at_us % trace_.burst_every_us >= trace_.burst_every_us - trace_.burst_us) {
        rate *= trace_.burst_factor;
      }
    }
    return std::max<TimeUs>(1, std::llround(-std::log(Uniform()) / rate));
  }

  void AdvanceTo(TimeUs at_us) {
    if (at_us > clock_.NowUs()) clock_.AdvanceUs(at_us - clock_.NowUs());
  }
  TimeUs NextUs() const {
    TimeUs next_us = collector_.NextDueUs();
    if (!running_.empty()) {
      next_us = std::min({next_us, running_.top().due_us, board_->NextWatchUs()});
    }
    return next_us;
  }

  // What the loop does after each event.
  void Turn() {
    const TimeUs now_us = clock_.NowUs();
    while (!running_.empty() && running_.top().due_us <= now_us) {
      Running ended = running_.top();
      running_.pop();
      End(std::move(ended));
    }
    for (auto& lost : board_->Watch()) lost();
    for (const LaunchCollector::Launch& due : collector_.Take(now_us)) {
      std::vector<Request> requests;
      for (const uint64_t id : due.ids) {
        const auto it = waiting_.find(id);
        requests.push_back(it->second);
        waiting_.erase(it);
      }
      Launch(std::move(requests));
    }
  }

  void Arrive(bool counted) {
    double pick = Uniform();
    size_t of = 0;
    while (of + 1 < trace_.classes.size() && pick >= trace_.classes[of].share) {
      pick -= trace_.classes[of++].share;
    }
    const RoutingTrace::Class& traced = trace_.classes[of];
    Request request{.of = of, .counted = counted, .came_us = clock_.NowUs()};
    request.items = static_cast<double>(Items(traced));
    if (counted) ++outcome_.classes[of].requests;
    Route(request);
  }

  void Route(Request request) {
    const size_t of = request.of;
    const RoutingTrace::Class& traced = trace_.classes[of];
    Hints hints;
    if (run_.sla_hints) hints.latency_sla_us = traced.sla_us;
    const RouteChoice choice = board_->Choose(hints, {.kind = traced.kind,
                                                      .shape = {.items = request.items},
                                                      .failed = request.failed,
                                                      .only = {},
                                                      .held = &collector_});
    if (choice.chosen < 0) return Miss(request);
    request.executor = choice.chosen;
    request.work_class = choice.route.work_class;
    if (run_.on_route) run_.on_route(clock_.NowUs() - begin_us_, choice.route.device);
    if (request.counted) ++outcome_.classes[of].by_device[choice.route.device];
    if (!Collect(request)) Launch({request});
  }

  // As Engine::Loop::Collect does.
  bool Collect(const Request& request) {
    const BatchingOptions& batching = run_.options.batching;
    const ClassBatchingOptions* options = batching.Of(request.work_class);
    const Platform platform = devices_[static_cast<size_t>(request.executor)]->Describe().platform;
    if (options == nullptr || options->items_max == 1) return false;
    if (!batching.cpu && platform == Platform::kCpu) return false;
    if (static_cast<int64_t>(request.items) >= options->items_max) return false;
    const uint64_t id = next_id_++;
    waiting_.emplace(id, request);
    const auto expected = board_->Expected({.executor = request.executor,
                                            .work_class = request.work_class,
                                            .shape = {.items = request.items}});
    LaunchPiece piece{.id = id, .items = static_cast<int64_t>(request.items)};
    piece.shape.items = request.items;
    if (expected) piece.run_us = std::llround(expected->run_us);
    if (run_.sla_hints) piece.wanted_us = request.came_us + trace_.classes[request.of].sla_us;
    collector_.Add({request.executor, request.work_class, "c"}, piece, clock_.NowUs());
    return true;
  }

  void Launch(std::vector<Request> requests) {
    const Request& first = requests.front();
    ExecutorBoard::Begun begun{.executor = first.executor, .work_class = first.work_class};
    begun.shape = {.items = 0, .batch = static_cast<double>(requests.size())};
    for (const Request& request : requests) begun.shape.items += request.items;
    VirtualDevice& device = *devices_[static_cast<size_t>(first.executor)];
    Running running{.number = next_id_++,
                    .device = &device,
                    .executor = first.executor,
                    .work_class = first.work_class};
    collector_.Begin(first.executor, first.work_class);
    running.ticket = board_->Begin(begun, nullptr);
    const auto job = device.Begin(LaneOf(first.work_class), begun.shape.items);
    if (!job) {
      collector_.End(first.executor, first.work_class);
      board_->End(running.ticket, absl::ResourceExhaustedError("its queue is full"), {});
      for (Request& request : requests) {
        if (request.failed != 0) {
          Miss(request);
          continue;
        }
        request.failed = 1u << request.executor;
        Route(request);
      }
      return;
    }
    if (requests.front().counted) ++outcome_.classes[requests.front().of].launches;
    running.due_us = job->due_us;
    running.times = job->times;
    running.requests = std::move(requests);
    running_.push(std::move(running));
  }

  void End(Running ended) {
    ended.device->End(LaneOf(ended.work_class));
    collector_.End(ended.executor, ended.work_class);
    board_->End(ended.ticket, absl::OkStatus(), ended.times);
    for (const Request& request : ended.requests) {
      const TimeUs took_us = clock_.NowUs() - request.came_us;
      if (run_.on_end) {
        run_.on_end(clock_.NowUs() - begin_us_, request.of, ended.device->Describe().device,
                    took_us);
      }
      if (!request.counted) continue;
      outcome_.classes[request.of].latencies_us.push_back(took_us);
      if (took_us > trace_.classes[request.of].sla_us) Miss(request);
    }
  }

  void Miss(const Request& request) {
    if (request.counted) ++outcome_.classes[request.of].missed;
  }

  // Batches of all sizes of every class on every device, one after another.
  void Calibrate() {
    for (int executor = 0; executor < static_cast<int>(devices_.size()); ++executor) {
      for (size_t of = 0; of < trace_.classes.size(); ++of) {
        for (int i = 0; i < 64; ++i) {
          const auto items = static_cast<double>(Items(trace_.classes[of]));
          const RouteChoice choice = board_->Choose(
              {.fallback = Fallback::kAlternate},
              {.kind = trace_.classes[of].kind, .shape = {.items = items}, .only = executor});
          if (choice.chosen != executor) continue;
          Request request{.of = of,
                          .executor = executor,
                          .work_class = choice.route.work_class,
                          .items = items,
                          .came_us = clock_.NowUs()};
          Launch({request});
          AdvanceTo(running_.top().due_us);
          Running ended = running_.top();
          running_.pop();
          End(std::move(ended));
        }
      }
    }
  }

  const RoutingTrace& trace_;
  const RoutingRun& run_;
  std::mt19937_64 random_;
  FakeClock clock_;
  Metrics metrics_;
  std::vector<std::unique_ptr<VirtualDevice>> devices_;
  std::unique_ptr<ExecutorBoard> board_;
  LaunchCollector collector_;
  std::map<uint64_t, Request> waiting_;
  std::priority_queue<Running, std::vector<Running>, std::greater<>> running_;
  uint64_t next_id_ = 1;
  TimeUs begin_us_ = 0;
  RoutingOutcome outcome_;
};

}  // namespace

absl::StatusOr<RoutingTrace> ParseRoutingTrace(std::string_view text) {
  RoutingTrace trace;
  std::istringstream lines{std::string(text)};
  std::string line;
  double shares = 0;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    if (!(words >> word)) continue;
    bool good = false;
    if (word == "class") {
      RoutingTrace::Class of;
      std::string kind;
      good =
          bool(words >> of.name >> kind >> of.share >> of.items_min >> of.items_max >> of.sla_us) &&
          (kind == "search" || kind == "embed") && of.items_min >= 1 &&
          of.items_max >= of.items_min && of.sla_us > 0;
      of.kind = kind == "embed" ? WorkKind::kEmbed : WorkKind::kSearch;
      shares += of.share;
      trace.classes.push_back(of);
    } else if (word == "burst") {
      double every_ms = 0;
      double length_ms = 0;
      good = bool(words >> every_ms >> length_ms >> trace.burst_factor) && every_ms > length_ms &&
             length_ms > 0 && trace.burst_factor > 0;
      trace.burst_every_us = std::llround(every_ms * 1000);
      trace.burst_us = std::llround(length_ms * 1000);
    } else if (word == "drift") {
      RoutingTrace::Drift drift;
      good = bool(words >> drift.at >> drift.device >> drift.factor) && drift.factor > 0;
      trace.drifts.push_back(drift);
    } else if (word == "seed") {
      good = bool(words >> trace.seed);
    }
    if (!good || (words >> word)) {
      return absl::InvalidArgumentError(StrCat("line ", number, " is none of a trace: ", line));
    }
  }
  if (std::abs(shares - 1) > 1e-9) {
    return absl::InvalidArgumentError(StrCat("the shares add up to ", shares, ", not 1"));
  }
  return trace;
}

double RoutingOutcome::met() const {
  double least = 1;
  for (const Class& of : classes) least = std::min(least, of.met());
  return least;
}

RoutingOutcome SimulateRouting(const SimulationOptions& node, const RoutingTrace& trace,
                               const RoutingRun& run) {
  return Player(node, trace, run).Play();
}

double HighestRate(const SimulationOptions& node, const RoutingTrace& trace, RoutingRun run,
                   double least, double met) {
  const auto good = [&](double per_second) {
    run.per_second = per_second;
    return SimulateRouting(node, trace, run).met() >= met;
  };
  if (!good(least)) return 0;
  double low = least;
  double high = low * 2;
  while (good(high)) {
    low = high;
    high *= 2;
  }
  while (high > low * 1.03) {
    const double middle = std::sqrt(low * high);
    (good(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace baton
