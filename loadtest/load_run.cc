#include "loadtest/load_run.h"

#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <queue>
#include <random>
#include <set>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "loadtest/arrivals.h"

namespace baton::load {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;
using std::chrono::nanoseconds;

constexpr int64_t kNsPerS = 1'000'000'000;
// Slices of waiting, so that an interrupt does not wait for the next request of a slow run.
constexpr int64_t kSliceNs = 100 * kNsPerMs;
// A client later than this cannot keep its own schedule; that is not the kernel's wake-up.
constexpr int64_t kLateNs = kNsPerS;
// One alone may be a refusal.
constexpr int64_t kAwayRequestsMin = 3;
constexpr size_t kRecallQueriesMax = 1'000;

int64_t CpuNs(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return time.tv_sec * kNsPerS + time.tv_nsec;
}

// Something the sender does at a time.
struct Action {
  enum Kind { kArrival, kProbe, kUser, kCancel };
  int64_t at_ns = 0;
  Kind kind = kArrival;
  uint64_t id = 0;  // kCancel: of the request

  bool operator>(const Action& other) const { return at_ns > other.at_ns; }
};

class Runner {
 public:
  Runner(const Scenario& scenario, const PreparedLoad& load, Transport& transport,
         const std::atomic<bool>& stop, const ShowProgress& show, Results& results)
      : scenario_(scenario),
        load_(load),
        transport_(transport),
        stop_(stop),
        show_(show),
        results_(results),
        start_(std::chrono::steady_clock::now()),
        warmup_ns_(Ns(scenario.warmup_s)),
        end_ns_(warmup_ns_ + (load.trace().empty() ? Ns(scenario.duration_s)
                                                   : TraceNs(load.trace().size() - 1) + 1)),
        arrivals_(scenario.arrivals, scenario.warmup_s + scenario.duration_s, scenario.seed),
        random_(scenario.seed + 1) {
    for (const auto& mix : load.mixes()) {
      weight_sum_ += mix.options.weight;
      weights_.push_back(weight_sum_);
    }
  }

  absl::Status Run();

 private:
  static int64_t Ns(double seconds) { return static_cast<int64_t>(seconds * 1e9); }
  int64_t TraceNs(size_t index) const {
    return Ns(load_.trace()[index].at_ms / 1e3 / scenario_.arrivals.speed);
  }
  int64_t NowNs() const { return nanoseconds(std::chrono::steady_clock::now() - start_).count(); }
  double Uniform() { return static_cast<double>(random_() >> 11) * 0x1.0p-53; }

  void Schedule(const Action& action);  // any thread
  void ScheduleArrival();
  void Perform(const Action& action);
  // Sends one request of load[mix], or -1: the probe. False where it was dropped.
  bool Send(int32_t mix, int64_t intended_ns);
  void OnDone(RequestRecord&& record);  // the transport's thread
  void SendLoop();
  void Tell(int64_t now_ns);
  void MeasureClient(int64_t now_ns, bool end);
  void MeasureRecall();
  absl::Status Verdict() const;

  const Scenario& scenario_;
  const PreparedLoad& load_;
  Transport& transport_;
  const std::atomic<bool>& stop_;
  const ShowProgress& show_;
  Results& results_;  // guarded by mutex_
  const SteadyTime start_;
  const int64_t warmup_ns_;
  const int64_t end_ns_;
  // The sender's own.
  Arrivals arrivals_;
  std::mt19937_64 random_;
  std::vector<double> weights_;  // running sums
  double weight_sum_ = 0;
  uint64_t next_id_ = 1;
  uint64_t upserts_ = 0;
  size_t trace_next_ = 0;
  int64_t probes_ = 0;
  int64_t told_ns_ = 0;
  int64_t told_ok_ = 0;
  int64_t measured_ns_ = -1;  // start of what ClientLoad is of
  int64_t process_cpu_ns_ = 0;
  int64_t sender_cpu_ns_ = 0;
  int64_t transport_cpu_ns_ = 0;
  int64_t late_ = 0;  // requests that the client was too late for

