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
                         [&asked](SequenceId id, int) {
                           asked.push_back(id);
                           return std::vector{BlockId(3)};
                         });
  const Plan plan = scheduler.Step({.arrived = {Arrival(1, 10, 2), Arrival(2, 10, 2)}}, 0);
  CHECK(asked == std::vector{SequenceId(1)});
  CHECK(scheduler.blocks_reserved() == 2);  // all that it holds
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

TEST_CASE("chunks beside decodes are cut to the time that steps take, small prompts first") {
  const ScheduleOptions options{.decode_stall_percent_max = 200, .plans_in_flight_max = 1};
  LlmScheduler scheduler(options, 1000, kBlockTokens);
  Plan plan = scheduler.Step({.arrived = {Arrival(1, 10, 500)}}, 0);
  const auto done = [](const PlannedBatch& batch, TimeUs run_us) {
    BatchCompletion completion = Done(batch);
    for (const PlannedItem& item : batch.items) {
      const bool prompt = item.work_class == WorkClass::kPrefill;
      (prompt ? completion.prompt_tokens : completion.decode_tokens) += item.tokens;
    }
    completion.run_us = run_us;
    return completion;
  };
  // 100 us a prompt token, 3.2 ms a decode, 3.3 ms two of them: twice that is 6.6 ms.
  plan = scheduler.Step(
      {.completed = {done(plan.batches.at(0), 1000)}, .handed_over = {SequenceId(1)}}, 0);
  plan = scheduler.Step(
      {.arrived = {Arrival(2, 200, 5)}, .completed = {done(plan.batches.at(0), 3200)}}, 0);
  REQUIRE(plan.batches.at(0).items.size() == 2);
  CHECK(plan.batches[0].items[1].sequence == SequenceId(2));
  CHECK(plan.batches[0].items[1].tokens == 34);
  // Of what there is room for the oldest keeps half, but for what it has had beyond that.
  plan = scheduler.Step(
      {.arrived = {Arrival(3, 85, 5)}, .completed = {done(plan.batches[0], 6600)}}, 0);
  REQUIRE(plan.batches.at(0).items.size() == 3);
  CHECK(plan.batches[0].items[1].sequence == SequenceId(3));
  CHECK(plan.batches[0].items[1].tokens == 35);
  CHECK(plan.batches[0].items[2].sequence == SequenceId(2));
  CHECK(plan.batches[0].items[2].tokens == 1);
  for (int i = 0; i < 2; ++i) {
    plan = scheduler.Step({.completed = {done(plan.batches[0], 6800)}}, 0);
    CHECK(plan.batches.at(0).items.at(1).tokens == 18);
    CHECK(plan.batches[0].items.at(2).tokens == 18);
  }
  // What the small one leaves is the other's.
  plan = scheduler.Step({.completed = {done(plan.batches[0], 6800)}}, 0);
  CHECK(plan.batches.at(0).items.at(1).tokens == 85 - 35 - 2 * 18);
  CHECK(plan.batches[0].items.at(2).tokens == 36 - 14);
}

