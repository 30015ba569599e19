#include "engine/exec/loading_thread.h"

#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace baton {
namespace {

// What was brought, in order; each piece waits until it may.
struct Pieces {
  std::mutex mutex;
  std::condition_variable changed;
  std::string brought;     // mutex
  std::string begun;       // mutex
  size_t may_bring = 100;  // mutex

  void Allow(size_t count) {
    const std::lock_guard lock(mutex);
    may_bring = count;
    changed.notify_all();
  }
  void AwaitBegun(size_t count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return begun.size() >= count; });
  }
  void AwaitBrought(size_t count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return brought.size() >= count; });
  }
};

class Lacking final : public LoadingThread::Request {
 public:
  Lacking(Pieces& pieces, char name, int count) : pieces_(pieces), name_(name), left_(count) {}
  bool LoadNext() override {
    std::unique_lock lock(pieces_.mutex);
    pieces_.begun += name_;
    pieces_.changed.notify_all();
    pieces_.changed.wait(lock, [&] { return pieces_.brought.size() < pieces_.may_bring; });
    pieces_.brought += name_;
    pieces_.changed.notify_all();
    return --left_ > 0;
  }

 private:
  Pieces& pieces_;
  const char name_;
  int left_;
};

TEST_CASE("requests get a piece each in turn") {
  Pieces pieces;
  pieces.may_bring = 0;
  Lacking a(pieces, 'a', 4);
  Lacking b(pieces, 'b', 1);
  Lacking c(pieces, 'c', 2);
  LoadingThread loading;
  loading.Post(a);
  pieces.AwaitBegun(1);
  loading.Post(b);
  loading.Post(c);
  pieces.Allow(100);
  pieces.AwaitBrought(7);
  for (const auto* request : {&a, &b, &c}) loading.Withdraw(*request);
  CHECK(pieces.brought == "abcacaa");
}

TEST_CASE("a request that is withdrawn gets nothing more and one that loads is waited for") {
  Pieces pieces;
  pieces.may_bring = 0;
  Lacking a(pieces, 'a', 100);
  Lacking b(pieces, 'b', 100);
  LoadingThread loading;
  loading.Post(a);
  pieces.AwaitBegun(1);
  loading.Post(b);
  loading.Withdraw(b);  // which waits
  std::thread other([&] { pieces.Allow(1000); });
  loading.Withdraw(a);
  std::string before;
  {
    const std::lock_guard lock(pieces.mutex);
    CHECK(pieces.brought == pieces.begun);
    before = pieces.brought;
  }
  CHECK(before.find_first_not_of('a') == std::string::npos);
  other.join();
  Lacking c(pieces, 'c', 2);
  loading.Post(c);
  pieces.AwaitBrought(before.size() + 2);
  loading.Withdraw(c);
  CHECK(pieces.brought == before + "cc");
}

}  // namespace
}  // namespace baton
