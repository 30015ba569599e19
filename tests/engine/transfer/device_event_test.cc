#include "engine/transfer/device_event.h"

#include <catch2/catch.hpp>
#include <utility>

#include "tests/engine/transfer/scripted_path.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr TimeUs kDeadline = 1000;

}  // namespace

TEST_CASE("an event comes when its copy does, and says how the copy went") {
  ScriptedPath path;
  path.defaults = {.polls = 2};
  auto event = DeviceEvent::Post(path, {}, kDeadline);
  REQUIRE_OK(event);
  CHECK_FALSE(event->Poll(0));
  CHECK_FALSE(event->Poll(1));
  CHECK(event->Poll(2) == absl::OkStatus());
  CHECK(path.open() == 0);

  path.defaults = {.outcome = absl::DataLossError("torn")};
  event = DeviceEvent::Post(path, {}, kDeadline);
  REQUIRE_OK(event);
  CHECK(event->Poll(0) == absl::DataLossError("torn"));
  CHECK(path.cancelled == 0);

  path.defaults = {.post = absl::ResourceExhaustedError("full")};
  REQUIRE_STATUS(DeviceEvent::Post(path, {}, kDeadline), absl::StatusCode::kResourceExhausted,
                 "full");
}

TEST_CASE("an event that does not come by its deadline is given up, its copy ended") {
  ScriptedPath path("slow");
  path.defaults = {.polls = 1000};
  auto event = DeviceEvent::Post(path, {}, kDeadline);
  REQUIRE_OK(event);
  CHECK_FALSE(event->Poll(kDeadline - 1));
  const auto late = event->Poll(kDeadline + 5);
  REQUIRE(late);
  REQUIRE_STATUS(*late, absl::StatusCode::kDeadlineExceeded, "by slow has not come");
  CHECK(path.cancelled == 1);
  CHECK(path.open() == 0);
}

TEST_CASE("a copy whose event is dropped or replaced is ended, once") {
  ScriptedPath path;
  path.defaults = {.polls = 1000};
  {
    auto first = *DeviceEvent::Post(path, {}, kDeadline);
    DeviceEvent moved = std::move(first);
    CHECK(path.open() == 1);
    moved = *DeviceEvent::Post(path, {}, kDeadline);
    CHECK(path.open() == 1);
    CHECK(path.cancelled == 1);
  }
  CHECK(path.open() == 0);
  CHECK(path.cancelled == 2);
}

}  // namespace baton
