#include "engine/plan/planner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "engine/base/strings.h"

namespace baton::plan {
namespace {

// What comes of one class, over all requests.
struct Flow {
  double per_ms = 0;
  double mean_items = 0;
  double items_square = 0;                       // mean
  std::vector<std::pair<double, double>> kinds;  // items, per ms
};

using Flows = std::array<Flow, kWorkClassCount>;

Flows FlowsOf(const Workload& workload, double load) {
  Flows flows;
  for (const Request& request : workload.requests) {
    for (const Stage& stage : request.stages) {
      Flow& flow = flows[static_cast<size_t>(stage.work_class)];
      const double per_ms = load * request.per_second / 1000;
      flow.per_ms += per_ms;
      flow.mean_items += per_ms * stage.items;
      flow.kinds.emplace_back(stage.items, per_ms);
    }
  }
  for (Flow& flow : flows) {
    if (flow.per_ms > 0) flow.mean_items /= flow.per_ms;
  }
  return flows;
}

// Launches of one class on its device.
struct Launches {
  double per_ms = 0;
  double run_ms = 0;         // mean of a launch
  double run_square_ms = 0;  // mean of its square
  double interval_scv = 1;
  double batch = 1;
  double form_ms = 0;
  double visit_run_ms = 0;         // mean of the launches that requests are in
  double visit_run_square_ms = 0;  // and of its square
  bool batched = false;
};

// The batch limits on a device: what its curve has room for.
BatchLimits LimitsOn(const ServiceCurve& curve, const BatchLimits& limits, double items) {
  const auto room = static_cast<int64_t>(std::max(1.0, std::floor(curve.items_max() / items)));
  return {.requests_max = std::min(limits.requests_max, room), .wait_ms = limits.wait_ms};
}

Launches LaunchesOf(const ServiceCurve& curve, const BatchLimits& wanted, const Flow& flow) {
  Launches launches;
  const BatchLimits limits = LimitsOn(curve, wanted, flow.mean_items);
  const double spread = 1 + curve.run_scv;
  if (limits.requests_max == 1 || limits.wait_ms == 0) {
    launches.per_ms = flow.per_ms;
    for (const auto& [items, per_ms] : flow.kinds) {
      const double ms = curve.RunMs(items);
      launches.run_ms += ms * per_ms / flow.per_ms;
      launches.run_square_ms += spread * ms * ms * per_ms / flow.per_ms;
    }
    launches.visit_run_ms = launches.run_ms;
    launches.visit_run_square_ms = launches.run_square_ms;
    return launches;
  }
  const BatchForming forming = FormBatches(flow.per_ms, limits);
  launches.batched = true;
  launches.per_ms = flow.per_ms / forming.mean_size;
  launches.batch = forming.mean_size;
  launches.form_ms = forming.mean_wait_ms;
  launches.interval_scv = forming.interval_scv;
  for (size_t n = 1; n < forming.size_share.size(); ++n) {
    const double share = forming.size_share[n];
    if (share == 0) continue;
    const auto size = static_cast<double>(n);
    const double ms = curve.RunMs(size * flow.mean_items);
    launches.run_ms += share * ms;
    launches.run_square_ms += share * spread * ms * ms;
    launches.visit_run_ms += share * size * ms / forming.mean_size;
    launches.visit_run_square_ms += share * size * spread * ms * ms / forming.mean_size;
  }
  return launches;
}

// What a visit of a class takes, to add up over a request's stages.
struct ClassTimes {
  const ServiceCurve* curve = nullptr;
  double other_ms = 0;  // until its batch is full, and its first step may begin
  double other_variance = 0;
  double run_ms = 0;  // of a batched launch; of decode, of one token
  double run_variance = 0;
  bool own_run = true;  // the run is of the stage's own items
};

// Launches on one kind of device, all classes together.
struct LaunchQueue {
  double wait_ms = 0;  // of a launch that comes at random, for others
  double wait_variance = 0;
  double per_ms = 0;     // to each lane
  double square_ms = 0;  // of a launch's time, mean
  double utilisation = 0;
  bool one_lane = false;

  double left() const { return std::max(1e-9, 1 - utilisation); }
};

class Evaluation {
 public:
  Evaluation(const Workload& workload, const Fleet& fleet, const Placement& placement, double load)
      : workload_(workload), fleet_(fleet), flows_(FlowsOf(workload, load)), load_(load) {
    plan_.placement = placement;
    plan_.devices.resize(fleet.devices.size());
    queues_.resize(fleet.devices.size());
  }

