#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/classify/classifier.h"
#include "engine/device_report.h"
#include "engine/engine_options.h"
#include "engine/exec/executor.h"
#include "engine/placement/placement_plan.h"
#include "engine/schedule/cost_model.h"
#include "engine/schedule/device_health.h"
#include "engine/schedule/device_queue.h"
#include "engine/schedule/launch_collector.h"
#include "engine/schedule/power_model.h"
#include "engine/schedule/route_choice.h"

namespace baton {

// What the engine knows of its executors beside what they are: how long work takes on each, how
// well each one is, what it draws; and with that, where work goes. Joins the pure pieces of
// schedule/ for the loop. Thread safe: routes are also explained on clients' threads. Never blocks
// on an executor.
class ExecutorBoard {
 public:
  // The executors outlive it; their order is that of all indices here.
  ExecutorBoard(const EngineOptions& options, std::vector<Executor*> executors, const Clock& clock,
                Metrics& metrics, PlacementPlan placement = {});

  // A piece of work to be routed.
  struct Work {
    WorkKind kind = WorkKind::kSearch;
    WorkShape shape;      // its items decide its class; its load and streak are set here
    uint32_t failed = 0;  // a bit for each executor that has failed at it
    // By executor: why it does not run the work's model; empty: it does. None: all do.
    std::span<const std::string> unable = {};
    std::optional<int> only;   // the one executor it is for
    bool explain = false;      // nothing will come of it
    std::optional<int> after;  // the executor whose output it reads
    // What waits for company, or room; null: not told. Read by this call.
    const LaunchCollector* held = nullptr;
  };
  RouteChoice Choose(const Hints& hints, const Work& work);

  // ---- What the loop brings

  // A batch goes to an executor; the shapes' load is set here. `prompts`: of a batch of decodes,
  // which `shape` is then of alone, what prompts are in it beside them. `open_ended`: it may run
  // for any time. `fenced` is called by Watch() where the device is fenced with it. The ticket is
  // for End().
  struct Begun {
    int executor = 0;
    WorkClass work_class = WorkClass::kPrefill;
    WorkShape shape;
    std::optional<WorkShape> prompts = {};
    bool open_ended = false;
  };
  uint64_t Begin(Begun begun, absl::AnyInvocable<void()> fenced);
  // How long such a batch is expected to run; nullopt: not known for sure.
  std::optional<CostPrediction> Expected(const Begun& begun) const;
  // Whether work like `first` had better wait for company, of `items` in all.
  LaunchOutlook Outlook(const LaunchKey& key, const WorkShape& first, int64_t items) const;
  // The batch came back. nullopt: its device was fenced with it, and what comes so late is nobody's
  // any more; else what it drew.
  std::optional<Energy> End(uint64_t ticket, const absl::Status& status, const BatchTimes& times);
  // Looks at the devices, at most ten times a second. What fenced devices held, to be called by the
  // loop once it is done with this.
  std::vector<absl::AnyInvocable<void()>> Watch();
  // Which devices Watch() has found to complete nothing for a while, since this was last asked:
  // what waits for them had better go elsewhere.
  std::vector<int> TakeSuspected();
  // What of a device its report is to tell beside its health: one line.
  void Note(int executor, std::string_view kind, std::string text);
  // When Watch() wants to be called; kNoDeadline: not soon.
  TimeUs NextWatchUs() const;

  // ---- What is asked of it

  bool Present(int executor) const { return states_[static_cast<size_t>(executor)].present; }
  int present_count() const { return present_count_; }
  // UNAVAILABLE: a device completes nothing though it has work.
  absl::Status Progress() const;
  std::vector<DeviceReport> Devices() const;
  std::vector<LearnedCost> Costs() const;
  PowerMode power_mode() const;
  double NodeWatts() const;
  void set_power_mode(PowerMode mode);
  ClassifierOptions thresholds() const;
  std::string SaveCosts() const;
  absl::Status RestoreCosts(std::string_view saved);

 private:
  struct State {
    Executor* executor = nullptr;
    bool present = false;
    bool cpu = false;
    DeviceHealth health;
    DeviceQueue queue = {};
    std::array<TimeUs, kWorkClassCount> probed_us = {};
    int in_flight = 0;
    // Of the batch that went to it last: its class, what it was of (0: none was), and how many of
    // the like there were up to it.
    WorkClass last_class = WorkClass::kPrefill;
    double last_scale = 0;
    int64_t streak = 0;
    std::array<double, kWorkClassCount> mean_log_streak = {};  // of ln(1 + streak), each class's
    std::array<prometheus::Histogram*, kWorkClassCount> error = {};
    prometheus::Gauge* up = nullptr;
    prometheus::Gauge* capacity = nullptr;
    prometheus::Gauge* watts = nullptr;
    prometheus::Gauge* load = nullptr;
    prometheus::Gauge* queue_depth = nullptr;
    prometheus::Gauge* memory_used = nullptr;
    GraphResidency graphs_told = {};       // as metrics have it
    std::vector<HealthEvent> recent = {};  // the last few
  };
  struct Ticket {
    Begun begun;
    uint32_t generation = 0;
    uint64_t queued = 0;  // its number in the device's queue
    absl::AnyInvocable<void()> fenced;
  };

  ExecutorChoice Describe(int index, const Classification& work, const Hints& hints,
                          const Work& wanted, TimeUs now_us);
  void SetProbes(const Work& work, WorkClass work_class, TimeUs now_us,
                 std::vector<ExecutorChoice>& choices) const;
  static int64_t StreakOf(const State& state, WorkClass work_class, const WorkShape& shape);
  void Observe(const Begun& begun, TimeUs run_us, TimeUs now_us);
  void Look(int index, TimeUs now_us);
  void TellGraphs(int index, const GraphResidency& graphs);
  void Tell(int index);
  static void Remember(State& state, HealthEvent event);
  const char* PlatformName(int index) const;

  const EngineOptions options_;
  const PlacementPlan placement_;
  const Clock& clock_;
  Metrics& metrics_;
  int present_count_ = 0;

  mutable std::mutex mutex_;
  std::vector<State> states_;
  CostModel costs_;
  PowerModel power_;
  ClassifierOptions thresholds_;
  std::map<uint64_t, Ticket> tickets_;
  uint64_t next_ticket_ = 1;
  TimeUs looked_us_ = 0;
  TimeUs tuned_us_ = 0;
};

// Whether an error is the executor's and not the work's: another one may do better.
bool IsExecutorsFault(const absl::Status& status);

}  // namespace baton
