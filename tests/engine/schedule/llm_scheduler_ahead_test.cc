// Blocks that are copied to where a sequence decodes while its prompt is still computed.
#include <catch2/catch.hpp>
#include <utility>
#include <vector>

#include "engine/schedule/llm_scheduler.h"

namespace baton {
namespace {

constexpr int32_t kBlockTokens = 8;
const ScheduleOptions kChunked{.prefill_chunk_tokens_max = 12, .plans_in_flight_max = 1};

// Executor 0 has pool 0, executor 1 pool 1.
KvPools Pools(int32_t blocks_decode, int32_t ahead_blocks_min) {
  return {.block_counts = {20, blocks_decode},
          .of_executor = {0, 1},
          .ahead_blocks_min = ahead_blocks_min};
}

SequenceArrival Arrival(uint64_t id, int32_t prompt, int32_t max_tokens = 4) {
  return {.id = SequenceId(id),
          .prompt_tokens = prompt,
          .max_tokens = max_tokens,
          .prefill_executor = 0,
          .decode_executor = 1};
}

BatchCompletion Done(const PlannedBatch& batch) {
  BatchCompletion completion{.executor = batch.executor, .items = {}};
  for (const PlannedItem& item : batch.items) {
    const bool prefill = item.work_class == WorkClass::kPrefill;
    completion.items.push_back({.sequence = item.sequence,
                                .generated = item.sample ? 1 : 0,
                                .prefilled = prefill ? item.tokens : 0});
  }
  return completion;
}

// What each step grants ahead, until the sequence is to be handed over.
std::vector<int32_t> AheadOf(LlmScheduler& scheduler, const SequenceArrival& arrival) {
  std::vector<int32_t> blocks;
  Plan plan = scheduler.Step({.arrived = {arrival}}, 0);
  while (plan.hand_over.empty()) {
    for (const Plan::Ahead& ahead : plan.ahead) {
      CHECK(ahead.sequence == arrival.id);
      CHECK(!ahead.layers);
      CHECK(ahead.tokens % kBlockTokens == 0);
      blocks.push_back(ahead.tokens / kBlockTokens);
    }
    REQUIRE(plan.batches.size() == 1);
    plan = scheduler.Step({.completed = {Done(plan.batches[0])}}, 0);
  }
  CHECK(plan.ahead.empty());
  return blocks;
}

TEST_CASE("whole blocks go ahead as they are computed, and the rest with the handoff") {
  LlmScheduler scheduler(kChunked, Pools(20, 1), kBlockTokens);
  // After 12, 24, 36 tokens; the last chunk's are handed over.
  CHECK(AheadOf(scheduler, Arrival(1, 44)) == std::vector<int32_t>{1, 3, 4});
  const Plan plan = scheduler.Step({.handed_over = {SequenceId(1)}}, 0);
  REQUIRE(plan.batches.size() == 1);
  CHECK(plan.batches[0].executor == 1);
  CHECK(scheduler.blocks_reserved(0) == 0);
  scheduler.Step({.completed = {Done(plan.batches[0])}, .cancelled = {SequenceId(1)}}, 0);
  CHECK(scheduler.blocks_reserved() == 0);
}

TEST_CASE("few blocks wait for more, and none go ahead where that is off") {
  LlmScheduler three(kChunked, Pools(20, 3), kBlockTokens);
  CHECK(AheadOf(three, Arrival(1, 60)) == std::vector<int32_t>{3, 6});
  LlmScheduler never(kChunked, Pools(20, 0), kBlockTokens);
  CHECK(AheadOf(never, Arrival(1, 60)).empty());
}

TEST_CASE("nothing goes ahead to where the sequence is, or what the far side has") {
  LlmScheduler scheduler(kChunked, Pools(20, 1), kBlockTokens);
  SequenceArrival here = Arrival(1, 44);
  here.decode_executor = 0;
  Plan plan = scheduler.Step({.arrived = {here}}, 0);
  for (int i = 0; i < 4 && !plan.batches.empty(); ++i) {
    CHECK(plan.ahead.empty());
    plan = scheduler.Step({.completed = {Done(plan.batches[0])}}, 0);
  }
  LlmScheduler cached(kChunked, Pools(20, 1), kBlockTokens, [](SequenceId, int pool) {
    return pool == 1 ? std::vector{BlockId(5), BlockId(6)} : std::vector<BlockId>();
  });
  // The second step finds the first two there, which are no reason to ask for more.
  CHECK(AheadOf(cached, Arrival(1, 44)) == std::vector<int32_t>{1, 3, 4});
  CHECK(cached.blocks_reserved(1) == 6);
}

// What each step grants ahead: tokens, and whether by layers.
std::vector<std::pair<int32_t, bool>> GrantsOf(LlmScheduler& scheduler,
                                               const SequenceArrival& arrival) {
  std::vector<std::pair<int32_t, bool>> grants;
  Plan plan = scheduler.Step({.arrived = {arrival}}, 0);
  while (plan.hand_over.empty()) {
    for (const Plan::Ahead& ahead : plan.ahead) grants.emplace_back(ahead.tokens, ahead.layers);
    REQUIRE(plan.batches.size() == 1);
    plan = scheduler.Step({.completed = {Done(plan.batches[0])}}, 0);
  }
  CHECK(plan.ahead.empty());
  return grants;
}

TEST_CASE("all of a text goes ahead while its last chunk is in flight, where layers are told") {
  KvPools pools = Pools(20, 1);
  pools.tells_layers = {true, false};
  LlmScheduler scheduler(kChunked, pools, kBlockTokens);
  using Grants = std::vector<std::pair<int32_t, bool>>;
  CHECK(GrantsOf(scheduler, Arrival(1, 44)) ==
        Grants{{8, false}, {24, false}, {32, false}, {44, true}});
  CHECK(scheduler.blocks_reserved(1) == 6);  // of 47 positions
  LlmScheduler one_chunk(kChunked, pools, kBlockTokens);
  CHECK(GrantsOf(one_chunk, Arrival(1, 12)) == Grants{{12, true}});
  // Too few, and where another executor prefills, which tells nothing.
  pools.ahead_blocks_min = 3;
  LlmScheduler few(kChunked, pools, kBlockTokens);
  CHECK(GrantsOf(few, Arrival(1, 12)).empty());
  SequenceArrival back = Arrival(2, 44);
  std::swap(back.prefill_executor, back.decode_executor);
  CHECK(GrantsOf(few, back) == Grants{{24, false}});
}

TEST_CASE("where blocks differ in size, what goes ahead is whole in both pools") {
  using Grants = std::vector<std::pair<int32_t, bool>>;
  for (const std::vector<int32_t>& sizes : {std::vector{8, 16}, std::vector{16, 8}}) {
    CAPTURE(sizes[0], sizes[1]);
    KvPools pools = Pools(20, 1);
    pools.block_tokens = sizes;
    LlmScheduler scheduler(kChunked, pools, kBlockTokens);
    CHECK(GrantsOf(scheduler, Arrival(1, 44)) == Grants{{16, false}, {32, false}});
    // Each counts its own blocks: of 44 positions here, and of all there may be there.
    CHECK(scheduler.blocks_reserved(0) == (44 + sizes[0] - 1) / sizes[0]);
    CHECK(scheduler.blocks_reserved(1) == (47 + sizes[1] - 1) / sizes[1]);
    CHECK(scheduler.BlocksFor(44, 4, 0) == (47 + sizes[0] - 1) / sizes[0]);
    scheduler.Step({.handed_over = {SequenceId(1)}}, 0);
    CHECK(scheduler.blocks_reserved(0) == 0);
  }
}

TEST_CASE("blocks ahead are given back with a sequence that ends") {
  LlmScheduler scheduler(kChunked, Pools(20, 1), kBlockTokens);
  Plan plan = scheduler.Step({.arrived = {Arrival(1, 44)}}, 0);
  plan = scheduler.Step({.completed = {Done(plan.batches[0])}}, 0);
  REQUIRE(plan.ahead.size() == 1);
  const PlannedBatch in_flight = plan.batches[0];
  plan = scheduler.Step({.cancelled = {SequenceId(1)}}, 0);
  CHECK(plan.released.empty());  // a batch names it
  plan = scheduler.Step({.completed = {Done(in_flight)}}, 0);
  CHECK(plan.released == std::vector{SequenceId(1)});
  CHECK(plan.ahead.empty());
  CHECK(scheduler.blocks_reserved() == 0);
}

}  // namespace
}  // namespace baton