  std::mutex mutex_;
  std::condition_variable wake_;
  // All below guarded by mutex_.
  std::priority_queue<Action, std::vector<Action>, std::greater<>> actions_;
  int64_t in_flight_ = 0;
  Progress progress_;
  int64_t away_since_ns_ = -1;  // since when every request ended UNAVAILABLE
  int64_t away_count_ = 0;      // how many did
  struct Found {
    int32_t mix;
    size_t input;
    std::vector<uint64_t> ids;
  };
  std::vector<Found> found_;
  std::optional<RequestRecord> exact_answer_;  // while recall is measured
  bool measuring_recall_ = false;
};

void Runner::Schedule(const Action& action) {
  std::lock_guard lock(mutex_);
  actions_.push(action);
  wake_.notify_one();
}

void Runner::ScheduleArrival() {
  if (scenario_.arrivals.process == Process::kTrace) {
    if (trace_next_ < load_.trace().size()) {
      Schedule({.at_ns = warmup_ns_ + TraceNs(trace_next_)});
    }
    return;
  }
  const int64_t at_ns = arrivals_.NextNs();
  if (at_ns < end_ns_) Schedule({.at_ns = at_ns});
}

bool Runner::Send(int32_t mix, int64_t intended_ns) {
  const PreparedLoad::Mix& prepared =
      mix < 0 ? *load_.probe() : load_.mixes()[static_cast<size_t>(mix)];
  const RequestMix& options = prepared.options;
  const uint64_t pick = random_();
  const bool cancels = options.cancel_share > 0 && Uniform() < options.cancel_share;
  const bool recalls = options.exact_share > 0 && Uniform() < options.exact_share;
  const int64_t deadline_ns = intended_ns + options.deadline_ms * kNsPerMs;
  const int64_t now_ns = NowNs();
  const bool measured = intended_ns >= warmup_ns_;
  if (now_ns - intended_ns >= kLateNs) ++late_;
  if (now_ns >= deadline_ns) {
    // It could only fail; this also bounds how long an outrun client goes on.
    std::lock_guard lock(mutex_);
    if (measured) results_.AddDropped(mix, true);
    return false;
  }
  Call call;
  call.mix = &options;
  call.deadline_ns = deadline_ns;
  call.cancellable = cancels;
  call.keep_found = recalls && measured;
  call.record.id = next_id_++;
  call.record.mix = mix;
  call.record.input = scenario_.arrivals.process == Process::kTrace && mix >= 0
                          ? trace_next_
                          : pick % prepared.workload.size();
  call.record.intended_ns = intended_ns;
  {
    std::lock_guard lock(mutex_);
    if (in_flight_ >= scenario_.in_flight_max && mix >= 0) {
      if (measured) results_.AddDropped(mix, false);
      return false;
    }
    ++in_flight_;
    progress_.sent += mix >= 0;
  }
  if (options.kind == Kind::kUpsert) {
    // Checked when the load was prepared: it does not fail.
    call.body = *transport_.Encode(options, prepared.workload.at(call.record.input), upserts_++,
                                   /*exact=*/false);
  } else {
    call.body = prepared.bodies[call.record.input];
  }
  if (cancels) {
    const LengthRange& after = options.cancel_after_ms;
    const double ms = after.min + Uniform() * (after.max - after.min);
    Schedule({.at_ns = now_ns + static_cast<int64_t>(ms * kNsPerMs),
              .kind = Action::kCancel,
              .id = call.record.id});
  }
  transport_.Start(std::move(call));
  return true;
}

void Runner::Perform(const Action& action) {
  switch (action.kind) {
    case Action::kCancel:
      transport_.Cancel(action.id);
      return;
    case Action::kProbe:
      Send(-1, action.at_ns);
      ++probes_;
      Schedule({.at_ns = Ns(static_cast<double>(probes_) / scenario_.probe_rate_per_s),
                .kind = Action::kProbe});
      return;
    case Action::kArrival:
    case Action::kUser:
      break;
  }
  const double at = Uniform() * weight_sum_;
  const auto mix = std::upper_bound(weights_.begin(), weights_.end() - 1, at) - weights_.begin();
  const bool sent = Send(static_cast<int32_t>(mix), action.at_ns);
  if (action.kind == Action::kArrival) {
    trace_next_ += scenario_.arrivals.process == Process::kTrace;
    ScheduleArrival();
  } else if (!sent) {
    Schedule({.at_ns = NowNs() + kNsPerMs, .kind = Action::kUser});
  }
}

void Runner::OnDone(RequestRecord&& record) {
  std::lock_guard lock(mutex_);
  if (measuring_recall_) {
    exact_answer_ = std::move(record);
    wake_.notify_one();
    return;
  }
  if (scenario_.arrivals.process == Process::kClosed && record.mix >= 0) {
    // A refused user does not come back at once: that would be a busy loop.
    const double pause_ms = std::max(
        scenario_.arrivals.think_ms,
        record.code == "OK"
            ? 0.0
            : static_cast<double>(std::clamp(record.retry_after_ms, int64_t{1}, int64_t{1000})));
    actions_.push({.at_ns = record.done_ns + static_cast<int64_t>(pause_ms * kNsPerMs),
                   .kind = Action::kUser});
  }
  const bool unavailable = record.code == "UNAVAILABLE" && !record.given_up;
  away_count_ = unavailable ? away_count_ + 1 : 0;
  if (!unavailable) {
    away_since_ns_ = -1;
  } else if (away_since_ns_ < 0) {
    away_since_ns_ = record.done_ns;
  }
  if (record.mix >= 0 && !record.given_up) {
    ++(record.code == "OK" ? progress_.ok : progress_.failed);
  }
  if (record.intended_ns >= warmup_ns_) {
    if (!record.found.empty() && found_.size() < kRecallQueriesMax && record.code == "OK") {
      found_.push_back({record.mix, record.input, std::move(record.found)});
    }
    for (int64_t* at : {&record.intended_ns, &record.sent_ns, &record.done_ns}) *at -= warmup_ns_;
    for (int64_t* at : {&record.retrieved_ns, &record.first_output_ns, &record.last_output_ns}) {
      if (*at >= 0) *at -= warmup_ns_;
    }
    results_.Add(record);
  }
  // Notified under the lock: the waiter may destroy this as soon as it is released.
  --in_flight_;
  wake_.notify_one();
}

void Runner::MeasureClient(int64_t now_ns, bool end) {
  const int64_t process = CpuNs(CLOCK_PROCESS_CPUTIME_ID);
  const int64_t sender = CpuNs(CLOCK_THREAD_CPUTIME_ID);
  const int64_t receiver = transport_.BusiestThreadCpuNs();
  if (end && measured_ns_ >= 0 && now_ns > measured_ns_) {
    const auto wall = static_cast<double>(now_ns - measured_ns_);
    ClientLoad client;
    client.share_of_core = static_cast<double>(process - process_cpu_ns_) / wall;
    client.busiest_thread =
        static_cast<double>(std::max(sender - sender_cpu_ns_, receiver - transport_cpu_ns_)) / wall;
    std::lock_guard lock(mutex_);
    results_.client = client;
  }
  if (!end && measured_ns_ < 0) {
    measured_ns_ = now_ns;
    process_cpu_ns_ = process;
    sender_cpu_ns_ = sender;
    transport_cpu_ns_ = receiver;
  }
}

void Runner::Tell(int64_t now_ns) {
  if (!show_ || now_ns - told_ns_ < kNsPerS) return;
  Progress progress;
  {
    std::lock_guard lock(mutex_);
    progress = progress_;
    progress.in_flight = in_flight_;
  }
  progress.at_s = static_cast<double>(now_ns) / 1e9;
  progress.of_s = static_cast<double>(end_ns_) / 1e9;
  progress.ok_per_s =
      static_cast<double>(progress.ok - told_ok_) / (static_cast<double>(now_ns - told_ns_) / 1e9);
  told_ns_ = now_ns;
  told_ok_ = progress.ok;
  show_(progress);
}

void Runner::SendLoop() {
  bool draining = false;
  while (true) {
    const int64_t now_ns = NowNs();
    Tell(now_ns);
    if (now_ns >= warmup_ns_ && measured_ns_ < 0) MeasureClient(now_ns, /*end=*/false);
    std::unique_lock lock(mutex_);
    const bool away =
        away_since_ns_ >= 0 && now_ns - away_since_ns_ >= scenario_.away_ms * kNsPerMs;
    // What an outrun client has not sent by then is dropped, not sent late for ever.
    const bool over = now_ns >= end_ns_ + kLateNs ||
                      (now_ns >= end_ns_ && (actions_.empty() || actions_.top().at_ns >= end_ns_));
    const bool trace_over =
        scenario_.arrivals.process == Process::kTrace && trace_next_ >= load_.trace().size();
    if (!draining && (stop_ || away || over || trace_over)) {
      draining = true;
      lock.unlock();
      MeasureClient(now_ns, /*end=*/true);
      lock.lock();
      results_.ExtendTo(std::min(now_ns, end_ns_) - warmup_ns_);
    }
    if (draining && in_flight_ == 0) return;
    int64_t until_ns = now_ns + kSliceNs;
    if (!actions_.empty()) {
      const Action action = actions_.top();
      if (action.at_ns <= now_ns) {
        actions_.pop();
        lock.unlock();
        if (!draining || action.kind == Action::kCancel) Perform(action);
        continue;
      }
      until_ns = std::min(until_ns, action.at_ns);
    }
    wake_.wait_until(lock, start_ + nanoseconds(until_ns));
  }
}

// Asks what was sampled again, exactly, one by one, and compares.
void Runner::MeasureRecall() {
  {
    std::lock_guard lock(mutex_);
    measuring_recall_ = true;
  }
  for (const Found& found : found_) {
    const PreparedLoad::Mix& mix = load_.mixes()[static_cast<size_t>(found.mix)];
    auto body = transport_.Encode(mix.options, mix.workload.at(found.input), 0, /*exact=*/true);
    if (!body.ok() || stop_) return;
    Call call;
    call.mix = &mix.options;
    call.body = *std::move(body);
    call.exact = true;
    call.keep_found = true;
    call.record.id = next_id_++;
    call.record.intended_ns = NowNs();
    call.deadline_ns = call.record.intended_ns + mix.options.deadline_ms * kNsPerMs;
    transport_.Start(std::move(call));
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return exact_answer_.has_value(); });
    const RequestRecord answer = *std::exchange(exact_answer_, std::nullopt);
    if (answer.code != "OK") return;  // how many were compared stands in the figures
    const std::set<uint64_t> exact(answer.found.begin(), answer.found.end());
    if (exact.empty()) continue;
    const auto hits = std::count_if(found.ids.begin(), found.ids.end(),
                                    [&](uint64_t id) { return exact.contains(id); });
    results_.AddRecall(static_cast<double>(hits) / static_cast<double>(exact.size()));
  }
}

