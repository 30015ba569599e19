#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "engine/base/clock.h"
#include "engine/mailbox.h"

namespace baton {

// Whose thread a turn of the engine's loop runs on: its own, which sleeps until something is
// posted; or that of whoever brings something, where the caller says so. A sleeping thread takes
// a while to wake, and a search goes through the loop three times, so one that is alone is answered
// sooner when it stays on few threads (`./dev bench vector-scale`, rpc.*). One turn runs at a time,
// and what is posted is done in order, whoever's turn it is.
class Turns {
 public:
  using Job = absl::AnyInvocable<void()>;
  // Does what was posted and all that is due. Returns when the next turn is; nullopt: there is
  // none.
  using Turn = absl::AnyInvocable<std::optional<TimeUs>()>;

  // `clock` and `mailbox` outlive it.
  Turns(const Clock& clock, Mailbox& mailbox, Turn turn);

  // The loop's own thread: turns until there is none.
  void Run();

  // As Mailbox::Post, but the calling thread takes the turn where no other does. What the task
  // Keeps runs on this thread behind the turn, before this returns. The caller holds no lock that a
  // turn takes.
  void Bring(Mailbox::Task task);

  // In a task that has brought its turn: whether the job was taken, to be run behind the turn on
  // the same thread. One is; none of others' tasks, which are done in the same turn.
  bool Keep(Job& job);
  bool keeps() const { return kept_ != nullptr && !kept_->job; }  // whether Keep would

  // Nobody brings a turn any more; one that runs is waited for.
  void Close();

 private:
  // Of a thread that has brought a turn: what is to run behind it.
  struct Behind {
    std::optional<Job> job;
  };
  // Where the calling thread runs such a job, the place for the next one.
  static thread_local Behind* behind_;

  const Clock& clock_;
  Mailbox& mailbox_;
  Turn turn_;

  std::mutex mutex_;  // held while a turn runs
  std::atomic<std::thread::id> turner_{};
  // With the mutex.
  TimeUs sleeps_until_us_ = 0;
  Behind* kept_ = nullptr;  // while the task runs that has brought the turn
  bool closed_ = false;
};

}  // namespace baton
