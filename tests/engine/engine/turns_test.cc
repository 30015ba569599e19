#include "engine/turns.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/clock.h"

namespace baton {
namespace {

using ThreadId = std::thread::id;

// A loop that does what is posted, and sleeps for long.
struct Fixture {
  Fixture() {
    thread = std::thread([this] { turns.Run(); });
    id = thread.get_id();
    mailbox.Post([this] { begun.set_value(); });
    begun.get_future().wait();
    // It may still be in that turn: one more is brought until this thread gets it.
    ThreadId by;
    while (by != std::this_thread::get_id()) {
      std::promise<ThreadId> ran;
      turns.Bring([&] { ran.set_value(std::this_thread::get_id()); });
      by = ran.get_future().get();
    }
  }
  ~Fixture() {
    mailbox.Post([this] { stop = true; });
    thread.join();
  }
  std::optional<TimeUs> Turn() {
    for (Mailbox::Task& task : mailbox.TakeAll()) task();
    ++turn_count;
    if (stop) return std::nullopt;
    return next_us == kNoDeadline ? SystemClock().NowUs() + 3'600'000'000 : next_us.load();
  }

  Mailbox mailbox;
  std::atomic<TimeUs> next_us{kNoDeadline};
  std::atomic<int> turn_count{0};
  bool stop = false;
  Turns turns{SystemClock(), mailbox, [this] { return Turn(); }};
  std::promise<void> begun;
  std::thread thread;
  ThreadId id;
};

TEST_CASE("who brings something while the loop sleeps takes its turn, and keeps what follows") {
  Fixture f;
  const ThreadId own = std::this_thread::get_id();
  std::string order;
  std::vector<ThreadId> by;
  const auto note = [&](char what) {
    order += what;
    by.push_back(std::this_thread::get_id());
  };
  f.mailbox.Leave([&] { note('a'); });  // nobody was woken for it: it goes first
  f.turns.Bring([&] {
    note('b');
    Turns::Job first = [&] {
      note('d');
      f.turns.Bring([&] {
        note('e');
        Turns::Job next = [&] { note('g'); };
        CHECK(f.turns.Keep(next));
      });
      note('f');  // what was kept waits for this job's end
    };
    CHECK(f.turns.Keep(first));
    Turns::Job second = [&] { note('x'); };
    CHECK_FALSE(f.turns.Keep(second));  // one is kept
    CHECK(second);
    note('c');
  });
  CHECK(order == "abcdefg");
  CHECK(by == std::vector(7, own));
}

TEST_CASE("nothing is kept of others' tasks, nor in the loop's own turns") {
  Fixture f;
  Turns::Job job = [] { FAIL("it was not kept"); };
  std::string order;
  f.mailbox.Leave([&] {
    CHECK_FALSE(f.turns.Keep(job));
    order += 'a';
  });
  f.turns.Bring([&] { order += 'b'; });
  CHECK(order == "ab");
  std::promise<ThreadId> posted;
  f.mailbox.Post([&] {
    CHECK_FALSE(f.turns.Keep(job));
    posted.set_value(std::this_thread::get_id());
  });
  CHECK(posted.get_future().get() == f.id);
}

TEST_CASE("what is brought while another turn runs is done behind it, by the loop") {
  Fixture f;
  std::promise<void> inside;
  std::promise<void> go_on;
  std::thread other([&] {
    f.turns.Bring([&] {
      inside.set_value();
      go_on.get_future().wait();
    });
  });
  inside.get_future().wait();
  std::promise<ThreadId> ran;
  f.turns.Bring([&] { ran.set_value(std::this_thread::get_id()); });
  go_on.set_value();
  CHECK(ran.get_future().get() == f.id);
  other.join();
}

TEST_CASE("what a turn brings itself is done in the next one") {
  Fixture f;
  std::promise<ThreadId> ran;
  std::atomic<bool> in_turn{true};
  f.turns.Bring([&] {
    f.turns.Bring([&] {
      CHECK_FALSE(in_turn);
      ran.set_value(std::this_thread::get_id());
    });
    in_turn = false;
  });
  CHECK(ran.get_future().get() == f.id);
}

TEST_CASE("a turn that is due sooner than the loop sleeps wakes it") {
  Fixture f;
  const int before = f.turn_count;
  f.turns.Bring([&] { f.next_us = SystemClock().NowUs(); });
  while (f.turn_count < before + 3) std::this_thread::yield();  // again and again, since it is due
  f.next_us = kNoDeadline;
}

TEST_CASE("after the end nobody brings a turn") {
  Mailbox mailbox;
  Turns turns(SystemClock(), mailbox, []() -> std::optional<TimeUs> {
    FAIL("a turn");
    return std::nullopt;
  });
  turns.Close();
  turns.Bring([] { FAIL("a task"); });
  CHECK(mailbox.TakeAll().size() == 1);
}

TEST_CASE("many threads bring, and each task is done once, one at a time") {
  constexpr int kThreads = 4;
  constexpr int kTasks = 500;
  Fixture f;
  int done = 0;  // of turns only
  std::atomic<int> kept{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int task = 0; task < kTasks; ++task) {
        f.turns.Bring([&] {
          ++done;
          Turns::Job job = [&] { ++kept; };
          if (!f.turns.Keep(job)) job();
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::promise<int> count;
  f.mailbox.Post([&] { count.set_value(done); });
  CHECK(count.get_future().get() == kThreads * kTasks);
  CHECK(kept == kThreads * kTasks);
}

}  // namespace
}  // namespace baton
