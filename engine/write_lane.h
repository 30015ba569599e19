#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <thread>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/vector/vector_store.h"

namespace baton {

// The one thread that changes stored data, so that changes have one order. Writes that wait
// together are committed together: one fsync for all of them. Upserts to a collection that is far
// behind with building graphs are held back, in their order, while others pass; so is a write whose
// filter asks a payload index that is being made.
class WriteLane {
 public:
  struct Outcome {
    WriteResult result;
    TimeUs queue_us = 0;
    TimeUs run_us = 0;
  };
  struct Item {
    Write write;
    absl::AnyInvocable<void(Outcome)> done;  // on the lane's thread, must not block
    TimeUs deadline_us = 0;
    TimeUs queued_us = 0;
    double bytes = 0;  // of vectors and payloads
  };
  // A change of collections; runs between commits, in its place.
  using Change = absl::AnyInvocable<void()>;

  // All outlive it.
  WriteLane(VectorStore& store, const Clock& clock, Metrics& metrics, size_t queue_max);
  // Commits what is queued, then ends.
  ~WriteLane();

  // Never block. False when the queue is full. A write that is held back is refused
  // after VectorStore::write_wait_us, or shortly before its deadline: upserts with
  // RESOURCE_EXHAUSTED, others with UNAVAILABLE.
  bool TryWrite(Write write, TimeUs deadline_us, absl::AnyInvocable<void(Outcome)> done);
  bool TryChange(Change change);

 private:
  using Job = std::variant<Item, Change>;
  void Run();
  void Commit(std::vector<Item> group);
  // The last thing that happens to a write.
  void Answer(Item& item, Outcome outcome);
  // True where the write waits from now on.
  bool Hold(Item& item);
  // Ends the waiting of those that are due: those that may go, in order, up to one group of them.
  std::vector<Item> Release(bool closing);

  VectorStore& store_;
  const Clock& clock_;
  prometheus::Gauge& held_gauge_;
  prometheus::Gauge& pending_gauge_;
  prometheus::Gauge& pending_bytes_gauge_;
  BoundedQueue<Job> queue_;
  std::deque<Item> held_;  // the lane thread's
  std::atomic<size_t> held_count_ = 0;
  const size_t queue_max_;
  std::jthread thread_;
};

}  // namespace baton