  Plan Run() {
    for (size_t i = 0; i < fleet_.devices.size(); ++i) RunDevice(static_cast<int>(i));
    std::sort(plan_.classes.begin(), plan_.classes.end(),
              [](const ClassPlan& a, const ClassPlan& b) { return a.work_class < b.work_class; });
    for (const Request& request : workload_.requests) RunRequest(request);
    plan_.met = plan_.stable;
    for (const RequestPlan& request : plan_.requests) plan_.met = plan_.met && request.met;
    RunCosts();
    return std::move(plan_);
  }

 private:
  const Device& DeviceAt(int index) const { return fleet_.devices[static_cast<size_t>(index)]; }

  // Every class on one kind of device: launches first, steps in what time is left.
  void RunDevice(int index) {
    const Device& device = DeviceAt(index);
    DevicePlan& planned = plan_.devices[static_cast<size_t>(index)];
    std::vector<std::pair<WorkClass, Launches>> on_it;
    std::vector<ArrivalStream> streams;
    QueueLoad queue{.lanes = device.count * device.lanes};
    double square_ms = 0;
    const ServiceCurve* decode = nullptr;
    for (int i = 0; i < kWorkClassCount; ++i) {
      const auto at = static_cast<size_t>(i);
      if (flows_[at].per_ms == 0 || plan_.placement[at] != index) continue;
      planned.used = true;
      const auto work_class = static_cast<WorkClass>(i);
      const ServiceCurve& curve = *device.CurveOf(work_class);
      if (work_class == WorkClass::kDecode) {
        decode = &curve;
        continue;
      }
      const Launches launches = LaunchesOf(curve, workload_.batching[at], flows_[at]);
      streams.push_back({launches.per_ms, launches.interval_scv});
      queue.per_ms += launches.per_ms;
      queue.run_ms += launches.per_ms * launches.run_ms;
      square_ms += launches.per_ms * launches.run_square_ms;
      on_it.emplace_back(work_class, launches);
    }
    if (queue.per_ms > 0) {
      queue.run_ms /= queue.per_ms;
      queue.run_scv = std::max(0.0, square_ms / queue.per_ms / (queue.run_ms * queue.run_ms) - 1);
      queue.interval_scv = MergedScv(streams, queue.utilisation());
    }
    const auto lanes = static_cast<double>(queue.lanes);
    const double launching = queue.utilisation();
    StepQueue steps;
    if (decode != nullptr) {
      steps = StepsBeside(*decode, lanes, launching);
    }
    // What runs when a launch comes, and goes on before it: a step on each lane.
    double step_rest_ms = 0;
    if (launching < 1 && steps.busy > 0) {
      const double stepping = std::min(1.0, steps.busy) * (1 - launching);
      step_rest_ms = std::pow(stepping, lanes) * steps.mean_step_ms / (2 * lanes) / (1 - launching);
    }
    const double wait_ms = QueueWaitMs(queue);
    LaunchQueue& launch_queue = queues_[static_cast<size_t>(index)];
    // Of those that wait the times are near exponential (heavy traffic).
    launch_queue = {
        .wait_ms = wait_ms,
        .wait_variance = (2 / std::max(1e-9, WaitChance(queue)) - 1) * wait_ms * wait_ms,
        .per_ms = queue.per_ms / lanes,
        .square_ms = queue.per_ms > 0 ? square_ms / queue.per_ms : 0,
        .utilisation = launching,
        .one_lane = queue.lanes == 1};
    if (decode != nullptr) AddDecode(index, *decode, lanes, steps);
    for (const auto& [work_class, launches] : on_it) {
      const auto at = static_cast<size_t>(work_class);
      const ServiceCurve& curve = *device.CurveOf(work_class);
      const double size = static_cast<double>(
          LimitsOn(curve, workload_.batching[at], flows_[at].mean_items).requests_max);
      ClassTimes& times = times_[at];
      times.curve = &curve;
      times.other_ms = launches.form_ms + step_rest_ms;
      // Within a batch arrivals are spread evenly.
      times.other_variance =
          (launches.form_ms * launches.form_ms + step_rest_ms * step_rest_ms) / 3;
      times.own_run = !launches.batched;
      times.run_ms = launches.visit_run_ms;
      times.run_variance = std::max(
          0.0, launches.visit_run_square_ms - launches.visit_run_ms * launches.visit_run_ms);
      plan_.classes.push_back(
          {.work_class = work_class,
           .device = index,
           .per_second = 1000 * flows_[at].per_ms,
           .batch = launches.batch,
           .form_ms = launches.form_ms,
           .queue_ms = wait_ms + step_rest_ms,
           .run_ms = launches.visit_run_ms,
           .capacity_per_second =
               1000 * lanes * size /
               (launches.batched ? curve.RunMs(size * flows_[at].mean_items) : launches.run_ms),
           .utilisation = launches.per_ms * launches.run_ms / lanes});
    }
    for (const ClassPlan& on : plan_.classes) {
      if (on.device == index) planned.utilisation += on.utilisation;
    }
    planned.busy = std::min(1.0, launching + (1 - std::min(1.0, launching)) * steps.busy);
    plan_.stable = plan_.stable && planned.utilisation < 1;
  }