absl::Status Runner::Verdict() const {
  if (away_count_ >= kAwayRequestsMin) {
    return absl::UnavailableError(
        StrCat(scenario_.target, " stopped answering ", static_cast<double>(away_since_ns_) / 1e9,
               " s after the start; the figures are of what came before"));
  }
  const int64_t meant = results_.all.sent + results_.all.dropped + results_.all.dropped_late;
  if (late_ * 10 > meant && scenario_.arrivals.process != Process::kClosed) {
    return absl::ResourceExhaustedError(
        StrCat("this machine cannot send at that rate: ", late_,
               " requests were a second or more "
               "behind their time; the figures are of the client, not of the server"));
  }
  return absl::OkStatus();
}

absl::Status Runner::Run() {
  // The kernel may wake a sleeper up to 50 us late unless asked not to.
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  transport_.SetSinks(std::make_shared<const Transport::Sinks>(
      Transport::Sinks{.now_ns = [this] { return NowNs(); },
                       .done = [this](RequestRecord&& record) { OnDone(std::move(record)); }}));
  if (scenario_.arrivals.process == Process::kClosed) {
    for (int32_t user = 0; user < scenario_.arrivals.users; ++user) {
      Schedule({.at_ns = 0, .kind = Action::kUser});
    }
  } else {
    ScheduleArrival();
  }
  if (load_.probe() != nullptr) Schedule({.at_ns = 0, .kind = Action::kProbe});
  SendLoop();
  const absl::Status verdict = Verdict();
  if (verdict.ok()) MeasureRecall();
  return verdict;
}

