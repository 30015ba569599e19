// The run itself over a wire that is a thread: what needs no gRPC, also under sanitizers.
#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "loadtest/load_run.h"
#include "loadtest/scenario_file.h"
#include "tests/support/status_matchers.h"

namespace baton::load {
namespace {

// Answers each call, in order, with what `answer` makes of its record.
class ThreadTransport final : public Transport {
 public:
  using Answer = std::function<void(const Call&, RequestRecord&)>;
  explicit ThreadTransport(Answer answer)
      : answer_(std::move(answer)), thread_([this] { Run(); }) {}
  ~ThreadTransport() override {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  absl::Status Connect() override { return absl::OkStatus(); }
  absl::StatusOr<int32_t> Dimension(const RequestMix&) override { return 4; }
  absl::StatusOr<Body> Encode(const RequestMix&, const Input& input, uint64_t, bool) override {
    return std::make_shared<const std::string>(input.text);
  }
  void SetSinks(std::shared_ptr<const Sinks> sinks) override { sinks_ = std::move(sinks); }
  void Start(Call call) override {
    call.record.sent_ns = sinks_->now_ns();
    std::lock_guard lock(mutex_);
    most_ = std::max(most_, ++under_way_);
    calls_.push_back(std::move(call));
    wake_.notify_one();
  }
  void Cancel(uint64_t id) override {
    std::lock_guard lock(mutex_);
    cancelled_.insert(id);
  }
  int64_t BusiestThreadCpuNs() const override { return 0; }

  int64_t most() {
    std::lock_guard lock(mutex_);
    return most_;
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stop_ || !calls_.empty(); });
      if (calls_.empty()) return;
      Call call = std::move(calls_.front());
      calls_.pop_front();
      lock.unlock();
      RequestRecord record = std::move(call.record);
      record.code = "OK";
      answer_(call, record);
      record.done_ns = sinks_->now_ns();
      lock.lock();
      --under_way_;
      lock.unlock();
      sinks_->done(std::move(record));
      lock.lock();
    }
  }

  const Answer answer_;
  std::shared_ptr<const Sinks> sinks_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Call> calls_;
  std::set<uint64_t> cancelled_;
  int64_t under_way_ = 0;
  int64_t most_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

Scenario Searches(const ArrivalOptions& arrivals, double duration_s) {
  Scenario scenario;
  scenario.target = "thread";
  scenario.arrivals = arrivals;
  scenario.duration_s = duration_s;
  RequestMix& mix = scenario.load.emplace_back();
  mix.kind = Kind::kSearch;
  mix.name = "search";
  mix.collection = "c";
  return scenario;
}

absl::Status RunOn(ThreadTransport& transport, const Scenario& scenario, Results& results,
                   const std::atomic<bool>& stop) {
  const auto load = PreparedLoad::Make(scenario, transport);
  REQUIRE_OK(load);
  return RunLoad(scenario, *load, transport, stop, {}, results);
}

TEST_CASE("An open loop sends what is due however slow the answers are") {
  ThreadTransport transport([](const Call&, RequestRecord&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  });
  const Scenario scenario = Searches({.process = Process::kConstant, .rate_per_s = 400}, 0.5);
  Results results({}, scenario.load, false);
  REQUIRE_OK(RunOn(transport, scenario, results, false));
  CHECK(results.all.sent == 200);
  CHECK(results.all.ok == 200);
  // The last waited for half a second of others' work; counted from when it was due.
  CHECK(results.all.e2e.Summarize().max_ms >= 400);
}

TEST_CASE("A closed loop has one request of each user under way") {
  ThreadTransport transport([](const Call&, RequestRecord&) {});
  const Scenario scenario = Searches({.process = Process::kClosed, .users = 7}, 0.3);
  Results results({}, scenario.load, false);
  REQUIRE_OK(RunOn(transport, scenario, results, false));
  CHECK(results.all.ok > 7);
  CHECK(transport.most() <= 7);
}

TEST_CASE("Refused users of a closed loop come back after the hint, not at once") {
  ThreadTransport transport([](const Call&, RequestRecord& record) {
    record.code = "RESOURCE_EXHAUSTED";
    record.retry_after_ms = 100;
  });
  const Scenario scenario = Searches({.process = Process::kClosed, .users = 2}, 0.5);
  Results results({}, scenario.load, false);
  REQUIRE_OK(RunOn(transport, scenario, results, false));
  CHECK(results.all.refused >= 2);
  CHECK(results.all.sent <= 2 * 6);
  CHECK(results.all.refused_hinted == results.all.refused);
}

TEST_CASE("A dead server ends the run and one that is back does not") {
  std::atomic<int> answered = 0;
  ThreadTransport dead([&](const Call&, RequestRecord& record) {
    if (++answered > 10) record.code = "UNAVAILABLE";
  });
  Scenario scenario = Searches({.process = Process::kConstant, .rate_per_s = 200}, 3600);
  scenario.away_ms = 50;
  Results results({}, scenario.load, false);
  REQUIRE_STATUS(RunOn(dead, scenario, results, false), absl::StatusCode::kUnavailable,
                 "stopped answering");
  CHECK(results.all.ok == 10);
  std::atomic<int> count = 0;
  ThreadTransport back([&](const Call&, RequestRecord& record) {
    if (++count <= 5) record.code = "UNAVAILABLE";
  });
  scenario.duration_s = 0.3;
  scenario.away_ms = 5'000;
  Results recovered({}, scenario.load, false);
  REQUIRE_OK(RunOn(back, scenario, recovered, false));
  CHECK(recovered.all.errors.at("UNAVAILABLE") == 5);
}

TEST_CASE("Warm-up and wall are apart and times are from the end of the warm-up") {
  ThreadTransport transport([](const Call&, RequestRecord&) {});
  Scenario scenario = Searches({.process = Process::kConstant, .rate_per_s = 100}, 0.2);
  scenario.warmup_s = 0.2;
  Results results({}, scenario.load, false);
  REQUIRE_OK(RunOn(transport, scenario, results, false));
  CHECK(results.all.sent == 20);
  CHECK(results.timeline.at(0).sent == 20);
  CHECK(results.wall_s() >= 0.2);
}

TEST_CASE("Shares of a mix follow the weights") {
  ThreadTransport transport([](const Call&, RequestRecord&) {});
  Scenario scenario = Searches({.process = Process::kConstant, .rate_per_s = 4000}, 0.5);
  scenario.load.push_back(scenario.load[0]);
  scenario.load[1].name = "other";
  scenario.load[1].weight = 3;
  Results results({}, scenario.load, false);
  REQUIRE_OK(RunOn(transport, scenario, results, false));
  // 5 sigma around 1,500 of 2,000.
  CHECK(static_cast<double>(results.groups[1].second.sent) == Approx(1500).margin(97));
}

}  // namespace
}  // namespace baton::load
