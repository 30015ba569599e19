#pragma once

#include <cstddef>
#include <thread>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/vector/vector_store.h"

namespace baton {

// The one thread that changes stored data, so that changes have one order. Writes that wait
// together are committed together: one fsync for all of them.
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
    TimeUs queued_us = 0;
  };
  // A change of collections; runs between commits, in its place.
  using Change = absl::AnyInvocable<void()>;

  WriteLane(VectorStore& store, const Clock& clock, size_t queue_max);
  // Commits what is queued, then ends.
  ~WriteLane();

  // Never block. False when the queue is full.
  bool TryWrite(Write write, absl::AnyInvocable<void(Outcome)> done);
  bool TryChange(Change change);

 private:
  using Job = std::variant<Item, Change>;
  void Run();
  void Commit(std::vector<Item> group);

  VectorStore& store_;
  const Clock& clock_;
  BoundedQueue<Job> queue_;
  std::jthread thread_;
};

}  // namespace baton
