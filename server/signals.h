#pragma once

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace baton {

// SIGTERM and SIGINT as a request to stop, SIGHUP as one to read files again. Make it before any
// other thread starts: the signals are blocked in the calling thread and in all that it starts, and
// one thread of this class waits for them; threads that were there before hand theirs on to it. One
// of these at a time. The first signal while the daemon starts ends the process at once (nothing is
// lost: what was acknowledged is durable); while it serves, it asks to stop; a second one ends it
// at once.
class SignalWatcher {
 public:
  SignalWatcher();
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

  // From now on the first signal asks to stop.
  void SetServing() { serving_ = true; }
  enum class Asked { kNothing, kReload, kStop };
  // Waits for a signal. kNothing: none came within `wait`.
  Asked Wait(std::chrono::milliseconds wait);

 private:
  void Watch();

  sigset_t signals_;
  std::atomic<bool> serving_{false};
  std::atomic<bool> ending_{false};
  std::mutex mutex_;
  std::condition_variable asked_;
  bool stop_ = false;
  bool reload_ = false;
  std::thread thread_;
};

}  // namespace baton
