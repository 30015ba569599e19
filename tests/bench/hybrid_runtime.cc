// What the engine itself adds to the devices' times.
//
//   rag.latency_ms               the study's question on a simulated GPU and FPGA, 45 ms of
//   devices,
//                                results memoised: the median on a clock that skips the devices'
//                                times; at most 47 is wanted
//   rag.gpu_only_latency_ms      the same on the GPU alone, 80 ms of it
//   rag.real_time_p50_ms         the same as the first, in real time; at most 50 is wanted
//   step.us_at_64                the scheduler's Step at 64 decoding streams, their last step's
//                                completion taken in; below 50 is wanted
//   step.engine_us_at_64         the whole of the engine's step at 64 streams, tokens delivered, by
//                                an executor that answers at once on a thread of its own

#include <algorithm>
#include <future>
#include <memory>
#include <vector>

#include "engine/schedule/llm_scheduler.h"
#include "tests/bench/bench_tools.h"
#include "tests/bench/hybrid_bench.h"
#include "tests/support/plain_engine.h"
#include "tests/support/scripted_executor.h"

namespace baton {
namespace {

constexpr int kStreams = 64;

double MedianMs(const std::vector<TimeUs>& times_us) {
  return static_cast<double>(times_us[times_us.size() / 2]) * 1e-3;
}

void RunRag(const BenchArgs& args, BenchReport& report) {
  const int questions = args.tiny ? 3 : 31;
  report.Add("rag.latency_ms",
             MedianMs(OrDie(AskStudyQuestions({.hybrid = true, .questions = questions}))), "ms");
  report.Add("rag.gpu_only_latency_ms",
             MedianMs(OrDie(AskStudyQuestions({.hybrid = false, .questions = questions}))), "ms");
  report.Add("rag.real_time_p50_ms",
             MedianMs(OrDie(
                 AskStudyQuestions({.hybrid = true, .questions = questions, .real_time = true}))),
             "ms");
}

void RunScheduler(const BenchArgs& args, BenchReport& report) {
  const int steps = args.tiny ? 20 : 4000;
  std::vector<double> seconds;
  for (int round = 0; round < (args.tiny ? 1 : 5); ++round) {
    LlmScheduler scheduler({}, /*block_count=*/kStreams * 400, /*block_tokens=*/16);
    ScheduleEvents events;
    for (uint64_t id = 1; id <= kStreams; ++id) {
      events.arrived.push_back(
          {.id = SequenceId(id), .prompt_tokens = 16, .max_tokens = steps + 100});
    }
    int64_t full = 0;
    double spent = 0;
    for (int step = 0; step < steps + 40; ++step) {
      const auto begin = SteadyClock::now();
      const Plan plan = scheduler.Step(events, step);
      const double took = SecondsSince(begin);
      events = {};
      for (const PlannedBatch& batch : plan.batches) {
        if (batch.items.size() == kStreams &&
            batch.items.front().work_class == WorkClass::kDecode) {
          ++full;
          spent += took;
        }
        BatchCompletion& completed = events.completed.emplace_back();
        completed.executor = batch.executor;
        completed.run_us = 10'000;
        for (const PlannedItem& item : batch.items) {
          completed.items.push_back({.sequence = item.sequence, .generated = item.sample ? 1 : 0});
          (item.work_class == WorkClass::kDecode ? completed.decode_tokens
                                                 : completed.prompt_tokens) += item.tokens;
          if (item.work_class == WorkClass::kPrefill && item.sample) {
            events.handed_over.push_back(item.sequence);
          }
        }
      }
    }
    if (full > 0) seconds.push_back(spent / static_cast<double>(full));
  }
  report.Add("step.us_at_64", seconds.empty() ? -1 : Median(seconds) * 1e6, "us");
}

void RunEngineSteps(const BenchArgs& args, BenchReport& report) {
  const int32_t tokens = args.tiny ? 16 : 2000;
  PlainEngine node;
  auto executor = std::make_unique<ScriptedExecutor>(
      [](const LlmItem& item) -> absl::StatusOr<TokenId> { return 260 + item.position % 30; });
  node.before_cpu = std::move(executor);
  node.options.kv.memory_mb = 256;
  node.options.schedule.sequences_running_max = kStreams;
  node.options.schedule.draft_tokens_max = 0;
  OrDie(node.AddRandomModel({.context_tokens = 4096}));
  OrDie(node.Start());
  std::vector<std::shared_ptr<Countdown>> sinks;
  const auto begin = SteadyClock::now();
  for (int i = 0; i < kStreams; ++i) {
    GenerateRequest request;
    request.prompt = "abc";
    request.max_tokens = tokens;
    request.ignore_eos = true;
    request.envelope.hints.platform = Platform::kGpu;
    sinks.push_back(std::make_shared<Countdown>());
    OrDie(node.engine().Submit(std::move(request), sinks.back()).status());
  }
  for (const auto& sink : sinks) OrDie(sink->Wait());
  report.Add("step.engine_us_at_64", SecondsSince(begin) / tokens * 1e6, "us a step of 64 tokens");
}

}  // namespace

void RunRuntime(const BenchArgs& args, BenchReport& report) {
  RunRag(args, report);
  RunScheduler(args, report);
  RunEngineSteps(args, report);
}

}  // namespace baton
