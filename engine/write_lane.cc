#include "engine/write_lane.h"

#include <algorithm>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/strings.h"
#include "engine/base/thread_name.h"
#include "engine/vector/payload_codec.h"
#include "engine/vector/view_filter.h"

namespace baton {
namespace {

// Points in one group commit: bounds the memory of the commit and how long its first writer waits.
constexpr size_t kGroupPointsMax = 10'000;
constexpr TimeUs kIdleWaitUs = 1'000'000;
// How often it is seen whether a write that is held back may go.
constexpr TimeUs kHeldWaitUs = 5'000;
// So long before its deadline a write is refused: the answer still gets there.
constexpr TimeUs kAnswerUs = 50'000;

size_t PointsOf(const Write& write) {
  size_t points = write.upserts.size() + write.deletes.size();
  for (const PayloadPatch& patch : write.patches) points += patch.ids.size();
  return points;
}

double BytesOf(const Write& write) {
  size_t bytes = 0;
  for (const Point& point : write.upserts) {
    bytes += point.vector.size() * sizeof(float);
    for (const NamedVector& named : point.named) bytes += named.values.size() * sizeof(float);
    bytes += static_cast<size_t>(EncodedPayloadBytes(point.payload));
  }
  for (const PayloadPatch& patch : write.patches)
    bytes += static_cast<size_t>(EncodedPayloadBytes(patch.set));
  return static_cast<double>(bytes);
}

// Whether a write should wait, and what it is told where it has waited for too long. Upserts do for
// graphs. A filter does for a payload index that is being made: to resolve it now would take
// reading payloads of all points from the database, and every other writer would wait for that.
absl::Status CheckWait(const VectorStore& store, const Write& write) {
  if (!write.upserts.empty()) return store.CheckBacklog(write.collection);
  if (write.filter == nullptr) return absl::OkStatus();
  const auto view = store.View(write.collection);
  if (!view.ok() || (*view)->change() == nullptr) return absl::OkStatus();
  const auto checked = store.CheckFilter((*view)->spec(), write.partition, write.filter);
  if (!checked.ok()) return absl::OkStatus();  // Commit says so, as where there is no collection
  const auto filter = ViewFilter::Make(**view, **checked);
  if (!filter.ok() || !filter->asks_coming()) return absl::OkStatus();
  return absl::UnavailableError(StrCat("filter asks a payload index of collection \"",
                                       write.collection,
                                       "\" that is being made; retry in 1000 ms"));
}

}  // namespace

WriteLane::WriteLane(VectorStore& store, const Clock& clock, Metrics& metrics, size_t queue_max)
    : store_(store),
      clock_(clock),
      held_gauge_(metrics.Gauge(MetricId::kWritesHeld)),
      pending_gauge_(metrics.Gauge(MetricId::kWritesPending)),
      pending_bytes_gauge_(metrics.Gauge(MetricId::kWritesPendingBytes)),
      queue_(queue_max),
      queue_max_(queue_max),
      thread_([this] { Run(); }) {}

WriteLane::~WriteLane() { queue_.Close(); }

bool WriteLane::TryWrite(Write write, TimeUs deadline_us, absl::AnyInvocable<void(Outcome)> done) {
  if (queue_.size() + held_count_.load(std::memory_order_relaxed) >= queue_max_) return false;
  const double bytes = BytesOf(write);
  pending_gauge_.Increment();  // first: it may be answered before TryPush returns
  pending_bytes_gauge_.Increment(bytes);
  if (queue_.TryPush(Item{std::move(write), std::move(done), deadline_us, clock_.NowUs(), bytes})) {
    return true;
  }
  pending_gauge_.Decrement();
  pending_bytes_gauge_.Decrement(bytes);
  return false;
}

void WriteLane::Answer(Item& item, Outcome outcome) {
  pending_gauge_.Decrement();
  pending_bytes_gauge_.Decrement(item.bytes);
  item.done(std::move(outcome));
}

bool WriteLane::TryChange(Change change) { return queue_.TryPush(std::move(change)); }

void WriteLane::Run() {
  NameThread("write");
  while (true) {
    const bool closed =
        queue_.closed();  // asked first: what is pushed before closing is seen below
    std::deque<Job> jobs = queue_.PopAll(held_.empty() ? kIdleWaitUs : kHeldWaitUs);
    std::vector<Item> group = Release(closed);
    if (jobs.empty() && group.empty() && closed) return;
    size_t points = 0;
    for (const Item& item : group) points += PointsOf(item.write);
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
      if (!closed && Hold(item)) continue;
      const size_t size = PointsOf(item.write);
      if (points + size > kGroupPointsMax) flush();
      points += size;
      group.push_back(std::move(item));
    }
    flush();
  }
}

bool WriteLane::Hold(Item& item) {
  const bool upserts = !item.write.upserts.empty();
  const bool behind_others =
      upserts && std::any_of(held_.begin(), held_.end(), [&](const Item& other) {
        return other.write.collection == item.write.collection && !other.write.upserts.empty();
      });
  if (!behind_others && CheckWait(store_, item.write).ok()) return false;
  held_.push_back(std::move(item));
  held_count_.store(held_.size(), std::memory_order_relaxed);
  held_gauge_.Set(static_cast<double>(held_.size()));
  return true;
}

std::vector<WriteLane::Item> WriteLane::Release(bool closing) {
  std::vector<Item> released;
  if (held_.empty()) return released;
  const TimeUs now_us = clock_.NowUs();
  size_t points = 0;
  std::deque<Item> rest;
  for (Item& item : held_) {
    const absl::Status wait = CheckWait(store_, item.write);
    // One group at a time, since there may be no room again after it.
    const bool fits = released.empty() || points + PointsOf(item.write) <= kGroupPointsMax;
    if (closing || (wait.ok() && fits)) {
      points += PointsOf(item.write);
      released.push_back(std::move(item));
    } else if (!wait.ok() && now_us >= std::min(item.queued_us + store_.write_wait_us(),
                                                item.deadline_us - kAnswerUs)) {
      Answer(item, {.result = {.status = wait}, .queue_us = now_us - item.queued_us});
    } else {
      rest.push_back(std::move(item));
    }
  }
  held_ = std::move(rest);
  held_count_.store(held_.size(), std::memory_order_relaxed);
  held_gauge_.Set(static_cast<double>(held_.size()));
  return released;
}

void WriteLane::Commit(std::vector<Item> group) {
  const TimeUs begin_us = clock_.NowUs();
  std::vector<Write> writes;
  writes.reserve(group.size());
  for (Item& item : group) writes.push_back(std::move(item.write));
  std::vector<WriteResult> results = store_.Commit(std::move(writes));
  const TimeUs run_us = clock_.NowUs() - begin_us;
  for (size_t i = 0; i < group.size(); ++i) {
    Answer(group[i], {.result = std::move(results[i]),
                      .queue_us = begin_us - group[i].queued_us,
                      .run_us = run_us});
  }
}

}  // namespace baton
