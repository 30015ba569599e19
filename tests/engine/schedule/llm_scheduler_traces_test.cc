// Properties of the language-model scheduler over many short random traces: what it must never do,
// and what must come to pass in bounded time. llm_scheduler_test.cc shows each rule by itself.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/base/strings.h"
#include "engine/schedule/llm_scheduler.h"

namespace baton {
namespace {

constexpr int32_t kBlockTokens = 8;
constexpr int32_t kBlocks = 10;
constexpr int kArrivalSteps = 40;

// A model of the engine around one scheduler. Its own rules break as a text that says which.
class Trace {
 public:
  explicit Trace(uint32_t seed)
      : random_(seed),
        large_(Below(2) == 0),
        options_{.step_tokens_max = large_ ? 60 + Below(60) : 1 + Below(24),
                 .prefill_chunk_tokens_max = large_ ? 60 + Below(60) : 1 + Below(16),
                 .decode_stall_percent_max = 100 + Below(400),
                 .sequences_running_max = 1 + Below(6),
                 .sequences_waiting_max = 1 + Below(8),
                 .plans_in_flight_max = 1 + Below(2),
                 .admission = Below(3) == 0 ? "worst_case" : "expected",
                 .draft_sequences_max = 1 + Below(4)},
        arrivals_percent_(10 + Below(60)),
        ends_one_of_(5 + Below(60)),
        pools_(1 + Below(2)),
        reloads_(Below(2) == 0),
        ahead_blocks_min_(Below(3)),
        block_tokens_{8 << Below(2), 8 << Below(2)},
        tells_layers_{Below(2) == 0, Below(2) == 0},
        pauses_{Below(2) == 0, Below(2) == 0},
        scheduler_(options_, Pools(), kBlockTokens, {},
                   [this](SequenceId id, int) { return Reloadable(id); }) {}

  // Runs it to its end; empty where every property held.
  std::string Run() {
    // Work left, each token again for every preemption that its sequence can suffer; a step does at
    // least one token per two turns of the executors. Far above what is seen, far below forever.
    const int steps_max = 40'000;
    for (step_ = 0; step_ < kArrivalSteps || !Idle(); ++step_) {
      if (step_ > steps_max) return Say("sequences starve: ", live_.size() - gone_.size(), " left");
      const Plan plan = scheduler_.Step(Events(), step_);
      Apply(plan);
      if (!broken_.empty()) return Say(broken_);
    }
    for (const auto& [id, sequence] : live_) {
      if (!gone_.contains(id)) return Say("sequence ", id.value(), " never ended");
    }
    if (scheduler_.blocks_reserved() != 0) return Say("blocks are left over");
    return "";
  }

  int64_t longest_wait() const { return longest_wait_; }
  int64_t copied_ahead() const { return copied_ahead_; }
  int64_t by_layers() const { return by_layers_; }
  int64_t paused() const { return paused_count_; }
  int64_t overtaking() const { return overtaking_count_; }

 private:
  struct Sequence {
    SequenceArrival arrival;
    int32_t generated = 0;
    int32_t position = 0;  // planned next
    int32_t held = 0;      // positions that it has blocks for
    bool holding = false;
    bool waiting = true;
    int pool = 0;           // where its blocks are
    bool copying = false;   // to the pool where it decodes, which has blocks for all it has
    int32_t computed = 0;   // positions of its prefill
    int32_t ahead = 0;      // positions that it has blocks for there before that
    int32_t reloading = 0;  // blocks that are being brought back
    int topped_at = -1;     // the step since which nobody ranks above it and it got nothing
  };

  KvPools Pools() const {
    KvPools of;
    for (int pool = 0; pool < pools_; ++pool) {
      of.block_counts.push_back(kBlocks);
      of.block_tokens.push_back(BlockTokens(pool));
    }
    of.ahead_blocks_min = ahead_blocks_min_;
    if (pools_ == 2) of.of_executor = {0, 1};
    of.tells_layers = {tells_layers_[0], tells_layers_[1]};
    of.pauses = {pauses_[0], pauses_[1]};
    return of;
  }
  int32_t BlockTokens(int pool) const { return block_tokens_[static_cast<size_t>(pool)]; }
  int32_t BlocksOf(int32_t positions, int pool) const {
    return (positions + BlockTokens(pool) - 1) / BlockTokens(pool);
  }
  int PoolOf(int executor) const { return pools_ == 2 ? executor : 0; }

