#include "engine/schedule/llm_scheduler.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <random>
#include <set>

namespace baton {
namespace {

constexpr int32_t kBlockTokens = 8;

SequenceArrival Arrival(uint64_t id, int32_t prompt, int32_t max_tokens) {
  return {.id = SequenceId(id), .prompt_tokens = prompt, .max_tokens = max_tokens};
}

// A completion of everything in the batch, with the given sequences at their end.
BatchCompletion Done(const PlannedBatch& batch, const std::vector<SequenceId>& ended = {}) {
  BatchCompletion completion{.executor = batch.executor, .items = {}};
  for (const PlannedItem& item : batch.items) {
    const bool ends = std::find(ended.begin(), ended.end(), item.sequence) != ended.end();
    completion.items.push_back(
        {.sequence = item.sequence, .ended = ends, .generated = item.sample ? 1 : 0});
  }
  return completion;
}

TEST_CASE("a sequence is prefilled in chunks, handed over, decoded, released") {
  const ScheduleOptions options{.prefill_chunk_tokens_max = 4, .plans_in_flight_max = 1};
  LlmScheduler scheduler(options, 10, kBlockTokens);

  Plan plan = scheduler.Step({.arrived = {Arrival(1, 10, 2)}}, 0);
  CHECK(plan.admitted == std::vector{SequenceId(1)});
  CHECK(scheduler.blocks_reserved() == 2);  // 11 positions
  std::vector<int32_t> chunks;
  while (!plan.batches.empty()) {
    REQUIRE(plan.batches.size() == 1);
    REQUIRE(plan.batches[0].items.size() == 1);
    const PlannedItem item = plan.batches[0].items[0];
    CHECK(item.work_class == WorkClass::kPrefill);
    CHECK(item.sample == (item.position + item.tokens == 10));
    chunks.push_back(item.tokens);
    plan = scheduler.Step({.completed = {Done(plan.batches[0])}}, 0);
  }
  CHECK(chunks == std::vector<int32_t>{4, 4, 2});

  // Nothing is decoded before the KV is where it decodes.
  CHECK(scheduler.Step({}, 0).batches.empty());
  plan = scheduler.Step({.handed_over = {SequenceId(1)}}, 0);
  REQUIRE(plan.batches.size() == 1);
  CHECK(plan.batches[0].items[0].work_class == WorkClass::kDecode);
  CHECK(plan.batches[0].items[0].position == 10);

  plan = scheduler.Step({.completed = {Done(plan.batches[0])}}, 0);
  CHECK(plan.batches.empty());
  CHECK(plan.released == std::vector{SequenceId(1)});
  CHECK(scheduler.blocks_reserved() == 0);
  CHECK(scheduler.running_count() == 0);
}

TEST_CASE("what is cached of a prompt as it is admitted is not planned") {
  std::vector<SequenceId> asked;
  LlmScheduler scheduler({.sequences_running_max = 1, .plans_in_flight_max = 1}, 10, kBlockTokens,
                         [&asked](SequenceId id) {
                           asked.push_back(id);
                           return 8;
                         });
  const Plan plan = scheduler.Step({.arrived = {Arrival(1, 10, 2), Arrival(2, 10, 2)}}, 0);
  CHECK(asked == std::vector{SequenceId(1)});
  CHECK(scheduler.blocks_reserved() == 2);  // the worst case all the same
  REQUIRE(plan.batches.size() == 1);
  REQUIRE(plan.batches[0].items.size() == 1);
  CHECK(plan.batches[0].items[0].position == 8);
  CHECK(plan.batches[0].items[0].tokens == 2);
  CHECK(plan.batches[0].items[0].sample);
}

// Steps a scheduler until `id` decodes alone, with one plan in flight at most.
PlannedBatch StartDecoding(LlmScheduler& scheduler, uint64_t id, int32_t prompt, int32_t max) {
  Plan plan = scheduler.Step({.arrived = {Arrival(id, prompt, max)}}, 0);
  plan =
      scheduler.Step({.completed = {Done(plan.batches.at(0))}, .handed_over = {SequenceId(id)}}, 0);
  return plan.batches.at(0);
}

TEST_CASE("decodes come first, prompt chunks fill the rest of the step") {
  const ScheduleOptions options{
      .step_tokens_max = 6, .prefill_chunk_tokens_max = 100, .plans_in_flight_max = 1};
  LlmScheduler scheduler(options, 100, kBlockTokens);
  const PlannedBatch decode = StartDecoding(scheduler, 1, 4, 50);
  const Plan plan = scheduler.Step(
      {.arrived = {Arrival(2, 20, 5), Arrival(3, 20, 5)}, .completed = {Done(decode)}}, 0);
  REQUIRE(plan.batches.size() == 1);
  const auto& items = plan.batches[0].items;
  REQUIRE(items.size() == 2);
  CHECK(items[0].sequence == SequenceId(1));
  CHECK(items[0].tokens == 1);
  CHECK(items[1].sequence == SequenceId(2));
  CHECK(items[1].tokens == 5);
}

TEST_CASE("two plans may be in flight; the second names the slot's coming token") {
  LlmScheduler scheduler({}, 100, kBlockTokens);
  const PlannedBatch first = StartDecoding(scheduler, 1, 4, 50);
  Plan plan = scheduler.Step({}, 0);
  REQUIRE(plan.batches.size() == 1);
  CHECK(plan.batches[0].items[0].position == first.items[0].position + 1);
  const PlannedBatch second = plan.batches[0];
  CHECK(scheduler.Step({}, 0).batches.empty());  // no third

  SECTION("end of text: what was planned beyond it keeps the blocks until it is back") {
    plan = scheduler.Step({.completed = {Done(first, {SequenceId(1)})}}, 0);
    CHECK(plan.released.empty());
    CHECK(plan.batches.empty());
    plan = scheduler.Step({.completed = {Done(second)}}, 0);
    CHECK(plan.released == std::vector{SequenceId(1)});
  }
  SECTION("cancelled: told at once, released when nothing is in flight") {
    plan = scheduler.Step({.cancelled = {SequenceId(1)}}, 0);
    REQUIRE(plan.ended.size() == 1);
    CHECK(absl::IsCancelled(plan.ended[0].status));
    CHECK(plan.released.empty());
    plan = scheduler.Step({.completed = {Done(first), Done(second)}}, 0);
    CHECK(plan.released == std::vector{SequenceId(1)});
    CHECK(plan.ended.empty());
  }
}

// The completion of a decode that gave `generated` tokens, with guesses for what follows.
BatchCompletion Guessed(const PlannedBatch& batch, int32_t generated, int32_t draft) {
  BatchCompletion completion = Done(batch);
  completion.items.at(0).generated = generated;
  completion.items.at(0).draft = draft;
  return completion;
}

TEST_CASE("guesses are planned with the next token, and what they got wrong is planned again") {
  LlmScheduler scheduler({}, 100, kBlockTokens);
  Plan plan = scheduler.Step({.arrived = {Arrival(1, 4, 12)}}, 0);
  plan = scheduler.Step(
      {.completed = {Guessed(plan.batches.at(0), 1, 3)}, .handed_over = {SequenceId(1)}}, 0);
  REQUIRE(plan.batches.at(0).items.at(0).tokens == 4);
  CHECK(plan.batches[0].items[0].position == 4);
  CHECK(scheduler.Step({}, 0).batches.empty());  // how far it gets is not known yet

  SECTION("some are right") {
    plan = scheduler.Step({.completed = {Guessed(plan.batches[0], 2, 0)}}, 0);
    CHECK(plan.batches.at(0).items.at(0).position == 6);
    CHECK(plan.batches[0].items[0].tokens == 1);
    CHECK(scheduler.Step({}, 0).batches.empty());  // somebody guesses, though nothing this time
  }
  SECTION("nobody guesses any more: planned ahead again") {
    plan = scheduler.Step({.completed = {Guessed(plan.batches[0], 4, kPlanAhead)}}, 0);
    CHECK(plan.batches.at(0).items.at(0).position == 8);
    plan = scheduler.Step({}, 0);
    CHECK(plan.batches.at(0).items.at(0).position == 9);
  }
  SECTION("no more than max_tokens") {
    plan = scheduler.Step({.completed = {Guessed(plan.batches[0], 4, 50)}}, 0);
    CHECK(plan.batches.at(0).items.at(0).tokens == 7);  // 5 of 12 are there
    plan = scheduler.Step({.completed = {Guessed(plan.batches[0], 7, 9)}}, 0);
    CHECK(plan.batches.empty());
    CHECK(plan.released == std::vector{SequenceId(1)});
  }
}

TEST_CASE("guesses are left out where many sequences decode, and where the step has no room") {
  const auto decode_three = [](LlmScheduler& scheduler) {
    ScheduleEvents events;
    for (uint64_t id = 1; id <= 3; ++id) {
      events.arrived.push_back(Arrival(id, 2, 40));
      events.handed_over.emplace_back(id);
    }
    const Plan plan = scheduler.Step({.arrived = events.arrived}, 0);
    BatchCompletion completion = Done(plan.batches.at(0));
    for (BatchCompletion::Item& item : completion.items) item.draft = 5;
    return scheduler.Step({.completed = {completion}, .handed_over = events.handed_over}, 0);
  };
  SECTION("many") {
    LlmScheduler scheduler({.draft_sequences_max = 2}, 100, kBlockTokens);
    const Plan plan = decode_three(scheduler);
    for (const PlannedItem& item : plan.batches.at(0).items) CHECK(item.tokens == 1);
    CHECK(scheduler.Step({}, 0).batches.size() == 1);  // planned ahead
  }
  SECTION("no room: everybody's next token comes first") {
    LlmScheduler scheduler({.step_tokens_max = 9}, 100, kBlockTokens);
    const Plan plan = decode_three(scheduler);
    std::vector<int32_t> tokens;
    for (const PlannedItem& item : plan.batches.at(0).items) tokens.push_back(item.tokens);
    CHECK(tokens == std::vector<int32_t>{6, 2, 1});
  }
}

TEST_CASE("it says where guesses would be planned") {
  LlmScheduler scheduler({.draft_sequences_max = 1}, 100, kBlockTokens);
  CHECK(scheduler.PlansDrafts(0));
  const PlannedBatch first = StartDecoding(scheduler, 1, 4, 50);
  CHECK(scheduler.PlansDrafts(0));
  Plan plan = scheduler.Step({.arrived = {Arrival(2, 4, 50)}, .completed = {Done(first)}}, 0);
  CHECK_FALSE(scheduler.PlansDrafts(0));  // its prompt is planned to its end
  CHECK(scheduler.PlansDrafts(1));
  scheduler.Step({.cancelled = {SequenceId(2)}}, 0);
  CHECK(scheduler.PlansDrafts(0));
}

TEST_CASE("admission reserves the worst case and does not overtake") {
  LlmScheduler scheduler({}, 4, kBlockTokens);
  Plan plan =
      scheduler.Step({.arrived = {Arrival(1, 8, 17), Arrival(2, 8, 17), Arrival(3, 1, 1)}}, 0);
  CHECK(plan.admitted == std::vector{SequenceId(1)});  // 3 blocks; 2 does not fit, 3 must wait
  CHECK(scheduler.waiting_count() == 2);
  const PlannedBatch batch = plan.batches.at(0);
  plan = scheduler.Step({.completed = {Done(batch, {SequenceId(1)})}}, 0);
  CHECK(plan.admitted == std::vector{SequenceId(2), SequenceId(3)});
}

TEST_CASE("a higher priority is admitted first, equal ones by arrival") {
  const ScheduleOptions options{.sequences_running_max = 1};
  LlmScheduler scheduler(options, 100, kBlockTokens);
  const Plan first = scheduler.Step({.arrived = {Arrival(1, 1, 1)}}, 0);
  SequenceArrival high = Arrival(4, 1, 1);
  high.priority = 5;
  scheduler.Step({.arrived = {Arrival(2, 1, 1), Arrival(3, 1, 1), high}}, 0);
  std::vector<uint64_t> order;
  PlannedBatch batch = first.batches.at(0);
  for (int i = 0; i < 3; ++i) {
    const Plan plan = scheduler.Step({.completed = {Done(batch)}}, 0);
    REQUIRE(plan.admitted.size() == 1);
    order.push_back(plan.admitted[0].value());
    batch = plan.batches.at(0);
  }
  CHECK(order == std::vector<uint64_t>{4, 2, 3});
}

TEST_CASE("a full waiting line refuses with a retry hint") {
  const ScheduleOptions options{.sequences_running_max = 1, .sequences_waiting_max = 1};
  LlmScheduler scheduler(options, 100, kBlockTokens);
  scheduler.Step({.arrived = {Arrival(1, 1, 1)}}, 0);
  const Plan plan = scheduler.Step({.arrived = {Arrival(2, 1, 1), Arrival(3, 1, 1)}}, 0);
  REQUIRE(plan.ended.size() == 1);
  CHECK(plan.ended[0].sequence == SequenceId(3));
  CHECK(absl::IsResourceExhausted(plan.ended[0].status));
  CHECK(std::string(plan.ended[0].status.message()).find("retry") != std::string::npos);
}

TEST_CASE("deadlines end waiting and running sequences") {
  const ScheduleOptions options{.sequences_running_max = 1};
  LlmScheduler scheduler(options, 100, kBlockTokens);
  SequenceArrival running = Arrival(1, 1, 9);
  running.deadline_us = 100;
  SequenceArrival waiting = Arrival(2, 1, 9);
  waiting.deadline_us = 50;
  const Plan first = scheduler.Step({.arrived = {running, waiting}}, 0);
  CHECK(scheduler.NextDeadlineUs() == 50);
  CHECK(scheduler.Step({}, 49).ended.empty());
  CHECK(scheduler.Step({}, 50).ended.at(0).sequence == SequenceId(2));
  CHECK(scheduler.NextDeadlineUs() == 100);
  const Plan plan = scheduler.Step({.completed = {Done(first.batches.at(0))}}, 100);
  REQUIRE(plan.ended.size() == 1);
  CHECK(absl::IsDeadlineExceeded(plan.ended[0].status));
  CHECK(plan.released == std::vector{SequenceId(1)});
  CHECK(scheduler.NextDeadlineUs() == kNoDeadline);
}

TEST_CASE("prefill and decode on two executors are batched apart") {
  LlmScheduler scheduler({.plans_in_flight_max = 1}, 100, kBlockTokens);
  SequenceArrival a = Arrival(1, 4, 9);
  a.decode_executor = 1;
  SequenceArrival b = Arrival(2, 4, 9);
  b.decode_executor = 1;
  Plan plan = scheduler.Step({.arrived = {a}}, 0);
  plan = scheduler.Step(
      {.arrived = {b}, .completed = {Done(plan.batches.at(0))}, .handed_over = {SequenceId(1)}}, 0);
  REQUIRE(plan.batches.size() == 2);
  CHECK(plan.batches[0].executor == 0);
  CHECK(plan.batches[0].items.at(0).sequence == SequenceId(2));
  CHECK(plan.batches[1].executor == 1);
  CHECK(plan.batches[1].items.at(0).sequence == SequenceId(1));
}

// A model of the engine around the scheduler: completes batches in order, ends sequences at random,
// cancels at random, and checks what must hold at every step.
TEST_CASE("under random work every sequence ends once and nothing is overbooked") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto below = [&random](int n) {
    return static_cast<int>(random() % static_cast<unsigned>(n));
  };
  for (int round = 0; round < 30; ++round) {
    const ScheduleOptions options{.step_tokens_max = 1 + below(40),
                                  .prefill_chunk_tokens_max = 1 + below(30),
                                  .sequences_running_max = 1 + below(8),
                                  .sequences_waiting_max = 100,
                                  .plans_in_flight_max = 1 + below(2),
                                  .draft_sequences_max = 1 + below(4)};
    constexpr int32_t kBlocks = 12;
    LlmScheduler scheduler(options, kBlocks, kBlockTokens);
    std::map<SequenceId, SequenceArrival> live;
    std::map<SequenceId, int32_t> next_position;
    std::set<SequenceId> ended, released;
    std::map<int, std::deque<PlannedBatch>> in_flight;
    uint64_t next_id = 1;
    const auto idle = [&] { return scheduler.running_count() + scheduler.waiting_count() == 0; };
    for (int turn = 0; turn < 200 || (!idle() && turn < 100'000); ++turn) {
      ScheduleEvents events;
      if (turn < 200 && below(3) == 0) {
        SequenceArrival arrival = Arrival(next_id++, 1 + below(50), 1 + below(30));
        arrival.priority = below(3);
        arrival.decode_executor = below(2);
        live.emplace(arrival.id, arrival);
        events.arrived.push_back(arrival);
      }
      for (auto& [executor, queue] : in_flight) {
        if (queue.empty() || below(2) == 0) continue;
        const PlannedBatch batch = queue.front();
        queue.pop_front();
        BatchCompletion completion = Done(batch);
        for (size_t i = 0; i < batch.items.size(); ++i) {
          const PlannedItem& item = batch.items[i];
          BatchCompletion::Item& done = completion.items[i];
          done.ended = item.sample && below(10) == 0;
          if (item.work_class == WorkClass::kDecode) {
            done.generated = 1 + below(item.tokens);
            next_position[item.sequence] -= item.tokens - done.generated;
          }
          done.draft = below(8) - 1;
          if (done.ended) {
            // nothing follows
          } else if (item.work_class == WorkClass::kPrefill && item.sample) {
            events.handed_over.push_back(item.sequence);
          }
        }
        events.completed.push_back(completion);
      }
      if (below(20) == 0 && next_id > 1) {
        events.cancelled.emplace_back(1 + static_cast<uint64_t>(below(static_cast<int>(next_id))));
      }
      const Plan plan = scheduler.Step(events, turn);
      CHECK(scheduler.blocks_reserved() <= kBlocks);
      CHECK(scheduler.running_count() <= options.sequences_running_max);
      for (const Plan::Ended& e : plan.ended) CHECK(ended.insert(e.sequence).second);
      for (const SequenceId id : plan.released) {
        CHECK(released.insert(id).second);
        for (const auto& [executor, queue] : in_flight) {
          for (const PlannedBatch& batch : queue) {
            for (const PlannedItem& item : batch.items) CHECK(item.sequence != id);
          }
        }
      }
      for (const PlannedBatch& batch : plan.batches) {
        int32_t tokens = 0;
        for (const PlannedItem& item : batch.items) {
          tokens += item.tokens;
          CHECK(released.count(item.sequence) == 0);
          CHECK(item.position == next_position[item.sequence]);
          next_position[item.sequence] += item.tokens;
          const SequenceArrival& arrival = live.at(item.sequence);
          CHECK(next_position[item.sequence] <= arrival.prompt_tokens + arrival.max_tokens - 1);
          CHECK(batch.executor == (item.work_class == WorkClass::kPrefill
                                       ? arrival.prefill_executor
                                       : arrival.decode_executor));
        }
        CHECK(tokens <= options.step_tokens_max);
        in_flight[batch.executor].push_back(batch);
        CHECK(std::ssize(in_flight[batch.executor]) <= options.plans_in_flight_max);
      }
    }
    CHECK(scheduler.running_count() == 0);
    CHECK(scheduler.waiting_count() == 0);
    CHECK(scheduler.blocks_reserved() == 0);
  }
}

}  // namespace
}  // namespace baton
