#include "engine/write_lane.h"

#include <deque>
#include <utility>
#include <vector>

namespace baton {
namespace {

// Points in one group commit: bounds the memory of the commit and how long its first writer waits.
constexpr size_t kGroupPointsMax = 10'000;
constexpr TimeUs kIdleWaitUs = 1'000'000;

}  // namespace

WriteLane::WriteLane(VectorStore& store, const Clock& clock, size_t queue_max)
    : store_(store), clock_(clock), queue_(queue_max), thread_([this] { Run(); }) {}

WriteLane::~WriteLane() { queue_.Close(); }

bool WriteLane::TryWrite(Write write, absl::AnyInvocable<void(Outcome)> done) {
  return queue_.TryPush(Item{std::move(write), std::move(done), clock_.NowUs()});
}

bool WriteLane::TryChange(Change change) { return queue_.TryPush(std::move(change)); }

void WriteLane::Run() {
  while (true) {
    const bool closed =
        queue_.closed();  // asked first: what is pushed before closing is seen below
    std::deque<Job> jobs = queue_.PopAll(kIdleWaitUs);
    if (jobs.empty() && closed) return;
    std::vector<Item> group;
    size_t points = 0;
    const auto flush = [&] {
      if (!group.empty()) Commit(std::exchange(group, {}));
      points = 0;
    };
    for (Job& job : jobs) {
      if (Change* change = std::get_if<Change>(&job)) {
        flush();
        (*change)();
        continue;
      }
      Item& item = std::get<Item>(job);
      size_t size = item.write.upserts.size() + item.write.deletes.size();
      for (const PayloadPatch& patch : item.write.patches) size += patch.ids.size();
      if (points + size > kGroupPointsMax) flush();
      points += size;
      group.push_back(std::move(item));
    }
    flush();
  }
}

void WriteLane::Commit(std::vector<Item> group) {
  const TimeUs begin_us = clock_.NowUs();
  std::vector<Write> writes;
  writes.reserve(group.size());
  for (Item& item : group) writes.push_back(std::move(item.write));
  std::vector<WriteResult> results = store_.Commit(std::move(writes));
  const TimeUs run_us = clock_.NowUs() - begin_us;
  for (size_t i = 0; i < group.size(); ++i) {
    group[i].done({.result = std::move(results[i]),
                   .queue_us = begin_us - group[i].queued_us,
                   .run_us = run_us});
  }
}

}  // namespace baton