  int Below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  // Of a tier that has some beginning of the text, or none.
  int32_t Reloadable(SequenceId id) {
    const Sequence& sequence = live_.at(id);
    if (!reloads_ || Below(2) == 0) return 0;
    const int32_t tokens = sequence.arrival.prompt_tokens + sequence.generated;
    return Below((tokens - 1) / BlockTokens(PoolOf(sequence.arrival.prefill_executor)) + 1);
  }
  bool Idle() const { return scheduler_.running_count() + scheduler_.waiting_count() == 0; }
  template <class... Parts>
  std::string Say(const Parts&... parts) const {
    return StrCat("step ", step_, ": ", parts...);
  }
  template <class... Parts>
  void Require(bool holds, const Parts&... parts) {
    if (!holds && broken_.empty()) broken_ = StrCat(parts...);
  }

  ScheduleEvents Events() {
    ScheduleEvents events;
    if (step_ < kArrivalSteps && Below(100) < arrivals_percent_) {
      SequenceArrival arrival{.id = SequenceId(next_id_++),
                              .prompt_tokens = 1 + Below(large_ ? 40 : 24),
                              .max_tokens = 1 + Below(40),
                              .priority = Below(3)};
      if (Below(6) == 0) arrival.deadline_us = step_ + Below(60);
      arrival.decode_executor = Below(2);
      if (pools_ == 2) arrival.prefill_executor = Below(2);
      live_[arrival.id] = {.arrival = arrival};
      events.arrived.push_back(arrival);
    }
    for (auto& [id, sequence] : live_) {
      if (!sequence.copying || Below(3) > 0 || told_.contains(id)) continue;
      sequence.copying = false;
      sequence.ahead = 0;
      if (Below(4) == 0) {
        events.stay.push_back(id);
        stayed_ = true;
        sequence.arrival.decode_executor = sequence.arrival.prefill_executor;
      } else {
        events.handed_over.push_back(id);
        sequence.pool = PoolOf(sequence.arrival.decode_executor);
      }
    }
    for (auto& [id, sequence] : live_) {
      if (sequence.reloading == 0 || Below(3) > 0 || told_.contains(id)) continue;
      const int32_t blocks = Below(2) == 0 ? sequence.reloading : Below(sequence.reloading + 1);
      events.reloaded.push_back({.sequence = id, .blocks = blocks});
      sequence.position = blocks * BlockTokens(sequence.pool);
      sequence.computed = sequence.position;
      sequence.reloading = 0;
    }
    for (auto& [executor, queue] : in_flight_) {
      if (queue.empty() || Below(3) == 0) continue;
      events.completed.push_back(Complete(queue.front(), events));
      queue.pop_front();
    }
    for (auto& [executor, batch] : paused_) {
      if (!batch || Below(6) > 0) continue;
      events.completed.push_back(Complete(*batch, events));
      batch.reset();
    }
    if (Below(25) == 0 && next_id_ > 1) {
      events.cancelled.emplace_back(1 + static_cast<uint64_t>(Below(static_cast<int>(next_id_))));
    }
    return events;
  }

  BatchCompletion Complete(const PlannedBatch& batch, ScheduleEvents& events) {
    BatchCompletion completion{.executor = batch.executor,
                               .pausing = batch.pause_after_us.has_value(),
                               .overtakes = batch.overtakes,
                               .items = {}};
    for (const PlannedItem& item : batch.items) {
      Sequence& sequence = live_.at(item.sequence);
      const bool decode = item.work_class == WorkClass::kDecode;
      BatchCompletion::Item done{.sequence = item.sequence};
      done.generated = decode ? 1 + Below(item.tokens) : item.sample ? 1 : 0;
      done.prefilled = decode ? 0 : item.tokens;
      sequence.computed += done.prefilled;
      if (decode) sequence.position -= item.tokens - done.generated;
      sequence.generated += done.generated;
      done.ended = item.sample && Below(ends_one_of_) == 0;
      done.draft = Below(5) - 1;
      const bool far = PoolOf(sequence.arrival.decode_executor) != sequence.pool;
      if (!done.ended && !decode && item.sample && !far) {
        events.handed_over.push_back(item.sequence);
      }
      (decode ? completion.decode_tokens : completion.prompt_tokens) += item.tokens;
      completion.items.push_back(done);
    }
    completion.run_us = 100 + (large_ ? 50 : 10) * completion.prompt_tokens;
    return completion;
  }