  // Steps in the time that launches leave.
  StepQueue StepsBeside(const ServiceCurve& curve, double lanes, double launching) const {
    const Flow& flow = flows_[static_cast<size_t>(WorkClass::kDecode)];
    const double left = std::max(1e-9, 1 - launching);
    double square = 0;
    for (const auto& [items, per_ms] : flow.kinds) square += items * items * per_ms / flow.per_ms;
    StepQueue steps =
        ShareSteps({.sequences_per_ms = flow.per_ms / lanes,
                    .steps = flow.mean_items,
                    .steps_scv = std::max(0.0, square / (flow.mean_items * flow.mean_items) - 1),
                    .sequences_max = static_cast<int64_t>(curve.items_max()),
                    .step_ms = [&](double sequences) { return curve.RunMs(sequences) / left; }});
    steps.mean_step_ms *= left;  // a step itself is no longer for what goes between
    steps.utilisation *= left;
    return steps;
  }

  void AddDecode(int index, const ServiceCurve& curve, double lanes, const StepQueue& steps) {
    const auto at = static_cast<size_t>(WorkClass::kDecode);
    const Flow& flow = flows_[at];
    const LaunchQueue& queue = queues_[static_cast<size_t>(index)];
    ClassTimes& times = times_[at];
    times.curve = &curve;
    times.other_ms = steps.busy * steps.mean_step_ms / queue.left() / 2;
    times.other_variance = times.other_ms * times.other_ms / 3;
    times.run_ms = (steps.sojourn_ms - times.other_ms) / flow.mean_items;
    times.run_variance = times.run_ms * times.run_ms * steps.step_scv;
    plan_.classes.push_back({.work_class = WorkClass::kDecode,
                             .device = index,
                             .per_second = 1000 * flow.per_ms,
                             .batch = steps.mean_step_batch,
                             .queue_ms = times.other_ms + queue.wait_ms / queue.left(),
                             .run_ms = steps.sojourn_ms - times.other_ms,
                             .capacity_per_second = 1000 * lanes * curve.items_max() /
                                                    (curve.points.back().run_ms * flow.mean_items),
                             .utilisation = steps.utilisation});
  }

  void RunRequest(const Request& request) {
    RequestPlan& planned = plan_.requests.emplace_back();
    double variance = 0;
    int before = -1;       // device of the stage before, and how long it was there for a launch
    double before_ms = 0;  // 0: it was for steps
    double before_variance = 0;
    for (const Stage& stage : request.stages) {
      const auto at = static_cast<size_t>(stage.work_class);
      const int index = plan_.placement[at];
      const ClassTimes& times = times_[at];
      const LaunchQueue& queue = queues_[static_cast<size_t>(index)];
      if (before >= 0 && before != index && stage.input_mb > 0) {
        planned.latency_ms += MoveMs(DeviceAt(before), DeviceAt(index), stage.input_mb);
      }
      double wait_ms = queue.wait_ms;
      double wait_variance = queue.wait_variance;
      if (before == index && before_ms > 0 && queue.one_lane) {
        // What came while its last launch waited and ran is before it now.
        wait_ms = queue.utilisation * before_ms;
        wait_variance = queue.per_ms * before_ms * queue.square_ms +
                        queue.utilisation * queue.utilisation * before_variance;
      }
      double run_ms = times.run_ms;
      double run_variance = times.run_variance;
      if (stage.work_class == WorkClass::kDecode) {
        run_ms *= stage.items;
        run_variance *= stage.items * stage.items;
        // Launches go before its steps, each with those that come while it runs: a busy period.
        const double left = queue.left();
        wait_ms /= left;
        wait_variance /= left * left;
        run_variance += queue.per_ms * run_ms * left * queue.square_ms / (left * left * left);
      } else if (times.own_run) {
        run_ms = times.curve->RunMs(stage.items);
        run_variance = times.curve->run_scv * run_ms * run_ms;
      }
      planned.latency_ms += times.other_ms + wait_ms + run_ms;
      variance += times.other_variance + wait_variance + run_variance;
      before = index;
      before_ms = stage.work_class == WorkClass::kDecode ? 0 : wait_ms + run_ms;
      before_variance = wait_variance + run_variance;
    }
    planned.quantile_ms = LognormalQuantile(planned.latency_ms, variance, request.sla_quantile);
    planned.met = request.sla_ms == 0 || planned.quantile_ms <= request.sla_ms;
  }

