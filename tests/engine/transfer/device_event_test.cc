#include "engine/transfer/device_event.h"

#include <catch2/catch.hpp>
#include <thread>

#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr auto kLate = absl::StatusCode::kDeadlineExceeded;

TEST_CASE("an event wakes who waits, with how it went") {
  DeviceEvent event;
  CHECK_FALSE(event.Result().has_value());
  std::jthread device([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    event.Signal(absl::DataLossError("ECC"));
  });
  const TimeUs now_us = SystemClock().NowUs();
  REQUIRE_STATUS(event.Wait(now_us + 30'000'000, SystemClock()), absl::StatusCode::kDataLoss,
                 "ECC");
  CHECK(SystemClock().NowUs() - now_us < 20'000'000);
  // It stays as it is: a late signal changes nothing.
  CHECK_FALSE(event.Signal(absl::OkStatus()));
  CHECK(event.Result()->code() == absl::StatusCode::kDataLoss);
  REQUIRE_STATUS(event.Wait(0, SystemClock()), absl::StatusCode::kDataLoss, "ECC");
}

TEST_CASE("a wait for a device that is dead ends at its deadline") {
  DeviceEvent event;
  const TimeUs now_us = SystemClock().NowUs();
  REQUIRE_STATUS(event.Wait(now_us + 3000, SystemClock()), kLate, "by its deadline");
  CHECK(SystemClock().NowUs() >= now_us + 3000);
  REQUIRE_STATUS(event.Wait(now_us - 1, SystemClock()), kLate, "by its deadline");
  // By whatever clock.
  FakeClock clock;
  const TimeUs deadline_us = clock.NowUs() + 60'000'000;
  std::jthread time([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    clock.AdvanceUs(60'000'000);
  });
  REQUIRE_STATUS(event.Wait(deadline_us, clock), kLate, "by its deadline");
}

TEST_CASE("a device that can only be asked is asked until it is done, fails, or is late") {
  int asked = 0;
  const TimeUs soon_us = SystemClock().NowUs() + 30'000'000;
  REQUIRE_OK(PollUntil(soon_us, SystemClock(), [&] { return ++asked == 5; }));
  CHECK(asked == 5);
  REQUIRE_STATUS(PollUntil(soon_us, SystemClock(),
                           []() -> absl::StatusOr<bool> { return absl::UnavailableError("gone"); }),
                 absl::StatusCode::kUnavailable, "gone");
  asked = 0;
  const auto never = [&]() -> absl::StatusOr<bool> {
    ++asked;
    return false;
  };
  const TimeUs begin_us = SystemClock().NowUs();
  REQUIRE_STATUS(PollUntil(begin_us + 20'000, SystemClock(), never), kLate, "by its deadline");
  CHECK(SystemClock().NowUs() >= begin_us + 20'000);
  CHECK(asked > 2);
  CHECK(asked < 1000);  // it does not spin
  asked = 0;
  REQUIRE_STATUS(PollUntil(0, SystemClock(), never), kLate, "by its deadline");
  CHECK(asked == 1);
}

}  // namespace
}  // namespace baton