  bool Above(const SequenceArrival& a, const SequenceArrival& b) const {
    return a.priority != b.priority ? a.priority > b.priority : a.id < b.id;
  }

  void Leave(SequenceId id, const char* how) {
    Sequence& sequence = live_.at(id);
    Require(sequence.holding, how, " what holds nothing: ", id.value());
    const auto check = [&](const PlannedBatch& batch) {
      for (const PlannedItem& item : batch.items) {
        Require(item.sequence != id, how, " while in flight: ", id.value());
      }
    };
    for (const auto& [executor, queue] : in_flight_) std::ranges::for_each(queue, check);
    for (const auto& [executor, batch] : paused_) {
      if (batch) check(*batch);
    }
    sequence.holding = false;
    sequence.held = 0;
    sequence.copying = false;
    sequence.computed = 0;
    sequence.ahead = 0;
    sequence.reloading = 0;
  }

  void Apply(const Plan& plan) {
    for (const Plan::Ended& ended : plan.ended) {
      Require(told_.insert(ended.sequence).second, "told twice: ", ended.sequence.value());
      Sequence& sequence = live_.at(ended.sequence);
      if (sequence.waiting) gone_.insert(ended.sequence);
      sequence.waiting = false;
    }
    for (const SequenceId id : plan.released) {
      Leave(id, "released");
      Require(gone_.insert(id).second, "released twice: ", id.value());
    }
    for (const SequenceId id : plan.preempted) {
      Leave(id, "preempted");
      live_.at(id).waiting = true;
      // Who decodes where it prefilled has set nothing aside there for that.
      Require(options_.admission == "expected" || stayed_, "worst_case preempts");
      Require(!told_.contains(id), "preempted after its end: ", id.value());
    }
    for (const SequenceId id : plan.admitted) {
      Sequence& sequence = live_.at(id);
      Require(sequence.waiting && !sequence.holding, "admitted twice: ", id.value());
      sequence.waiting = false;
      sequence.holding = true;
      sequence.position = 0;
      sequence.pool = PoolOf(sequence.arrival.prefill_executor);
      for (const auto& [other, waiting] : live_) {
        // One preempted in this very step made room in a pool that the admitted one is not in.
        const bool now = pools_ == 2 && std::find(plan.preempted.begin(), plan.preempted.end(),
                                                  other) != plan.preempted.end();
        Require(now || !waiting.waiting || !Above(waiting.arrival, sequence.arrival), id.value(),
                " overtook ", other.value());
      }
    }
    for (const Plan::Reload& reload : plan.reload) {
      Sequence& sequence = live_.at(reload.sequence);
      const auto& admitted = plan.admitted;
      Require(std::count(admitted.begin(), admitted.end(), reload.sequence) == 1,
              "reloads though it was not admitted: ", reload.sequence.value());
      Require(reload.blocks > 0, "reloads nothing: ", reload.sequence.value());
      sequence.reloading = reload.blocks;
      sequence.held = reload.blocks * BlockTokens(sequence.pool);
    }
    for (const SequenceId id : plan.hand_over) {
      Sequence& sequence = live_.at(id);
      Require(sequence.holding && !sequence.copying, "handed over twice: ", id.value());
      Require(PoolOf(sequence.arrival.decode_executor) != sequence.pool, "handed over to itself");
      Require(!told_.contains(id), "handed over after its end: ", id.value());
      sequence.copying = true;
    }
    std::set<SequenceId> served(plan.admitted.begin(), plan.admitted.end());
    for (const PlannedBatch& batch : plan.batches) Check(batch, served);
    for (const Plan::Ahead& ahead : plan.ahead) {
      const uint64_t id = ahead.sequence.value();
      Sequence& sequence = live_.at(ahead.sequence);
      Require(sequence.holding && !sequence.copying, "copied ahead when it is too late: ", id);
      Require(PoolOf(sequence.arrival.decode_executor) != sequence.pool, "ahead of itself: ", id);
      Require(!told_.contains(ahead.sequence), "copied ahead after its end: ", id);
      const int executor = sequence.arrival.prefill_executor;
      const int to = PoolOf(sequence.arrival.decode_executor);
      Require(BlocksOf(ahead.tokens - sequence.ahead, sequence.pool) >= ahead_blocks_min_,
              "too few are ahead: ", id);
      if (ahead.layers) {
        Require(tells_layers_[static_cast<size_t>(executor)], "its layers are not told: ", id);
        const int32_t text = sequence.arrival.prompt_tokens + sequence.generated;
        Require(ahead.tokens == text && sequence.position == text, "not the last chunk: ", id);
        Require(sequence.computed < text, "no chunk is in flight: ", id);
        ++by_layers_;
      } else {
        Require(ahead.tokens <= sequence.computed, "not computed yet: ", id);
        Require(
            ahead.tokens % BlockTokens(sequence.pool) == 0 && ahead.tokens % BlockTokens(to) == 0,
            "blocks that are not whole: ", id);
        ++copied_ahead_;
      }
      sequence.ahead = ahead.tokens;
    }

    int32_t blocks[2] = {};
    int64_t waiting = 0;
    int64_t holding = 0;
    for (const auto& [id, sequence] : live_) {
      blocks[sequence.pool] += BlocksOf(sequence.held, sequence.pool);
      const int to = PoolOf(sequence.arrival.decode_executor);
      blocks[to] += BlocksOf(sequence.copying ? sequence.held : sequence.ahead, to);
      waiting += sequence.waiting ? 1 : 0;
      holding += sequence.holding ? 1 : 0;
    }
    for (const int32_t of : blocks) Require(of <= kBlocks, "blocks overbooked: ", of);
    Require(waiting == scheduler_.waiting_count(), "waiting miscounted");
    Require(holding == scheduler_.running_count(), "running miscounted");
    Require(holding <= options_.sequences_running_max, "too many run: ", holding);
    // Preempted ones come back beside those that were let in.
    Require(waiting <= options_.sequences_waiting_max + options_.sequences_running_max,
            "too many wait: ", waiting);
    CheckWaits(served);
  }

