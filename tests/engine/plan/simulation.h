#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <utility>
#include <vector>

#include "engine/plan/planner.h"

namespace baton::plan {

// A workload played event by event, with none of the planner's formulas: requests arrive at random,
// go from stage to stage, fill batches, wait in one queue per kind of device, and share steps.
class Simulation {
 public:
  Simulation(const Workload& workload, const Fleet& fleet, const Placement& placement,
             uint32_t seed)
      : workload_(workload), fleet_(fleet), placement_(placement), random_(seed) {
    for (const Device& device : fleet.devices) {
      stations_.push_back({.device = &device});
      stations_.back().lanes.resize(static_cast<size_t>(device.count * device.lanes));
    }
    latencies_.resize(workload.requests.size());
  }

  // Latencies in ms of each kind of request, of those that arrive after the first tenth.
  std::vector<std::vector<double>> Run(double until_ms) {
    warm_ms_ = until_ms / 10;
    for (size_t i = 0; i < workload_.requests.size(); ++i) Arrive(i, until_ms);
    while (!events_.empty()) {
      auto [at_ms, number, what] = events_.top();
      events_.pop();
      now_ms_ = at_ms;
      (*what)();
    }
    return latencies_;
  }
  // Share of time that a device's lanes ran something.
  double Busy(size_t device) const {
    const Station& station = stations_[device];
    return station.busy_ms / now_ms_ / static_cast<double>(station.lanes.size());
  }

 private:
  struct Visit {
    size_t kind = 0;
    size_t stage = 0;
    double arrived_ms = 0;
    int64_t steps_left = 0;
  };
  using VisitPtr = std::shared_ptr<Visit>;
  struct Launch {
    double run_ms = 0;
    std::vector<VisitPtr> visits;
  };
  struct Lane {
    bool runs = false;
    std::deque<VisitPtr> sequences;
  };
  struct Station {
    const Device* device = nullptr;
    std::vector<Lane> lanes = {};
    std::deque<Launch> queue = {};
    double busy_ms = 0;
  };
  struct Open {  // batch
    std::vector<VisitPtr> visits;
    int64_t number = 0;
  };
  using What = std::shared_ptr<std::function<void()>>;
  using Event = std::tuple<double, int64_t, What>;

  void At(double ms, std::function<void()> what) {
    events_.emplace(ms, next_event_++, std::make_shared<std::function<void()>>(std::move(what)));
  }
  const Stage& StageOf(const Visit& visit) const {
    return workload_.requests[visit.kind].stages[visit.stage];
  }

  void Arrive(size_t kind, double until_ms) {
    const double rate = workload_.requests[kind].per_second / 1000;
    const double at_ms = now_ms_ + std::exponential_distribution<>(rate)(random_);
    if (at_ms > until_ms) return;
    At(at_ms, [this, kind, until_ms] {
      Arrive(kind, until_ms);
      Begin(std::make_shared<Visit>(Visit{.kind = kind, .arrived_ms = now_ms_}));
    });
  }

  void Begin(const VisitPtr& visit) {
    const Stage& stage = StageOf(*visit);
    const auto at = static_cast<size_t>(stage.work_class);
    Station& station = stations_[static_cast<size_t>(placement_[at])];
    if (stage.work_class == WorkClass::kDecode) {
      visit->steps_left = std::llround(stage.items);
      const size_t lane =
          std::uniform_int_distribution<size_t>(0, station.lanes.size() - 1)(random_);
      station.lanes[lane].sequences.push_back(visit);
      return Turn(station);
    }
    const BatchLimits& limits = workload_.batching[at];
    if (limits.requests_max == 1 || limits.wait_ms == 0) {
      return Enqueue(station, stage.work_class, {visit});
    }
    Open& open = open_[at];
    open.visits.push_back(visit);
    if (open.visits.size() == 1) {
      At(now_ms_ + limits.wait_ms, [this, at, &station, number = ++open.number] {
        if (open_[at].number == number) Close(station, at);
      });
    }
    if (std::ssize(open.visits) == limits.requests_max) Close(station, at);
  }