  // Over the slower of two links, at once: 1 MB at 1 GB/s is 1 ms.
  static double MoveMs(const Device& from, const Device& to, double megabytes) {
    double slowest = std::numeric_limits<double>::infinity();
    for (const Device* device : {&from, &to}) {
      if (device->link_gb_per_s > 0) slowest = std::min(slowest, device->link_gb_per_s);
    }
    return megabytes / slowest;
  }

  void RunCosts() {
    const double price_per_watt_hour = fleet_.price_per_kwh / 1000;
    plan_.watts = fleet_.host_w;
    plan_.cost_per_hour = fleet_.host_cost_per_hour + fleet_.host_w * price_per_watt_hour;
    for (size_t i = 0; i < plan_.devices.size(); ++i) {
      DevicePlan& planned = plan_.devices[i];
      if (!planned.used) continue;
      const Device& device = fleet_.devices[i];
      const auto count = static_cast<double>(device.count);
      planned.watts = count * (device.idle_w + planned.busy * (device.max_w - device.idle_w));
      planned.cost_per_hour = count * device.cost_per_hour + planned.watts * price_per_watt_hour;
      plan_.watts += planned.watts;
      plan_.cost_per_hour += planned.cost_per_hour;
      double utilisation = 0;
      for (const ClassPlan& on_it : plan_.classes) {
        if (on_it.device == static_cast<int>(i)) utilisation += on_it.utilisation;
      }
      for (ClassPlan& on_it : plan_.classes) {
        if (on_it.device != static_cast<int>(i)) continue;
        const double share = on_it.utilisation / utilisation;
        on_it.watts = share * planned.watts;
        on_it.cost_per_million = share * planned.cost_per_hour / (3600 * on_it.per_second) * 1e6;
      }
    }
    double per_second = 0;
    for (const Request& request : workload_.requests) per_second += load_ * request.per_second;
    plan_.cost_per_million = plan_.cost_per_hour / (3600 * per_second) * 1e6;
  }