  void Check(const PlannedBatch& batch, std::set<SequenceId>& served) {
    int64_t tokens = 0;
    std::set<SequenceId> named;
    for (const PlannedItem& item : batch.items) {
      Sequence& sequence = live_.at(item.sequence);
      const SequenceArrival& arrival = sequence.arrival;
      const bool prefill = item.work_class == WorkClass::kPrefill;
      tokens += item.tokens;
      served.insert(item.sequence);
      Require(item.tokens > 0, "an empty item");
      Require(named.insert(item.sequence).second, "twice in a batch: ", item.sequence.value());
      Require(!InPaused(item.sequence), "behind a batch that pauses: ", item.sequence.value());
      Require(!batch.pause_after_us || prefill, "a decode that pauses: ", item.sequence.value());
      Require(sequence.holding, "planned without blocks: ", item.sequence.value());
      Require(sequence.reloading == 0, "planned before it is back: ", item.sequence.value());
      Require(!told_.contains(item.sequence), "planned after its end: ", item.sequence.value());
      Require(item.position == sequence.position, "a gap or an overlap: ", item.sequence.value());
      Require(!prefill || item.tokens <= options_.prefill_chunk_tokens_max, "chunk too large");
      Require(batch.executor == (prefill ? arrival.prefill_executor : arrival.decode_executor),
              "on the wrong executor: ", item.sequence.value());
      sequence.position += item.tokens;
      sequence.held = std::max(sequence.held, sequence.position);
      Require(sequence.position <= arrival.prompt_tokens + arrival.max_tokens - 1,
              "beyond max_tokens: ", item.sequence.value());
    }
    Require(!batch.items.empty(), "an empty batch");
    Require(tokens <= options_.step_tokens_max, "the step has ", tokens, " tokens");
    if (batch.pause_after_us) {
      Require(pauses_[static_cast<size_t>(batch.executor)], "it cannot pause");
      std::optional<PlannedBatch>& paused = paused_[{batch.executor, batch.overtakes}];
      Require(!paused, "two batches that pause");
      paused = batch;
      ++(batch.overtakes ? overtaking_count_ : paused_count_);
      return;
    }
    std::deque<PlannedBatch>& queue = in_flight_[batch.executor];
    queue.push_back(batch);
    Require(std::ssize(queue) <= options_.plans_in_flight_max, "too many plans in flight");
  }

