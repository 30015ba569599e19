#include "engine/schedule/block_ledger.h"

#include <catch2/catch.hpp>

#include "engine/schedule/length_forecast.h"

namespace baton {
namespace {

TEST_CASE("blocks in common count once, a sequence's own each, until the last holder is gone") {
  BlockLedger ledger(10);
  BlockLedger::Holding a = ledger.Hold({BlockId(4), BlockId(5)});
  ledger.Grow(a, 3);
  CHECK(a.count() == 5);
  CHECK(ledger.used() == 5);
  const std::vector<BlockId> wanted = {BlockId(5), BlockId(6)};
  CHECK(ledger.CountNew(wanted) == 1);
  BlockLedger::Holding b = ledger.Hold(wanted);
  CHECK(ledger.used() == 6);
  CHECK(ledger.free() == 4);
  ledger.Free(a);
  CHECK(a.count() == 0);
  CHECK(ledger.used() == 2);
  CHECK(ledger.CountNew(wanted) == 0);
  ledger.Grow(b, 8);
  CHECK(ledger.free() == 0);
  ledger.Free(b);
  ledger.Free(b);  // holds nothing any more
  CHECK(ledger.used() == 0);
}

TEST_CASE("the forecast follows what sequences use, and stays within what they may") {
  LengthForecast learning = LengthForecast::Learning();
  CHECK(learning.Expect(0, 100) == 50);
  CHECK(learning.Expect(50, 100) == 75);
  CHECK(learning.Expect(99, 100) == 100);
  CHECK(learning.Expect(100, 100) == 100);
  CHECK(learning.Expect(0, 1) == 1);
  for (int i = 0; i < 100; ++i) learning.ObserveEnd(10, 100);
  CHECK(learning.Expect(0, 100) == 11);
  CHECK(learning.Expect(0, 1) == 1);
  for (int i = 0; i < 100; ++i) learning.ObservePreemption();
  CHECK(learning.Expect(0, 100) == 100);
  for (int i = 0; i < 1000; ++i) learning.ObserveEnd(1, 1000000);
  CHECK(learning.Expect(7, 1000) == 8);  // one more at least

  LengthForecast worst_case = LengthForecast::WorstCase();
  worst_case.ObserveEnd(1, 100);
  CHECK(worst_case.Expect(0, 100) == 100);
}

}  // namespace
}  // namespace baton
