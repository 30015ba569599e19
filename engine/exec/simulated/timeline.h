#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "engine/base/clock.h"
#include "engine/base/thread_placement.h"

namespace baton {

// Runs things when a clock says so, on a thread of its own: by their times, those of one time in
// the order they were added. Thread safe. What is not due when it is destroyed is dropped.
class Timeline {
 public:
  // Moves a virtual clock on to a moment at least, once nothing is due before it. Called from the
  // timeline's thread.
  using Warp = std::function<void(TimeUs)>;

  // The clock outlives it. No `warp`: the clock moves by itself, or somebody else moves it.
  explicit Timeline(const Clock& clock, Warp warp = nullptr, const ThreadPlacement& placement = {});
  ~Timeline();
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  void At(TimeUs due_us, absl::AnyInvocable<void()> run);
  const Clock& clock() const { return clock_; }

 private:
  void ThreadMain();

  const Clock& clock_;
  const Warp warp_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<TimeUs, absl::AnyInvocable<void()>> due_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace baton