  bool InPaused(SequenceId id) const {
    return std::ranges::any_of(paused_, [id](const auto& entry) {
      return entry.second && std::ranges::any_of(entry.second->items, [id](const auto& item) {
               return item.sequence == id;
             });
    });
  }

  // Whoever ranks highest gets on within as many steps as what is in flight can take to come back,
  // and the guesses of others to be verified: executors complete a batch in 1.5 steps on average.
  void CheckWaits(const std::set<SequenceId>& served) {
    constexpr int kWaitMax = 300;  // 110 was the longest of 100,000 traces
    Sequence* top = nullptr;
    for (auto& [id, sequence] : live_) {
      if (gone_.contains(id) || told_.contains(id)) continue;
      if (top == nullptr || Above(sequence.arrival, top->arrival)) top = &sequence;
    }
    for (auto& [id, sequence] : live_) {
      if (&sequence != top || served.contains(id)) sequence.topped_at = -1;
    }
    if (top == nullptr || served.contains(top->arrival.id)) return;
    if (top->topped_at < 0) top->topped_at = step_;
    const int waited = step_ - top->topped_at;
    longest_wait_ = std::max<int64_t>(longest_wait_, waited);
    Require(waited <= kWaitMax, "the highest in rank waits for ", waited,
            " steps: ", top->arrival.id.value());
  }

  std::mt19937 random_;
  const bool large_;  // steps, and prompts, which cost more
  const ScheduleOptions options_;
  const int arrivals_percent_;
  const int ends_one_of_;
  const int pools_;
  const bool reloads_;
  const int32_t ahead_blocks_min_;
  const std::array<int32_t, 2> block_tokens_;  // by pool
  const std::array<bool, 2> tells_layers_;     // by executor
  const std::array<bool, 2> pauses_;           // by executor

  LlmScheduler scheduler_;
  std::map<SequenceId, Sequence> live_;
  std::set<SequenceId> told_;  // that they have ended, other than by themselves
  std::set<SequenceId> gone_;
  std::map<int, std::deque<PlannedBatch>> in_flight_;  // those that do not pause
  // By executor, and whether it overtakes.
  std::map<std::pair<int, bool>, std::optional<PlannedBatch>> paused_;
  uint64_t next_id_ = 1;
  int step_ = 0;
  int64_t longest_wait_ = 0;
  int64_t copied_ahead_ = 0;
  int64_t by_layers_ = 0;
  int64_t paused_count_ = 0;
  int64_t overtaking_count_ = 0;
  bool stayed_ = false;  // one decodes where it prefilled
  std::string broken_;
};

void RunTraces(uint32_t count) {
  const uint32_t first = std::random_device{}();
  int64_t longest_wait = 0;
  int64_t copied_ahead = 0;
  int64_t by_layers = 0;
  int64_t paused = 0;
  int64_t overtaking = 0;
  for (uint32_t i = 0; i < count; ++i) {
    Trace trace(first + i);
    const std::string broken = trace.Run();
    if (!broken.empty()) FAIL("seed " << first + i << ": " << broken);
    longest_wait = std::max(longest_wait, trace.longest_wait());
    copied_ahead += trace.copied_ahead();
    by_layers += trace.by_layers();
    paused += trace.paused();
    overtaking += trace.overtaking();
  }
  CHECK(copied_ahead > count / 10);
  CHECK(by_layers > count / 10);
  CHECK(paused > count / 10);
  CHECK(overtaking > 0);
  std::printf(
      "%u traces from seed %u: the highest in rank waited %d steps at most, %d copies ahead, "
      "%d by layers, %d batches paused, %d overtook\n",
      count, first, static_cast<int>(longest_wait), static_cast<int>(copied_ahead),
      static_cast<int>(by_layers), static_cast<int>(paused), static_cast<int>(overtaking));
}

TEST_CASE("a random trace breaks no bound and starves nobody") { RunTraces(1500); }

TEST_CASE("100,000 random traces break no bound and starve nobody", "[.slow]") {
  RunTraces(100'000);
}

}  // namespace
}  // namespace baton