  const Workload& workload_;
  const Fleet& fleet_;
  const Flows flows_;
  const double load_;
  std::array<ClassTimes, kWorkClassCount> times_;
  std::vector<LaunchQueue> queues_;  // as the fleet's devices
  Plan plan_;
};

double WorstUtilisation(const Plan& plan) {
  double worst = 0;
  for (const DevicePlan& device : plan.devices) worst = std::max(worst, device.utilisation);
  return worst;
}

double SumLatencyMs(const Plan& plan) {
  double sum = 0;
  for (const RequestPlan& request : plan.requests) sum += request.latency_ms;
  return sum;
}

bool Better(const Workload& workload, const Plan& a, const Plan& b) {
  if (a.met != b.met) return a.met;
  if (a.stable != b.stable) return a.stable;
  if (!a.stable) return WorstUtilisation(a) < WorstUtilisation(b);
  if (!a.met) return WorstSlaRatio(workload, a) < WorstSlaRatio(workload, b);
  if (a.cost_per_hour != b.cost_per_hour) return a.cost_per_hour < b.cost_per_hour;
  return SumLatencyMs(a) < SumLatencyMs(b);
}

}  // namespace

double WorstSlaRatio(const Workload& workload, const Plan& plan) {
  double worst = 0;
  for (size_t i = 0; i < plan.requests.size(); ++i) {
    const double sla_ms = workload.requests[i].sla_ms;
    if (sla_ms > 0) worst = std::max(worst, plan.requests[i].quantile_ms / sla_ms);
  }
  return worst;
}

Plan Evaluate(const Workload& workload, const Fleet& fleet, const Placement& placement,
              double load) {
  return Evaluation(workload, fleet, placement, load).Run();
}

Binding FindBinding(const Workload& workload, const Fleet& fleet, const Placement& placement) {
  const auto met = [&](double load) { return Evaluate(workload, fleet, placement, load).met; };
  Binding binding;
  if (met(Binding::kLoadMax)) {
    binding.load = Binding::kLoadMax;
    return binding;
  }
  // Batches fill faster under load, so an SLA may hold at some load and not below it. Where the
  // workload itself keeps it, look above; else for the largest load below that does.
  double low = 1;
  double high = Binding::kLoadMax;
  if (!met(1)) {
    high = 1;
    low = 0;
    for (double load = 0.97; load > 1e-6; load *= 0.97) {
      if (met(load)) {
        low = load;
        break;
      }
      high = load;
    }
  } else {
    for (double load = 1.03; load < Binding::kLoadMax; load *= 1.03) {
      if (!met(load)) {
        high = load;
        break;
      }
      low = load;
    }
  }
  if (low > 0) {
    for (int i = 0; i < 30; ++i) {
      const double middle = (low + high) / 2;
      (met(middle) ? low : high) = middle;
    }
  }
  binding.load = low;
  const Plan beyond = Evaluate(workload, fleet, placement, high);
  for (size_t i = 0; i < beyond.devices.size(); ++i) {
    if (beyond.devices[i].utilisation < 1) continue;
    binding.what = StrCat("device ", fleet.devices[i].name, " is full");
    return binding;
  }
  for (size_t i = 0; i < beyond.requests.size(); ++i) {
    if (beyond.requests[i].met) continue;
    binding.what = StrCat("the SLA of ", workload.requests[i].name);
    return binding;
  }
  return binding;
}

absl::StatusOr<Plan> BestPlan(const Workload& workload, const Fleet& fleet,
                              const std::vector<bool>& allowed, const std::vector<bool>& wanted) {
  // By class, in order: the devices that could take it.
  std::vector<std::pair<size_t, std::vector<int>>> choices;
  const Flows flows = FlowsOf(workload, 1);
  int64_t count = 1;
  for (size_t at = 0; at < kWorkClassCount; ++at) {
    const std::string_view class_name = Name(static_cast<WorkClass>(at));
    const std::string& fixed = workload.placement[at];
    const auto named = std::find_if(fleet.devices.begin(), fleet.devices.end(),
                                    [&](const Device& device) { return device.name == fixed; });
    if (!fixed.empty() && named == fleet.devices.end()) {
      return absl::InvalidArgumentError(
          StrCat("placement.", class_name, ": there is no device ", fixed));
    }
    if (flows[at].per_ms == 0) continue;
    auto& [work_class, devices] = choices.emplace_back(at, std::vector<int>());
    for (size_t i = 0; i < fleet.devices.size(); ++i) {
      if (!allowed[i] || fleet.devices[i].CurveOf(static_cast<WorkClass>(at)) == nullptr) continue;
      if (fixed.empty() || fleet.devices[i].name == fixed) devices.push_back(static_cast<int>(i));
    }
    if (devices.empty()) {
      return absl::InvalidArgumentError(
          fixed.empty() ? StrCat("no device has a curve of ", class_name)
                        : StrCat("placement.", class_name, ": device ", fixed, " cannot take it"));
    }
    count *= std::ssize(devices);
    if (count > kPlacementsMax) {
      return absl::InvalidArgumentError(
          StrCat("there are more than ", kPlacementsMax,
                 " placements to compare; say with placement where some classes run"));
    }
  }
  std::optional<Plan> best;
  for (int64_t n = 0; n < count; ++n) {
    Placement placement;
    placement.fill(-1);
    int64_t rest = n;
    bool any_wanted = wanted.empty();
    for (const auto& [at, devices] : choices) {
      placement[at] = devices[static_cast<size_t>(rest % std::ssize(devices))];
      rest /= std::ssize(devices);
      any_wanted = any_wanted || wanted[static_cast<size_t>(placement[at])];
    }
    if (!any_wanted) continue;
    Plan plan = Evaluate(workload, fleet, placement);
    if (!best || Better(workload, plan, *best)) best = std::move(plan);
  }
  if (!best) return absl::InvalidArgumentError("no class could run on one of the wanted devices");
  return *std::move(best);
}

}  // namespace baton::plan
