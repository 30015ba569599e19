#include "fpga_kernels/hls/dataflow.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <string>

#include "fpga_kernels/hls/stream.h"

namespace baton::fpga {
namespace {

using Catch::Matchers::Contains;

void Count(int items, Stream<int>& out) {
  for (int i = 0; i < items; ++i) out.write(i);
}

int64_t SumInOrder(int items, Stream<int>& in) {
  int64_t wrong = 0;
  for (int i = 0; i < items; ++i) wrong += in.read() != i ? 1 : 0;
  return wrong;
}

template <int depth>
void PassThrough(int items) {
  Stream<int, depth> first("first");
  Stream<int, depth> second("second");
  int64_t wrong = -1;
  {
    BATON_DATAFLOW(region);
    BATON_PROCESS(region, Count(items, first));
    BATON_PROCESS(region, for (int i = 0; i < items; ++i) second.write(first.read()));
    BATON_PROCESS(region, wrong = SumInOrder(items, second));
  }
  CHECK(wrong == 0);
  CHECK(TakeDataflowFailure().empty());
}

// All to the left, then all to the right; whoever joins them wants one of each.
template <int depth>
std::string SplitAndJoin(int items) {
  Stream<int, depth> left("left");
  Stream<int, depth> right("right");
  {
    BATON_DATAFLOW(region);
    BATON_PROCESS(region, {
      Count(items, left);
      Count(items, right);
    });
    BATON_PROCESS(
        region, for (int i = 0; i < items; ++i) {
          left.read();
          right.read();
        });
  }
  return TakeDataflowFailure();
}

TEST_CASE("items come in order, whatever the depth") {
  for (const int items : {0, 1, 2, 1000}) {
    PassThrough<1>(items);
    PassThrough<2>(items);
    PassThrough<32>(items);
  }
}

TEST_CASE("a split that needs more depth than there is, is a deadlock that names the streams") {
  CHECK(SplitAndJoin<8>(8).empty());
  const std::string failure = SplitAndJoin<4>(8);
  CHECK_THAT(failure, Contains("deadlock"));
  CHECK_THAT(failure, Contains("writes stream left, full at depth 4"));
  CHECK_THAT(failure, Contains("reads stream right, empty at depth 4"));
}

TEST_CASE("two that wait for each other are a deadlock though others wait for them") {
  Stream<int, 4> there("there");
  Stream<int, 4> back("back");
  Stream<int, 4> result("result");
  {
    BATON_DATAFLOW(region);
    BATON_PROCESS(region, there.write(back.read()));
    BATON_PROCESS(region, {
      const int value = there.read();
      back.write(value);
      result.write(value);
    });
    BATON_PROCESS(region, result.read());
  }
  const std::string failure = TakeDataflowFailure();
  CHECK_THAT(failure, Contains("reads stream there"));
  CHECK_THAT(failure, Contains("reads stream back"));
  CHECK_THAT(failure, Contains("reads stream result"));
}

void Relay(int items, Stream<int>& in, Stream<int>& out) {
  Stream<int, 2> between("between");
  BATON_DATAFLOW(region);
  BATON_PROCESS(region, for (int i = 0; i < items; ++i) between.write(in.read()));
  BATON_PROCESS(region, for (int i = 0; i < items; ++i) out.write(between.read()));
}

TEST_CASE("regions within processes are neither mistaken for a deadlock nor hide one") {
  for (int round = 0; round < 200; ++round) {
    Stream<int, 1> first("first");
    Stream<int, 1> second("second");
    int64_t wrong = -1;
    {
      BATON_DATAFLOW(region);
      BATON_PROCESS(region, wrong = SumInOrder(20, second));
      BATON_PROCESS(region, {
        Relay(5, first, second);
        Relay(15, first, second);
      });
      BATON_PROCESS(region, Count(20, first));
    }
    REQUIRE(wrong == 0);
    REQUIRE(TakeDataflowFailure().empty());
  }
  Stream<int, 1> first("first");
  Stream<int, 1> second("second");
  {
    BATON_DATAFLOW(region);
    BATON_PROCESS(region, Relay(5, first, second));
    BATON_PROCESS(region, Count(4, first));
    BATON_PROCESS(region, SumInOrder(5, second));
  }
  CHECK_THAT(TakeDataflowFailure(), Contains("reads stream first"));
}

TEST_CASE("outside of processes nobody would end a wait") {
  Stream<int, 2> stream("alone");
  stream.write(7);
  CHECK(stream.read() == 7);
  CHECK(TakeDataflowFailure().empty());
  CHECK(stream.read() == 0);
  CHECK_THAT(TakeDataflowFailure(), Contains("the caller reads stream alone"));
  stream.write(1);
  stream.write(2);
  stream.write(3);
  CHECK_THAT(TakeDataflowFailure(), Contains("the caller writes stream alone, full at depth 2"));
}

}  // namespace
}  // namespace baton::fpga
