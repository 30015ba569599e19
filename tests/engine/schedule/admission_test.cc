#include "engine/schedule/admission.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <vector>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr auto kFirst = WaitsFor::kFirstToken;
constexpr TimeUs kSecond = 1'000'000;

// A server that takes one after the other, each for service_us, while others come at a rate.
struct Simulation {
  int64_t arrivals_per_s = 0;
  TimeUs service_us = 0;
  TimeUs wait_us_max = -1;
  TimeUs run_us = 20 * kSecond;

  int64_t arrived = 0;
  int64_t served = 0;
  int64_t in_time = 0;
  int64_t refused = 0;
  TimeUs longest_us = 0;

  void Run() {
    Admission admission;
    struct Waiting {
      RequestId id;
      TimeUs since_us;
    };
    std::deque<Waiting> queue;
    TimeUs free_at_us = 0;
    uint64_t next = 1;
    for (TimeUs now = 0; now < run_us; now += kSecond / arrivals_per_s) {
      while (!queue.empty() && free_at_us <= now) {
        const TimeUs end = std::max(free_at_us, queue.front().since_us) + service_us;
        if (end > now) break;
        admission.Leave(queue.front().id, kFirst, true, end);
        const TimeUs took = end - queue.front().since_us;
        longest_us = std::max(longest_us, took);
        ++served;
        in_time += took <= wait_us_max + service_us ? 1 : 0;
        queue.pop_front();
        free_at_us = end;
      }
      ++arrived;
      const RequestId id(next++);
      if (admission.Enter(id, kFirst, wait_us_max, now).ok()) {
        queue.push_back({id, now});
      } else {
        ++refused;
      }
    }
  }
};

}  // namespace

TEST_CASE("what is taken under overload is served in time, and the server is not idle") {
  const int64_t times = GENERATE(2, 3, 10);
  const TimeUs service_us = GENERATE(500, 2000, 10'000);
  CAPTURE(times, service_us);
  Simulation s{.arrivals_per_s = times * kSecond / service_us,
               .service_us = service_us,
               .wait_us_max = 200'000};
  s.Run();
  const int64_t possible = s.run_us / service_us;
  CHECK(s.served >= possible * 95 / 100);
  CHECK(s.in_time >= possible * 90 / 100);
  // At first, until the queue is old: what came within half of the limit.
  CHECK(s.longest_us <= s.wait_us_max + times * s.wait_us_max / 2);
}

TEST_CASE("below its capacity nothing is refused, and without a limit never") {
  Simulation s{.arrivals_per_s = 900, .service_us = 1000, .wait_us_max = 20'000};
  s.Run();
  CHECK(s.refused == 0);
  Simulation all{.arrivals_per_s = 3000, .service_us = 1000, .run_us = 2 * kSecond};
  all.Run();
  CHECK(all.refused == 0);
}

TEST_CASE(
    "what was served before the queue was last empty is not taken for how fast it is served") {
  Admission admission;
  uint64_t next = 1;
  const auto enter = [&](TimeUs now) {
    return admission.Enter(RequestId(next++), kFirst, 100'000, now);
  };
  // A thousand in no time: nothing ever waits.
  for (TimeUs now = 0; now < kSecond; now += 1000) {
    REQUIRE_OK(enter(now));
    admission.Leave(RequestId(next - 1), kFirst, true, now);
  }
  // Then twenty, of which none is served: 20 ms by that rate.
  for (int i = 0; i < 20; ++i) REQUIRE_OK(enter(kSecond));
  CHECK(absl::IsResourceExhausted(enter(kSecond + 60'000)));
}

TEST_CASE("a burst that finds an idle server is taken") {
  Admission admission;
  for (uint64_t i = 1; i <= 500; ++i) {
    REQUIRE_OK(admission.Enter(RequestId(i), kFirst, 100'000, 1'000'000 + static_cast<TimeUs>(i)));
  }
}

TEST_CASE("one that waits for long keeps nobody out") {
  Admission admission;
  uint64_t next = 1;
  REQUIRE_OK(admission.Enter(RequestId(next++), kFirst, 100'000, 0));
  for (TimeUs now = 0; now < 10 * kSecond; now += 10'000) {
    const RequestId id(next++);
    REQUIRE_OK(admission.Enter(id, kFirst, 100'000, now));
    admission.Leave(id, kFirst, true, now + 5000);
  }
}

TEST_CASE(
    "a server that serves nothing refuses once its queue is old, says when to come again, and "
    "takes what it can again") {
  Admission admission;
  for (uint64_t i = 1; i <= 20; ++i) REQUIRE_OK(admission.Enter(RequestId(i), kFirst, 100'000, 0));
  const absl::Status refused = admission.Enter(RequestId(21), kFirst, 100'000, 200'000);
  REQUIRE_STATUS(refused, absl::StatusCode::kResourceExhausted,
                 "20 requests wait for a first token");
  CHECK(std::string(refused.message()).ends_with(" ms"));
  // Who has more time, or none, still comes in; other queues are their own.
  REQUIRE_OK(admission.Enter(RequestId(22), kFirst, 100 * kSecond, 200'000));
  REQUIRE_OK(admission.Enter(RequestId(23), kFirst, -1, 200'000));
  REQUIRE_OK(admission.Enter(RequestId(24), WaitsFor::kSearch, 100'000, 200'000));
  REQUIRE_OK(admission.Enter(RequestId(25), WaitsFor::kNothing, 0, 200'000));
  // What ends without its answer counts as gone, not as served.
  for (uint64_t i = 1; i <= 20; ++i) admission.Leave(RequestId(i), kFirst, false, 210'000);
  admission.Leave(RequestId(1), kFirst, true, 210'000);
  REQUIRE_OK(admission.Enter(RequestId(26), kFirst, 100'000, 220'000));
}

}  // namespace baton