absl::StatusOr<PreparedLoad::Mix> PrepareMix(RequestMix options, Transport& transport,
                                             const std::vector<TraceEntry>* trace, uint64_t seed) {
  const bool has_vectors = options.kind == Kind::kSearch || options.kind == Kind::kSearchBulk ||
                           options.kind == Kind::kUpsert;
  if (has_vectors && options.vectors_path.empty() && options.dimension == 0) {
    ASSIGN_OR_RETURN(options.dimension, transport.Dimension(options));
  }
  PreparedLoad::Mix mix{.options = std::move(options), .workload = {}, .bodies = {}};
  ASSIGN_OR_RETURN(mix.workload, Workload::Make(mix.options, trace, seed));
  for (size_t i = 0; i < mix.workload.size(); ++i) {
    ASSIGN_OR_RETURN(Body body, transport.Encode(mix.options, mix.workload.at(i), 0, false));
    if (mix.options.kind == Kind::kUpsert) break;
    mix.bodies.push_back(std::move(body));
  }
  return mix;
}

}  // namespace

absl::StatusOr<PreparedLoad> PreparedLoad::Make(const Scenario& scenario, Transport& transport) {
  PreparedLoad load;
  const std::vector<TraceEntry>* trace = nullptr;
  if (scenario.arrivals.process == Process::kTrace) {
    ASSIGN_OR_RETURN(load.trace_, ReadTrace(scenario.trace_path));
    trace = &load.trace_;
  }
  uint64_t seed = scenario.seed;
  for (const RequestMix& options : scenario.load) {
    ASSIGN_OR_RETURN(Mix mix, PrepareMix(options, transport, trace, seed++));
    load.mixes_.push_back(std::move(mix));
  }
  if (scenario.probe) {
    ASSIGN_OR_RETURN(Mix probe, PrepareMix(*scenario.probe, transport, nullptr, seed++));
    load.probe_ = std::make_unique<Mix>(std::move(probe));
  }
  return load;
}

absl::Status RunLoad(const Scenario& scenario, const PreparedLoad& load, Transport& transport,
                     const std::atomic<bool>& stop, const ShowProgress& show, Results& results) {
  return Runner(scenario, load, transport, stop, show, results).Run();
}

}  // namespace baton::load
