#include "engine/exec/loading_thread.h"

#include "engine/base/check.h"
#include "engine/base/thread_name.h"

namespace baton {

LoadingThread::LoadingThread() : thread_([this] { ThreadMain(); }) {}

LoadingThread::~LoadingThread() {
  {
    const std::lock_guard lock(mutex_);
    BATON_CHECK(waiting_.empty() && loading_ == nullptr);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void LoadingThread::Post(Request& request) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(&request);
  }
  changed_.notify_all();
}

void LoadingThread::Withdraw(const Request& request) {
  std::unique_lock lock(mutex_);
  std::erase(waiting_, &request);
  if (loading_ != &request) return;
  withdrawn_ = true;
  changed_.wait(lock, [&] { return loading_ != &request; });
}

void LoadingThread::ThreadMain() {
  NameThread("load");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (ending_) return;
    Request* const request = waiting_.front();
    waiting_.pop_front();
    loading_ = request;
    withdrawn_ = false;
    lock.unlock();
    const bool more = request->LoadNext();
    lock.lock();
    loading_ = nullptr;
    if (more && !withdrawn_) waiting_.push_back(request);
    changed_.notify_all();
  }
}

}  // namespace baton