TEST_CASE("a short prompt ends in a step that is little longer for it") {
  // A step takes 60 ms, a chunk 80 ms and 1 ms for each token: 20 have room in 160 ms.
  const int32_t tokens = GENERATE(30, 60);
  LlmScheduler scheduler({.decode_stall_percent_max = 250, .plans_in_flight_max = 1}, 1000,
                         kBlockTokens);
  const auto done = [](const PlannedBatch& batch) {
    BatchCompletion completion = Done(batch);
    for (const PlannedItem& item : batch.items) {
      const bool prompt = item.work_class == WorkClass::kPrefill;
      (prompt ? completion.prompt_tokens : completion.decode_tokens) += item.tokens;
    }
    completion.run_us = (completion.decode_tokens > 0 ? 60'000 : 0) +
                        (completion.prompt_tokens > 0 ? 80'000 : 0) +
                        1'000 * completion.prompt_tokens;
    return completion;
  };
  Plan plan = scheduler.Step({.arrived = {Arrival(1, 300, 500)}}, 0);
  plan =
      scheduler.Step({.completed = {done(plan.batches.at(0))}, .handed_over = {SequenceId(1)}}, 0);
  plan = scheduler.Step({.arrived = {Arrival(2, 2000, 5)}, .completed = {done(plan.batches.at(0))}},
                        0);
  for (int i = 0; i < 3; ++i) plan = scheduler.Step({.completed = {done(plan.batches.at(0))}}, 0);
  const int32_t room = plan.batches.at(0).items.at(1).tokens;
  CHECK(room < 30);
  plan = scheduler.Step(
      {.arrived = {Arrival(3, tokens, 5)}, .completed = {done(plan.batches.at(0))}}, 0);
  const PlannedItem& item = plan.batches.at(0).items.at(1);
  CHECK(item.sequence == SequenceId(3));
  CHECK(item.sample == (tokens == 30));
}

TEST_CASE("while a long step with cut chunks is in flight no other is planned") {
  const TimeUs step_us = GENERATE(30'000, 3'000);
  LlmScheduler scheduler({.decode_stall_percent_max = 200}, 1000, kBlockTokens);
  const auto done = [&](const PlannedBatch& batch, TimeUs run_us) {
    BatchCompletion completion = Done(batch);
    for (const PlannedItem& item : batch.items) {
      const bool prompt = item.work_class == WorkClass::kPrefill;
      (prompt ? completion.prompt_tokens : completion.decode_tokens) += item.tokens;
    }
    completion.run_us = run_us;
    return completion;
  };
  Plan plan = scheduler.Step({.arrived = {Arrival(1, 16, 500)}}, 0);
  plan = scheduler.Step(
      {.completed = {done(plan.batches.at(0), step_us)}, .handed_over = {SequenceId(1)}}, 0);
  const PlannedBatch first = plan.batches.at(0);  // another one is planned behind it
  plan = scheduler.Step({}, 0);
  const PlannedBatch second = plan.batches.at(0);
  plan = scheduler.Step({.arrived = {Arrival(2, 400, 5)}, .completed = {done(first, step_us)}}, 0);
  REQUIRE(plan.batches.at(0).items.size() == 2);
  const PlannedBatch cut = plan.batches[0];
  CHECK(cut.items[1].tokens < 50);
  plan = scheduler.Step({.completed = {done(second, step_us)}}, 0);
  CHECK(plan.batches.size() == (step_us == 30'000 ? 0 : 1));
  if (step_us == 30'000) plan = scheduler.Step({.completed = {done(cut, 2 * step_us)}}, 0);
  CHECK(plan.batches.at(0).items.size() == 2);
}

TEST_CASE("where a batch can pause, long prompts have their own, and short ones go with decodes") {
  LlmScheduler scheduler({.decode_stall_percent_max = 250, .plans_in_flight_max = 2},
                         {.block_counts = {2000}, .pauses = {true}}, kBlockTokens);
  // A step takes 60 ms, a chunk 20 ms and 1 ms for each token: 70 have room in 150 ms.
  const auto done = [](const PlannedBatch& batch) {
    BatchCompletion completion = Done(batch);
    for (const PlannedItem& item : batch.items) {
      const bool prompt = item.work_class == WorkClass::kPrefill;
      (prompt ? completion.prompt_tokens : completion.decode_tokens) += item.tokens;
    }
    completion.pausing = batch.pause_after_us.has_value();
    completion.overtakes = batch.overtakes;
    completion.run_us = (completion.decode_tokens > 0 ? 60'000 : 0) +
                        (completion.prompt_tokens > 0 ? 20'000 : 0) +
                        1'000 * completion.prompt_tokens;
    return completion;
  };
  const auto first_of = [](const PlannedBatch& batch) {
    return batch.items.at(0).sequence.value();
  };
  // Alone a prompt need not pause for anybody.
  Plan plan = scheduler.Step({.arrived = {Arrival(1, 300, 500)}}, 0);
  CHECK_FALSE(plan.batches.at(0).pause_after_us);
  plan =
      scheduler.Step({.completed = {done(plan.batches.at(0))}, .handed_over = {SequenceId(1)}}, 0);
  plan = scheduler.Step({.completed = {done(plan.batches.at(0))}}, 0);
  const PlannedBatch before = plan.batches.at(0);

  // Beside what is in flight the whole chunk is planned.
  plan = scheduler.Step({.arrived = {Arrival(2, 1200, 5), Arrival(3, 650, 5)}}, 0);
  REQUIRE(plan.batches.size() == 2);
  CHECK(plan.batches[0].items.size() == 1);
  const PlannedBatch pausing = plan.batches[1];
  CHECK(pausing.items.size() == 1);
  CHECK(first_of(pausing) == 2);
  CHECK(pausing.items[0].tokens == 512);
  // Three are to decode some day; twice and a half of that, without the step itself.
  CHECK(pausing.pause_after_us.value_or(0) > 80'000);
  CHECK(pausing.pause_after_us.value_or(0) < 120'000);
  // One step beside it at a time.
  PlannedBatch step = plan.batches[0];
  plan = scheduler.Step({.completed = {done(before)}}, 0);
  CHECK(plan.batches.empty());
  plan = scheduler.Step({.arrived = {Arrival(4, 40, 5)}, .completed = {done(step)}}, 0);
  REQUIRE(plan.batches.size() == 1);
  step = plan.batches[0];
  REQUIRE(step.items.size() == 2);
  CHECK(step.items[1].sequence == SequenceId(4));
  CHECK(step.items[1].sample);
  // Who needs half of a batch at most overtakes, the shorter one first, but nobody of more
  // importance.
  SequenceArrival lower = Arrival(7, 120, 5);
  lower.priority = -1;
  plan = scheduler.Step({.arrived = {Arrival(5, 150, 5), Arrival(6, 106, 5), lower}}, 0);
  REQUIRE(plan.batches.size() == 1);
  const PlannedBatch overtaking = plan.batches[0];
  CHECK(overtaking.overtakes);
  CHECK(overtaking.pause_after_us);
  REQUIRE(overtaking.items.size() == 2);
  CHECK(first_of(overtaking) == 6);
  CHECK(overtaking.items[1].tokens == 150);
  plan = scheduler.Step({.completed = {done(overtaking)}, .cancelled = {SequenceId(7)}}, 0);
  CHECK(plan.batches.empty());
  // Then it is the shorter one's turn, then again the higher one's.
  plan = scheduler.Step({.completed = {done(pausing)}}, 0);
  REQUIRE(plan.batches.size() == 1);
  CHECK(first_of(plan.batches[0]) == 3);
  plan = scheduler.Step({.completed = {done(plan.batches[0])}}, 0);
  REQUIRE(plan.batches.size() == 1);
  CHECK(first_of(plan.batches[0]) == 2);
  CHECK(plan.batches[0].items[0].position == 512);
  // What is left of them goes in one.
  const PlannedBatch third = plan.batches[0];
  plan = scheduler.Step({.completed = {done(third)}}, 0);
  REQUIRE(plan.batches.size() == 1);
  REQUIRE(plan.batches[0].items.size() == 2);
  CHECK(first_of(plan.batches[0]) == 3);
  CHECK(plan.batches[0].items[0].tokens + plan.batches[0].items[1].tokens == 1200 + 650 - 3 * 512);
  CHECK(plan.batches[0].items[1].sample);
}

TEST_CASE("what is cancelled in a batch that pauses is released when that is back") {
  LlmScheduler scheduler({.plans_in_flight_max = 1}, {.block_counts = {2000}, .pauses = {true}},
                         kBlockTokens);
  Plan plan = scheduler.Step({.arrived = {Arrival(1, 8, 500)}}, 0);
  plan =
      scheduler.Step({.completed = {Done(plan.batches.at(0))}, .handed_over = {SequenceId(1)}}, 0);
  PlannedBatch step = plan.batches.at(0);
  plan = scheduler.Step({.arrived = {Arrival(2, 1000, 5)}}, 0);
  const PlannedBatch pausing = plan.batches.at(0);
  REQUIRE(pausing.pause_after_us == 0);  // how long steps take is not known yet
  plan = scheduler.Step({.completed = {Done(step)}, .cancelled = {SequenceId(2)}}, 0);
  CHECK(plan.ended.size() == 1);
  CHECK(plan.released.empty());
  step = plan.batches.at(0);
  BatchCompletion completion = Done(pausing);
  completion.pausing = true;
  plan = scheduler.Step({.completed = {completion}}, 0);
  CHECK(plan.released == std::vector{SequenceId(2)});
  CHECK(plan.batches.empty());  // a step is in flight
}

TEST_CASE("under more prompts than can be computed all places decode, as after a quiet time") {
  // A step takes 1 ms, and 100 us for each token: 64 requests of 75 and 32 tokens together get most
  // done where the millisecond is shared by many decodes.
  const bool quiet_before = GENERATE(false, true);
  CAPTURE(quiet_before);
  LlmScheduler scheduler({.plans_in_flight_max = 1}, 10'000, kBlockTokens);
  uint64_t next = 1;
  int64_t ended = 0;
  TimeUs now_us = 0;
  std::map<SequenceId, int> left;
  ScheduleEvents events;
  const auto run = [&](TimeUs until_us, int32_t waiting_max) {
    while (now_us < until_us) {
      while (scheduler.waiting_count() + std::ssize(events.arrived) < waiting_max) {
        left[SequenceId(next)] = 32;
        events.arrived.push_back(Arrival(next++, 75, 32));
      }
      const Plan plan = scheduler.Step(events, now_us);
      events = {};
      REQUIRE(plan.batches.size() == 1);
      BatchCompletion completion = Done(plan.batches[0]);
      for (const PlannedItem& item : plan.batches[0].items) {
        const bool prompt = item.work_class == WorkClass::kPrefill;
        (prompt ? completion.prompt_tokens : completion.decode_tokens) += item.tokens;
        if (prompt && item.sample) events.handed_over.push_back(item.sequence);
        if (item.sample && --left[item.sequence] == 0) ++ended;
      }
      completion.run_us = 1000 + 100 * (completion.prompt_tokens + completion.decode_tokens);
      now_us += completion.run_us;
      events.completed.push_back(completion);
    }
  };
  if (quiet_before) {  // one at a time
    for (int i = 0; i < 20; ++i) {
      left[SequenceId(next)] = 32;
      events.arrived.push_back(Arrival(next++, 75, 32));
      const int64_t before = ended;
      while (ended == before) run(now_us + 1, 0);
    }
  }
  const int64_t before = ended;
  const TimeUs begin_us = now_us;
  run(begin_us + 10'000'000, 100);
  // Each has 107 tokens of 100 us, and 32 milliseconds, each of which at least 16 share.
  const double per_s = static_cast<double>(ended - before) / 10;
  CHECK(per_s > 1e6 / (107 * 100 + 32 * 1000.0 / 16));
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

TEST_CASE("what a guess costs is learnt from an executor's steps") {
  LlmScheduler scheduler({.plans_in_flight_max = 1}, 100, kBlockTokens);
  PlannedBatch batch = StartDecoding(scheduler, 1, 4, 80);
  CHECK(scheduler.GuessShare(0) == GuessCost::kUnknown);
  for (int64_t step = 0; step < 60; ++step) {
    BatchCompletion completion = Done(batch);
    completion.decode_tokens = 1 + step % 4;
    completion.run_us = 1000 + 200 * (step % 4);
    batch = scheduler.Step({.completed = {completion}}, 0).batches.at(0);
  }
  CHECK(scheduler.GuessShare(0) == Approx(0.2).epsilon(0.01));
  CHECK(scheduler.GuessShare(1) == GuessCost::kUnknown);
}

TEST_CASE("admission reserves the worst case, where told to, and does not overtake") {
  LlmScheduler scheduler({.admission = "worst_case"}, 4, kBlockTokens);
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

// An executor that does what is planned at once, and text that never ends by itself.
struct Machine {
  LlmScheduler& scheduler;
  std::vector<SequenceId> preempted = {};
  std::vector<SequenceId> admitted = {};
  std::vector<SequenceId> released = {};
  std::vector<PlannedItem> prefills = {};

  // Until nothing happens any more.
  void Run(ScheduleEvents events) {
    while (true) {
      const Plan plan = scheduler.Step(events, 0);
      events = {};
      preempted.insert(preempted.end(), plan.preempted.begin(), plan.preempted.end());
      admitted.insert(admitted.end(), plan.admitted.begin(), plan.admitted.end());
      released.insert(released.end(), plan.released.begin(), plan.released.end());
      for (const PlannedBatch& batch : plan.batches) {
        events.completed.push_back(Done(batch));
        for (const PlannedItem& item : batch.items) {
          if (item.work_class != WorkClass::kPrefill) continue;
          prefills.push_back(item);
          if (item.sample) events.handed_over.push_back(item.sequence);
        }
      }
      if (plan.batches.empty() && plan.released.empty()) return;
    }
  }
};

TEST_CASE(
    "where blocks run out the youngest is computed again, before newer ones, once there is room") {
  // Of 17 tokens 9 are expected: 2 blocks of 8 positions each, where 3 will be needed.
  LlmScheduler scheduler({}, 4, kBlockTokens);
  Machine machine{scheduler};
  machine.Run({.arrived = {Arrival(1, 8, 17), Arrival(2, 8, 17), Arrival(3, 8, 17)}});
  const auto ids = [](std::initializer_list<uint64_t> values) {
    return std::vector<SequenceId>(values.begin(), values.end());
  };
  CHECK(machine.preempted == ids({2}));
  CHECK(machine.admitted == ids({1, 2, 2, 3}));
  CHECK(machine.released == ids({1, 2, 3}));
  REQUIRE(machine.prefills.size() == 4);
  const PlannedItem& again = machine.prefills[2];
  CHECK(again.sequence == SequenceId(2));
  CHECK(again.position == 0);
  CHECK(again.tokens == 17);  // its blocks were full: the prompt, 8 tokens, and one more sampled
  CHECK(again.sample);
  CHECK(scheduler.blocks_reserved() == 0);
}

TEST_CASE("the lowest priority is preempted, though it came first") {
  LlmScheduler scheduler({}, 4, kBlockTokens);
  Machine machine{scheduler};
  SequenceArrival low = Arrival(1, 8, 17);
  low.priority = -1;
  machine.Run({.arrived = {low, Arrival(2, 8, 17)}});
  CHECK(machine.preempted == std::vector{SequenceId(1)});
  CHECK(machine.released == std::vector{SequenceId(2), SequenceId(1)});
}

TEST_CASE("under worst_case nobody is preempted, and blocks in common count once") {
  const auto shared = [](SequenceId, int) { return std::vector{BlockId(5), BlockId(7)}; };
  const auto running = [&](LlmScheduler::CachedBlocks cached) {
    LlmScheduler scheduler({.admission = "worst_case"}, 6, kBlockTokens, std::move(cached));
    Machine machine{scheduler};
    const Plan plan = scheduler.Step(
        {.arrived = {Arrival(1, 17, 8), Arrival(2, 17, 8), Arrival(3, 17, 8), Arrival(4, 17, 8)}},
        0);
    ScheduleEvents events{.completed = {Done(plan.batches.at(0))}};
    for (const SequenceId id : plan.admitted) events.handed_over.push_back(id);
    machine.Run(events);
    CHECK(machine.preempted.empty());
    CHECK(machine.released.size() == 4);
    return plan.admitted.size();
  };
  CHECK(running({}) == 2);      // 3 blocks each
  CHECK(running(shared) == 4);  // 2 for all, 1 each
}

TEST_CASE("a preempted sequence's deadline and cancellation hold while it waits") {
  LlmScheduler scheduler({.plans_in_flight_max = 1}, 4, kBlockTokens);
  SequenceArrival second = Arrival(2, 8, 17);
  second.deadline_us = 100;
  Plan plan = scheduler.Step({.arrived = {Arrival(1, 8, 17), second}}, 0);
  ScheduleEvents events{.completed = {Done(plan.batches.at(0))},
                        .handed_over = {SequenceId(1), SequenceId(2)}};
  while (plan.preempted.empty()) {
    plan = scheduler.Step(events, 0);
    REQUIRE_FALSE(plan.batches.empty());
    events = {.completed = {Done(plan.batches[0])}};
  }
  CHECK(plan.preempted == std::vector{SequenceId(2)});
  CHECK(scheduler.waiting_count() == 1);
  CHECK(scheduler.NextDeadlineUs() == 100);
  const bool cancelled = GENERATE(true, false);
  if (cancelled) events.cancelled = {SequenceId(2)};
  plan = scheduler.Step(events, cancelled ? 0 : 100);
  REQUIRE(plan.ended.size() == 1);
  CHECK(plan.ended[0].sequence == SequenceId(2));
  CHECK(plan.ended[0].status.code() ==
        (cancelled ? absl::StatusCode::kCancelled : absl::StatusCode::kDeadlineExceeded));
  CHECK(scheduler.waiting_count() == 0);
  CHECK(plan.released.empty());  // it held nothing
}

TEST_CASE("what a preempted sequence has in flight comes back first, and may come in time") {
  LlmScheduler scheduler({.plans_in_flight_max = 1}, 3, kBlockTokens);
  SequenceArrival second = Arrival(2, 6, 4);
  second.prefill_executor = second.decode_executor = 1;
  Plan plan = scheduler.Step({.arrived = {Arrival(1, 6, 12), second}}, 0);
  REQUIRE(plan.batches.size() == 2);
  plan = scheduler.Step({.completed = {Done(plan.batches[0]), Done(plan.batches[1])},
                         .handed_over = {SequenceId(1), SequenceId(2)}},
                        0);
  REQUIRE(plan.batches.size() == 2);
  const PlannedBatch slow = plan.batches[1];
  int32_t position = 0;
  while (!plan.batches.empty()) {
    position = plan.batches[0].items.at(0).position;
    plan = scheduler.Step({.completed = {Done(plan.batches[0])}}, 0);
  }
  CHECK(position == 15);  // two blocks; the third is the other's
  CHECK(plan.preempted.empty());
  SECTION("the blocks are freed then") {
    plan = scheduler.Step({.completed = {Done(slow)}}, 0);
    CHECK(plan.preempted == std::vector{SequenceId(2)});
    REQUIRE(plan.batches.size() == 1);
    CHECK(plan.batches[0].items.at(0).position == 16);
    plan = scheduler.Step({.completed = {Done(plan.batches[0])}}, 0);
    CHECK(plan.released == std::vector{SequenceId(1)});
    CHECK(plan.admitted == std::vector{SequenceId(2)});
    CHECK(plan.batches.at(0).items.at(0).tokens == 8);
  }
  SECTION("it ends with what comes back") {
    plan = scheduler.Step({.completed = {Done(slow, {SequenceId(2)})}}, 0);
    CHECK(plan.preempted.empty());
    CHECK(plan.released == std::vector{SequenceId(2)});
    CHECK(plan.batches.at(0).items.at(0).position == 16);
  }
  SECTION("there is room meanwhile: it goes on") {
    plan = scheduler.Step({.cancelled = {SequenceId(1)}}, 0);
    CHECK(plan.released == std::vector{SequenceId(1)});
    plan = scheduler.Step({.completed = {Done(slow)}}, 0);
    CHECK(plan.preempted.empty());
    CHECK(plan.batches.at(0).items.at(0).position == 7);
  }
}

// A model of the engine around the scheduler: completes batches in order, ends sequences at random,
// cancels at random, and checks what must hold at every step.
TEST_CASE("what a tier below has is brought back before the rest is prefilled") {
  const bool whole = GENERATE(true, false);
  CAPTURE(whole);
  LlmScheduler scheduler(
      ScheduleOptions{}, KvPools{.block_counts = {10}}, kBlockTokens,
      [](SequenceId, int) { return std::vector{BlockId(4)}; },
      [](SequenceId id, int) { return id == SequenceId(1) ? 2 : 0; });
  Plan plan = scheduler.Step({.arrived = {Arrival(1, 30, 2), Arrival(2, 12, 2)}}, 0);
  CHECK(plan.admitted == std::vector{SequenceId(1), SequenceId(2)});
  REQUIRE(plan.reload.size() == 1);
  CHECK(plan.reload[0].sequence == SequenceId(1));
  CHECK(plan.reload[0].blocks == 2);
  // Meanwhile the other is computed, and only it.
  REQUIRE(plan.batches.size() == 1);
  REQUIRE(plan.batches[0].items.size() == 1);
  CHECK(plan.batches[0].items[0].sequence == SequenceId(2));
  plan = scheduler.Step({.completed = {Done(plan.batches[0], {SequenceId(2)})}}, 0);
  CHECK(plan.batches.empty());

  const int32_t back = whole ? 2 : 0;  // where the copy failed, it is computed
  plan = scheduler.Step({.reloaded = {{.sequence = SequenceId(1), .blocks = back}}}, 0);
  REQUIRE(plan.batches.size() == 1);
  REQUIRE(plan.batches[0].items.size() == 1);
  CHECK(plan.batches[0].items[0].position == (1 + back) * kBlockTokens);
  CHECK(plan.batches[0].items[0].tokens == 30 - (1 + back) * kBlockTokens);
  CHECK(plan.batches[0].items[0].sample);
}

TEST_CASE("who waits for its blocks to be brought back can be cancelled") {
  LlmScheduler scheduler(ScheduleOptions{}, KvPools{.block_counts = {4}}, kBlockTokens, {},
                         [](SequenceId, int) { return 3; });
  Plan plan = scheduler.Step({.arrived = {Arrival(1, 30, 2)}}, 0);
  REQUIRE(plan.reload.size() == 1);
  plan = scheduler.Step({.cancelled = {SequenceId(1)}}, 0);
  CHECK(plan.released == std::vector{SequenceId(1)});
  CHECK(scheduler.blocks_reserved() == 0);
  // What is said of it late changes nothing.
  plan = scheduler.Step({.reloaded = {{.sequence = SequenceId(1), .blocks = 3}}}, 0);
  CHECK(plan.batches.empty());
}

TEST_CASE("under random work every sequence ends once and nothing is overbooked") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto below = [&random](int n) {
    return static_cast<int>(random() % static_cast<unsigned>(n));
  };
  int preemptions = 0;
  for (int round = 0; round < 60; ++round) {
    const ScheduleOptions options{.step_tokens_max = 1 + below(40),
                                  .prefill_chunk_tokens_max = 1 + below(30),
                                  .sequences_running_max = 1 + below(8),
                                  .sequences_waiting_max = 100,
                                  .plans_in_flight_max = 1 + below(2),
                                  .admission = round % 3 == 0 ? "worst_case" : "expected",
                                  .draft_sequences_max = 1 + below(4)};
    constexpr int32_t kBlocks = 12;
    std::map<SequenceId, SequenceArrival> live;
    std::map<SequenceId, int32_t> generated;
    // Every third text begins with one of two others, of which the cache knows a block or two.
    const auto cached = [&](SequenceId id, int) {
      std::vector<BlockId> blocks;
      const int32_t tokens = live.at(id).prompt_tokens + generated[id];
      for (int32_t i = 0; id.value() % 3 == 0 && i < 2 && (i + 1) * kBlockTokens < tokens; ++i) {
        blocks.emplace_back(static_cast<int32_t>(id.value() % 2) * 2 + i);
      }
      return blocks;
    };
    LlmScheduler scheduler(options, kBlocks, kBlockTokens, cached);
    std::set<SequenceId> waiting, holding;
    std::map<SequenceId, std::vector<BlockId>> shared;
    std::map<SequenceId, int32_t> positions;  // for which it holds blocks
    const auto above = [&](SequenceId a, SequenceId b) {
      const int32_t difference = live.at(a).priority - live.at(b).priority;
      return difference != 0 ? difference > 0 : a < b;
    };
    std::map<SequenceId, int32_t> next_position;
    std::set<SequenceId> ended, released;
    std::map<int, std::deque<PlannedBatch>> in_flight;
    uint64_t next_id = 1;
    const auto idle = [&] { return scheduler.running_count() + scheduler.waiting_count() == 0; };
    for (int turn = 0; turn < 200 || (!idle() && turn < 100'000); ++turn) {
      ScheduleEvents events;
      if (turn < 200 && below(3) == 0) {
        SequenceArrival arrival = Arrival(next_id++, 1 + below(30), 1 + below(60));
        arrival.priority = below(3);
        arrival.decode_executor = below(2);
        live.emplace(arrival.id, arrival);
        waiting.insert(arrival.id);
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
          done.ended = item.sample && below(round % 2 == 0 ? 10 : 200) == 0;
          if (item.work_class == WorkClass::kDecode) {
            done.generated = 1 + below(item.tokens);
            next_position[item.sequence] -= item.tokens - done.generated;
          }
          generated[item.sequence] += done.generated;
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
      CHECK(scheduler.running_count() <= options.sequences_running_max);
      std::set<SequenceId> served = holding;
      served.insert(plan.admitted.begin(), plan.admitted.end());
      const auto highest = std::min_element(served.begin(), served.end(), above);
      for (const Plan::Ended& e : plan.ended) {
        CHECK(ended.insert(e.sequence).second);
        waiting.erase(e.sequence);
      }
      for (const SequenceId id : plan.preempted) {
        ++preemptions;
        CHECK(options.admission == "expected");
        CHECK(id != *highest);
        CHECK(ended.count(id) == 0);
        CHECK(generated[id] < live.at(id).max_tokens);
      }
      std::vector<SequenceId> left = plan.released;
      left.insert(left.end(), plan.preempted.begin(), plan.preempted.end());
      for (const SequenceId id : left) {
        CHECK(holding.erase(id) == 1);
        shared.erase(id);
        positions.erase(id);
        for (const auto& [executor, queue] : in_flight) {
          for (const PlannedBatch& batch : queue) {
            for (const PlannedItem& item : batch.items) CHECK(item.sequence != id);
          }
        }
      }
      for (const SequenceId id : plan.released) CHECK(released.insert(id).second);
      waiting.insert(plan.preempted.begin(), plan.preempted.end());
      for (const SequenceId id : plan.admitted) {
        CHECK(waiting.erase(id) == 1);
        CHECK(holding.insert(id).second);
        shared[id] = cached(id, 0);
        next_position[id] = static_cast<int32_t>(shared[id].size()) * kBlockTokens;
        positions[id] = next_position[id];
      }
      for (const SequenceId id : plan.admitted) {
        for (const SequenceId other : waiting) CHECK(above(id, other));
      }
      for (const PlannedBatch& batch : plan.batches) {
        int32_t tokens = 0;
        for (const PlannedItem& item : batch.items) {
          tokens += item.tokens;
          CHECK(released.count(item.sequence) == 0);
          CHECK(item.position == next_position[item.sequence]);
          next_position[item.sequence] += item.tokens;
          int32_t& held = positions[item.sequence];
          held = std::max(held, item.position + item.tokens);
          CHECK(holding.count(item.sequence) == 1);
          if (item.work_class == WorkClass::kPrefill) {
            const int32_t all = live.at(item.sequence).prompt_tokens + generated[item.sequence];
            CHECK(item.sample == (item.position + item.tokens == all));
          }
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
      std::set<BlockId> distinct;
      int32_t blocks = 0;
      for (const SequenceId id : holding) {
        distinct.insert(shared[id].begin(), shared[id].end());
        blocks += (positions[id] + kBlockTokens - 1) / kBlockTokens -
                  static_cast<int32_t>(shared[id].size());
      }
      CHECK(blocks + std::ssize(distinct) <= kBlocks);
      CHECK(std::ssize(waiting) == scheduler.waiting_count());
      CHECK(std::ssize(holding) == scheduler.running_count());
    }
    CHECK(scheduler.running_count() == 0);
    CHECK(scheduler.waiting_count() == 0);
    CHECK(scheduler.blocks_reserved() == 0);
    CHECK(ended.size() + released.size() >= live.size());
    for (const auto& [id, arrival] : live) CHECK(ended.count(id) + released.count(id) >= 1);
  }
  CHECK(preemptions > 0);
}

}  // namespace
}  // namespace baton
