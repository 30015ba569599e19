#include "engine/base/cpu_set.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <latch>
#include <map>
#include <string>
#include <thread>

#include "engine/base/thread_placement.h"

namespace baton {
namespace {

TEST_CASE("lists of processors are read and written as Linux does") {
  for (const char* list : {"", "0", "0-3", "0-3,8", "1,3,5-7,8191"}) {
    INFO(list);
    const auto read = CpuSet::Parse(list);
    REQUIRE(read.ok());
    CHECK(CpuSet::Parse(read->ToString()).value() == *read);
    CHECK(read->ToString() == list);
  }
  CHECK(CpuSet::Parse("3,1,2,2")->ToString() == "1-3");
  for (const char* list : {",", "1,", ",1", "-1", "1-", "3-1", "a", "1 2", "8192", "0-8192", "1--2",
                           "99999999999", "0x1"}) {
    INFO(list);
    CHECK(absl::IsInvalidArgument(CpuSet::Parse(list).status()));
  }
}

TEST_CASE("sets of processors are joined, cut and compared") {
  const CpuSet a({0, 1, 2, 3});
  const CpuSet b({2, 3, 4});
  CHECK((a | b) == CpuSet({0, 1, 2, 3, 4}));
  CHECK((a & b) == CpuSet({2, 3}));
  CHECK((a - b) == CpuSet({0, 1}));
  CHECK((b - b).empty());
  CHECK(a.Contains(CpuSet({1, 3})));
  CHECK(a.Contains({}));
  CHECK_FALSE(a.Contains(b));
}

TEST_CASE("a bound thread and those that it starts stay where they are put") {
  const CpuSet allowed = ThreadCpus();
  REQUIRE_FALSE(allowed.empty());
  const CpuSet one({allowed.cpus().back()});
  std::thread([&] {
    REQUIRE(BindThread(one).ok());
    CHECK(ThreadCpus() == one);
    std::thread([&] { CHECK(ThreadCpus() == one); }).join();
    // None of these is there: refused, and nothing has changed.
    CHECK(absl::IsFailedPrecondition(BindThread(CpuSet({CpuSet::kCpusMax - 1}))));
    CHECK(absl::IsFailedPrecondition(BindThread({})));
    CHECK(ThreadCpus() == one);
  }).join();
  CHECK(ThreadCpus() == allowed);
}

TEST_CASE("all threads of the process are bound at once") {
  const CpuSet allowed = ThreadCpus();
  const CpuSet one({allowed.cpus().front()});
  std::latch bound(1);
  CpuSet seen;
  std::thread other([&] {
    bound.wait();
    seen = ThreadCpus();
  });
  CHECK(BindAllThreads(one).ok());
  bound.count_down();
  other.join();
  CHECK(seen == one);
  CHECK(ThreadCpus() == one);
  REQUIRE(BindAllThreads(allowed).ok());
  CHECK(ThreadCpus() == allowed);
}

TEST_CASE("threads are spread over the groups by their sizes") {
  const ThreadPlacement placement({CpuSet({0, 1, 2, 3, 4, 5}), CpuSet({8, 9})});
  CHECK(placement.ThreadsMax() == 8);
  CHECK(placement.cpus().ToString() == "0-5,8-9");
  for (const int count : {1, 2, 4, 8, 16, 7}) {
    std::map<std::string, int> threads;
    for (int i = 0; i < count; ++i) {
      ++threads[placement.CpusOf({.index = i, .count = count}).ToString()];
    }
    INFO(count << " threads");
    // As many as the share of the processors, rounded.
    CHECK(threads["0-5"] >= count * 6 / 8);
    CHECK(threads["0-5"] <= (count * 6 + 7) / 8);
    CHECK(threads["0-5"] + threads["8-9"] == count);
  }
}

TEST_CASE("without groups threads run where whoever starts them does") {
  const ThreadPlacement anywhere;
  CHECK(anywhere.anywhere());
  CHECK(anywhere.ThreadsMax() == ThreadCpus().size());
  CHECK(PoolThreads(0) == std::min(4, ThreadCpus().size()));
  std::thread([&] {  // as in a container that has one processor of the machine's
    REQUIRE(BindThread(CpuSet({ThreadCpus().cpus().front()})).ok());
    CHECK(anywhere.ThreadsMax() == 1);
    CHECK(PoolThreads(0) == 1);
    CHECK(PoolThreads(3) == 3);
  })
      .join();
  CHECK(anywhere.CpusOf({}).empty());
  const CpuSet before = ThreadCpus();
  anywhere.Bind({});
  CHECK(ThreadCpus() == before);
}

TEST_CASE("a placement that the system refuses leaves the thread running where it was") {
  const ThreadPlacement elsewhere({CpuSet({CpuSet::kCpusMax - 1})});
  std::thread([&] {
    const CpuSet before = ThreadCpus();
    elsewhere.Bind({});
    CHECK(ThreadCpus() == before);
  }).join();
}

}  // namespace
}  // namespace baton
