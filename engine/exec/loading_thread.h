#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace baton {

// Brings to a device what its users lack, piece by piece on a thread of its own, while they work
// with what is there. Whoever waits gets a piece in turn, so that one who lacks little does not
// wait for all that another lacks. There are as many requests as users, each of whom bounds them.
// Thread safe.
class LoadingThread {
 public:
  // What one user lacks. It is the user's, who withdraws it before it goes.
  class Request {
   public:
    virtual ~Request() = default;
    // Brings the next piece, on the loading thread. False: that was the last one, or there is no
    // use in another.
    virtual bool LoadNext() = 0;
  };

  LoadingThread();
  ~LoadingThread();  // when all requests are withdrawn
  LoadingThread(const LoadingThread&) = delete;
  LoadingThread& operator=(const LoadingThread&) = delete;

  // Once for each request.
  void Post(Request& request);
  // LoadNext is not called again; blocks while it runs. Of one that is done: nothing.
  void Withdraw(const Request& request);

 private:
  void ThreadMain();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Request*> waiting_;      // mutex_
  const Request* loading_ = nullptr;  // mutex_
  bool withdrawn_ = false;            // mutex_: the one that is loading
  bool ending_ = false;               // mutex_
  std::thread thread_;                // last: it uses the rest
};

}  // namespace baton
