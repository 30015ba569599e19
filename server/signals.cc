#include "server/signals.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/base/log.h"
#include "engine/base/thread_name.h"

namespace baton {
namespace {

constexpr int kWake = SIGUSR1;  // ends the waiting thread; ignored when it comes from outside
constexpr int kSignals[] = {SIGTERM, SIGINT, SIGHUP, kWake};

// The waiting thread.
std::atomic<pthread_t> watcher;

// Threads that a library starts while the program is loaded, as OpenBLAS does, block nothing: a
// signal that one of them gets goes on to the thread that waits.
void Forward(int number) {
  const int error = errno;
  pthread_kill(watcher, number);
  errno = error;
}

}  // namespace

SignalWatcher::SignalWatcher() {
  signal(SIGPIPE, SIG_IGN);  // a peer that hangs up is an error of that write alone
  sigemptyset(&signals_);
  for (const int number : kSignals) sigaddset(&signals_, number);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  thread_ = std::thread([this] { Watch(); });
  watcher = thread_.native_handle();
  struct sigaction action = {};
  action.sa_handler = &Forward;
  action.sa_flags = SA_RESTART;
  for (const int number : kSignals) sigaction(number, &action, nullptr);
}

SignalWatcher::~SignalWatcher() {
  ending_ = true;
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) signal(number, SIG_DFL);
  pthread_kill(thread_.native_handle(), kWake);
  thread_.join();
  signal(kWake, SIG_IGN);
}

SignalWatcher::Asked SignalWatcher::Wait(std::chrono::milliseconds wait) {
  std::unique_lock lock(mutex_);
  if (!asked_.wait_for(lock, wait, [this] { return stop_ || reload_; })) return Asked::kNothing;
  if (stop_) return Asked::kStop;
  reload_ = false;
  return Asked::kReload;
}

void SignalWatcher::Watch() {
  NameThread("signals");
  while (!ending_) {
    int number = 0;
    if (sigwait(&signals_, &number) != 0 || number == kWake) continue;
    if (number == SIGHUP) {  // while it starts, too: what it reads is then what there is
      const std::lock_guard lock(mutex_);
      reload_ = true;
      asked_.notify_all();
      continue;
    }
    if (!serving_) {
      Log().warn("{} while starting: ending at once", strsignal(number));
      Log().flush();
      _exit(0);
    }
    const std::lock_guard lock(mutex_);
    if (stop_) {
      Log().warn("a second {}: ending at once, streams are cut", strsignal(number));
      Log().flush();
      _exit(1);
    }
    stop_ = true;
    asked_.notify_all();
  }
}

}  // namespace baton
