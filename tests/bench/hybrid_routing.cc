// What routing by learned times is worth, on the study's devices and a virtual clock.
//
//   mixed.PLATFORM_per_second    the highest rate at which one platform alone keeps 99 % of each
//                                class of mixed.trace within its SLA, by the batching that suits it
//                                best
//   mixed.hybrid_per_second      the same of all devices, routed by learned times
//   mixed.drift_*_per_second     the same while the FPGA is three times as slow for a while, by
//                                rules alone and by learned times
//   mixed.rate_ratio             the lower of hybrid over the best platform alone and, under drift,
//                                over rules; at least 1.5 is wanted
//   mixed_patient.*              of mixed_patient.trace
//   adapt.seconds                until routing has left a device that slows three times; the worst
//                                of several seeds and rates; at most 2 is wanted
//   batching.STRATEGY.*          launches for each single search, and latency, of a GPU alone at a
//                                rate that its launches one by one could not keep

#include <algorithm>
#include <string>

#include "tests/bench/bench_tools.h"
#include "tests/bench/hybrid_bench.h"
#include "tests/support/routing_cases.h"

namespace baton {
namespace {

void RunMixed(const BenchArgs& args, const std::string& name, BenchReport& report) {
  RoutingCase of = OrDie(ReadRoutingCase(name + ".trace", "mixed_node.yaml"));
  if (args.seed != 1) of.trace.seed = args.seed;
  const double seconds = args.tiny ? 0.2 : 10;
  report.Add(name + ".seed", static_cast<double>(of.trace.seed), "of the trace");
  double alone = 0;
  for (const Platform platform : {Platform::kGpu, Platform::kFpga, Platform::kCpu}) {
    const double rate = HighestRateAlone(of, platform, seconds);
    report.Add(name + "." + std::string(Name(platform)) + "_per_second", rate, "requests/s");
    alone = std::max(alone, rate);
  }
  const auto rate = [&](RoutingRun run, bool drift) {
    run.drift = drift;
    return HighestRate(of.node, of.trace, run);
  };
  const double hybrid = rate(HybridRun(seconds), false);
  const double by_rules = rate(StaticRun(seconds), true);
  const double learned = rate(HybridRun(seconds), true);
  report.Add(name + ".hybrid_per_second", hybrid, "requests/s");
  report.Add(name + ".static_per_second", rate(StaticRun(seconds), false), "requests/s");
  report.Add(name + ".drift_static_per_second", by_rules, "requests/s");
  report.Add(name + ".drift_hybrid_per_second", learned, "requests/s");
  const double ratio = alone == 0 || by_rules == 0 ? 0  // the sizes are too small to tell
                                                   : std::min(hybrid / alone, learned / by_rules);
  report.Add(name + ".rate_ratio", ratio, "of the best without");
}

void RunAdapt(const BenchArgs& args, BenchReport& report) {
  const RoutingCase of = OrDie(ReadRoutingCase("adapt.trace", "adapt_node.yaml"));
  double worst = 0;
  const std::vector<double> rates =
      args.tiny ? std::vector<double>{50} : std::vector<double>{10, 50, 400};
  for (const double per_second : rates) {
    for (uint64_t seed = 0; seed < (args.tiny ? 1 : 20); ++seed) {
      worst = std::max(worst, SecondsToAdapt(of, per_second, args.seed + seed));
    }
  }
  report.Add("adapt.seconds", worst, "s, the worst of all");
}

void RunStrategies(const BenchArgs& args, BenchReport& report) {
  RoutingCase of = OrDie(ReadRoutingCase("mixed_patient.trace", "mixed_node.yaml"));
  for (const char* strategy : {"low_latency", "adaptive", "time_or_size", "high_throughput"}) {
    RoutingRun run = HybridRun(args.tiny ? 0.2 : 10);
    run.only = {Platform::kGpu};
    run.per_second = 400;
    BatchingOptions& batching = run.options.batching;
    for (ClassBatchingOptions* options :
         {&batching.search_single, &batching.search_bulk, &batching.embed}) {
      options->strategy = strategy;
    }
    const RoutingOutcome::Class single = SimulateRouting(of.node, of.trace, run).classes.front();
    const std::string name = std::string("batching.") + strategy;
    const auto answered = static_cast<double>(single.latencies_us.size());
    if (answered == 0) continue;
    report.Add(name + ".launches_per_search", static_cast<double>(single.launches) / answered, "");
    report.Add(name + ".p50_ms",
               static_cast<double>(single.latencies_us[single.latencies_us.size() / 2]) * 1e-3,
               "ms, single searches");
    report.Add(
        name + ".p99_ms",
        static_cast<double>(single.latencies_us[single.latencies_us.size() * 99 / 100]) * 1e-3,
        "ms");
    report.Add(name + ".refused", static_cast<double>(single.requests) - answered, "searches");
  }
}

}  // namespace

void RunRouting(const BenchArgs& args, BenchReport& report) {
  RunMixed(args, "mixed", report);
  if (!args.tiny) RunMixed(args, "mixed_patient", report);
  RunAdapt(args, report);
  RunStrategies(args, report);
}

}  // namespace baton
