#include "engine/schedule/device_queue.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <vector>

namespace baton {
namespace {

constexpr WorkClass kSearch = WorkClass::kSearchSingle;
using Outcome = DeviceQueue::Outcome;

// A device of so many slots for all its skills, and a queue that knows nothing of it.
class Device {
 public:
  DeviceQueue queue;

  explicit Device(int slots) : free_us_(static_cast<size_t>(slots), 0) {}

  void Begin(WorkClass work_class, TimeUs run_us) {
    const auto slot = std::min_element(free_us_.begin(), free_us_.end());
    const TimeUs start_us = std::max(*slot, now_us_);
    *slot = start_us + run_us;
    running_.push_back(
        {queue.Begin(work_class, run_us, now_us_), start_us - now_us_, run_us, start_us + run_us});
  }
  void AdvanceTo(TimeUs at_us) {
    std::sort(running_.begin(), running_.end(),
              [](const Running& a, const Running& b) { return a.end_us < b.end_us; });
    while (!running_.empty() && running_.front().end_us <= at_us) {
      const Running& ended = running_.front();
      queue.End(ended.number, Outcome::kRan, ended.queue_us, ended.run_us);
      running_.erase(running_.begin());
    }
    now_us_ = at_us;
  }
  TimeUs now_us() const { return now_us_; }
  // How long one more really would wait.
  TimeUs waits_us() const {
    return std::max<TimeUs>(0, *std::min_element(free_us_.begin(), free_us_.end()) - now_us_);
  }

 private:
  struct Running {
    uint64_t number;
    TimeUs queue_us;
    TimeUs run_us;
    TimeUs end_us;
  };
  std::vector<TimeUs> free_us_;
  std::vector<Running> running_;
  TimeUs now_us_ = 0;
};

TEST_CASE("how many batches run beside each other is learned, and with it the wait") {
  const int slots = GENERATE(1, 2, 5, 16);
  const uint32_t seed = 20261122;
  CAPTURE(slots, seed);
  std::mt19937 random(seed);
  Device device(slots);
  for (int i = 0; i < 4000; ++i) {
    device.Begin(kSearch, 400 + static_cast<TimeUs>(random() % 200));
    device.AdvanceTo(device.now_us() + static_cast<TimeUs>(random() % 1100) / slots);
  }
  device.AdvanceTo(device.now_us() + 1'000'000);
  CHECK(device.queue.WaitUs(kSearch, device.now_us()) == 0);
  CHECK(device.queue.Room(kSearch) >= slots);
  CHECK(device.queue.Room(kSearch) <= slots + 1);
  CHECK(device.queue.TypicalRunUs(kSearch) == Approx(500).epsilon(0.1));
  for (int i = 0; i < 10 * slots; ++i) device.Begin(kSearch, 500);
  CHECK(device.queue.Room(kSearch) < 0);
  CHECK(device.queue.WaitUs(kSearch, device.now_us()) ==
        Approx(device.waits_us()).margin(0.1 * 5000));
}

TEST_CASE("skills are apart until batches wait for those of others") {
  Device device(1);
  for (int i = 0; i < 60; ++i) {
    device.Begin(kSearch, 1000);
    device.Begin(WorkClass::kEmbed, 1000);
    device.AdvanceTo(device.now_us() + 5000);
  }
  device.Begin(WorkClass::kEmbed, 1000);
  CHECK(device.queue.Room(kSearch) <= 0);
  CHECK(device.queue.WaitUs(kSearch, device.now_us()) == 1000);

  DeviceQueue apart;
  for (int i = 0; i < 60; ++i) {
    const uint64_t search = apart.Begin(kSearch, 0, 0);
    const uint64_t embed = apart.Begin(WorkClass::kEmbed, 0, 0);
    apart.End(search, Outcome::kRan, 0, 1000);
    apart.End(embed, Outcome::kRan, 0, 1000);
  }
  apart.Begin(WorkClass::kEmbed, 1000, 0);
  CHECK(apart.WaitUs(kSearch, 0) == 0);
}

TEST_CASE("a batch that is late may end at any moment") {
  DeviceQueue queue;
  queue.Begin(kSearch, 1000, 0);
  CHECK(queue.WaitUs(kSearch, 400) == 600);
  CHECK(queue.WaitUs(kSearch, 5000) == 0);
  queue.Begin(kSearch, 1000, 0);
  CHECK(queue.WaitUs(kSearch, 5000) == 1000);
}

TEST_CASE("a queue that refused is full until it holds more") {
  DeviceQueue queue;
  CHECK_FALSE(queue.Full(kSearch));
  std::vector<uint64_t> held;
  for (int i = 0; i < 3; ++i) held.push_back(queue.Begin(kSearch, 0, 0));
  const uint64_t refused = queue.Begin(kSearch, 0, 0);
  queue.End(refused, Outcome::kRefused, 0, 0);
  CHECK(queue.Full(kSearch));
  CHECK_FALSE(queue.Full(WorkClass::kEmbed));
  queue.End(held[0], Outcome::kRan, 0, 100);
  CHECK_FALSE(queue.Full(kSearch));
  for (int i = 0; i < 5; ++i) held.push_back(queue.Begin(kSearch, 0, 0));
  CHECK(queue.Full(kSearch));
  queue.End(held[1], Outcome::kRan, 0, 100);  // one of seven that it did hold
  CHECK_FALSE(queue.Full(kSearch));
}

TEST_CASE("what did not run teaches nothing, and no number ends twice") {
  DeviceQueue queue;
  const uint64_t batch = queue.Begin(kSearch, 0, 0);
  queue.End(batch, Outcome::kOther, 9'000'000, 9'000'000);
  CHECK(queue.TypicalRunUs(kSearch) == 0);
  CHECK(queue.Room(kSearch) == 1);
  queue.End(batch, Outcome::kRan, 0, 5);
  queue.End(12345, Outcome::kRan, 0, 5);
  CHECK(queue.TypicalRunUs(kSearch) == 0);
  // Refused though nothing was before it: it lacked something else.
  queue.End(queue.Begin(kSearch, 0, 0), Outcome::kRefused, 0, 0);
  CHECK_FALSE(queue.Full(kSearch));
}

}  // namespace
}  // namespace baton