  void Close(Station& station, size_t at) {
    Open& open = open_[at];
    ++open.number;
    if (open.visits.empty()) return;
    Enqueue(station, static_cast<WorkClass>(at), std::exchange(open.visits, {}));
  }

  double Varied(double ms, double scv) {
    if (scv == 0) return ms;
    const double spread = std::log1p(scv);
    return ms * std::lognormal_distribution<>(-spread / 2, std::sqrt(spread))(random_);
  }

  void Enqueue(Station& station, WorkClass work_class, std::vector<VisitPtr> visits) {
    const ServiceCurve& curve = *station.device->CurveOf(work_class);
    double items = 0;
    for (const VisitPtr& visit : visits) items += StageOf(*visit).items;
    station.queue.push_back({Varied(curve.RunMs(items), curve.run_scv), std::move(visits)});
    Turn(station);
  }

  void Turn(Station& station) {
    for (Lane& lane : station.lanes) {
      if (lane.runs) continue;
      if (!station.queue.empty()) {
        Launch launch = std::move(station.queue.front());
        station.queue.pop_front();
        Occupy(station, lane, launch.run_ms, [this, visits = std::move(launch.visits)] {
          for (const VisitPtr& visit : visits) End(visit);
        });
      } else if (!lane.sequences.empty()) {
        Step(station, lane);
      }
    }
  }

  void Step(Station& station, Lane& lane) {
    const ServiceCurve& curve = *station.device->CurveOf(WorkClass::kDecode);
    const auto taking_part =
        std::min(lane.sequences.size(), static_cast<size_t>(curve.items_max()));
    const double ms = Varied(curve.RunMs(static_cast<double>(taking_part)), curve.run_scv);
    Occupy(station, lane, ms, [this, &lane, taking_part] {
      std::vector<VisitPtr> ended;
      std::deque<VisitPtr> staying;
      for (size_t i = 0; i < lane.sequences.size(); ++i) {
        const VisitPtr& visit = lane.sequences[i];
        if (i < taking_part && --visit->steps_left == 0) {
          ended.push_back(visit);
        } else {
          staying.push_back(visit);
        }
      }
      lane.sequences = std::move(staying);
      for (const VisitPtr& visit : ended) End(visit);
    });
  }

  void Occupy(Station& station, Lane& lane, double ms, std::function<void()> then) {
    lane.runs = true;
    station.busy_ms += ms;
    At(now_ms_ + ms, [this, &station, &lane, then = std::move(then)] {
      lane.runs = false;
      then();
      Turn(station);
    });
  }

  void End(const VisitPtr& visit) {
    const Request& request = workload_.requests[visit->kind];
    const auto device_of = [&](size_t stage) {
      return placement_[static_cast<size_t>(request.stages[stage].work_class)];
    };
    if (++visit->stage == request.stages.size()) {
      if (visit->arrived_ms >= warm_ms_) {
        latencies_[visit->kind].push_back(now_ms_ - visit->arrived_ms);
      }
      return;
    }
    const int from = device_of(visit->stage - 1);
    const int to = device_of(visit->stage);
    double move_ms = 0;
    if (from != to) {
      double slowest = INFINITY;
      for (const int device : {from, to}) {
        const double link = fleet_.devices[static_cast<size_t>(device)].link_gb_per_s;
        if (link > 0) slowest = std::min(slowest, link);
      }
      move_ms = request.stages[visit->stage].input_mb / slowest;
    }
    At(now_ms_ + move_ms, [this, visit] { Begin(visit); });
  }

  const Workload& workload_;
  const Fleet& fleet_;
  const Placement placement_;
  std::mt19937 random_;
  std::vector<Station> stations_;
  std::array<Open, kWorkClassCount> open_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  int64_t next_event_ = 0;
  double now_ms_ = 0;
  double warm_ms_ = 0;
  std::vector<std::vector<double>> latencies_;
};

}  // namespace baton::plan
