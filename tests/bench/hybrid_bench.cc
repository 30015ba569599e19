// What the hybrid runtime costs by itself, and is worth; no device needed. Beside what stands here
// hybrid_routing.cc, hybrid_costs.cc and hybrid_runtime.cc have figures of their own.
//
//   handoff.copy_gb_per_s        a handoff of KV blocks between two host spaces as they are, by the
//                                host path's one thread: bytes copied
//   handoff.TYPE_to_TYPE.*       the same with conversion, other block sizes included: the mean of
//                                bytes read and bytes written, and that beside copy_gb_per_s of the
//                                same round
//   handoff.copy_share           the lowest of those shares; at least 0.6 is wanted
//   handoff.same_space_us        prepare, post, check and release where nothing is copied; below 5
//                                is wanted
//   handoff.layers_us            what each layer group costs the loop's thread beyond the first

#include "tests/bench/hybrid_bench.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/exec/cpu/kernels/kv_convert.h"
#include "engine/kv/block_pool.h"
#include "engine/transfer/host_copy_path.h"
#include "engine/transfer/transfer_manager.h"
#include "tests/bench/bench_tools.h"

namespace baton {
namespace {

constexpr MemorySpace kHost{};
constexpr MemorySpace kFar{.kind = MemorySpace::Kind::kCxl, .device = 0};

// KV blocks of one space, touched.
struct Side {
  Side(const KvLayout& of, int64_t tokens) : layout(of) {
    const auto count = static_cast<int32_t>((tokens + of.block_tokens - 1) / of.block_tokens);
    pool = OrDie(KvBlockPool::Create(of, count));
    for (int32_t i = 0; i < count; ++i) {
      std::byte* data = pool->Data(OrDie(pool->Allocate()));
      // f16 and bf16 of about 1, int8 of 60 with a scale of about 1.
      std::fill_n(data, of.block_bytes(), std::byte{0x3c});
      blocks.push_back(data);
    }
  }

  KvLayout layout;
  std::unique_ptr<KvBlockPool> pool;
  std::vector<std::byte*> blocks;
};

struct Handoffs {
  Metrics metrics;
  HostDirectPath direct{KvConverterFor(DetectedSimdLevel()), SystemClock()};
  HostCopyPath path{KvConverterFor(DetectedSimdLevel()), 64, SystemClock()};
  TransferManager manager{{}, metrics};

  Handoffs() {
    manager.RegisterDirectPath(&direct);
    manager.RegisterPath(&path);
  }

  HandoffRequest Request(const Side& from, const Side& to, int64_t tokens) {
    HandoffRequest request{.source = kHost,
                           .destination = kFar,
                           .job = {},
                           .still_current = [] { return true; },
                           .source_layout = from.layout,
                           .destination_layout = to.layout,
                           .tokens = tokens};
    request.job.sources.assign(from.blocks.begin(), from.blocks.end());
    request.job.destinations.assign(to.blocks.begin(), to.blocks.end());
    return request;
  }

  // Seconds from Post to the handoff being ready, as the loop would see it.
  double Seconds(const Side& from, const Side& to, int64_t tokens) {
    const HandoffId id = OrDie(manager.Prepare(Request(from, to, tokens), SystemClock().NowUs()));
    const auto begin = std::chrono::steady_clock::now();
    OrDie(manager.Post(id, SystemClock().NowUs()));
    while (OrDie(manager.Check(id, SystemClock().NowUs())) != TransferManager::State::kReady) {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    const auto end = std::chrono::steady_clock::now();
    manager.Release(id);
    return std::chrono::duration<double>(end - begin).count();
  }
};

// Conversion beside a copy in the same rounds.
void RunCopies(const BenchArgs& args, BenchReport& report) {
  // An 8 B model's: 32 layers, 8 heads of 128.
  KvLayout base = {.layers = 32, .kv_heads = 8, .head_dim = 128};
  const int64_t tokens = args.tiny ? 20 : 2000;
  if (args.tiny) base.layers = 2;
  const int rounds = args.tiny ? 1 : 7;
  struct Case {
    KvType from;
    KvType to;
    int32_t from_tokens;
    int32_t to_tokens;
  };
  constexpr std::array kCases = {
      Case{KvType::kF16, KvType::kInt8, 16, 16},  Case{KvType::kF16, KvType::kInt8, 16, 64},
      Case{KvType::kBF16, KvType::kInt8, 16, 16}, Case{KvType::kBF16, KvType::kF16, 16, 8},
      Case{KvType::kF32, KvType::kBF16, 8, 16},   Case{KvType::kInt8, KvType::kF16, 16, 16},
      Case{KvType::kF16, KvType::kF16, 16, 64},
  };
  Handoffs handoffs;
  double lowest = 1e9;
  std::vector<double> copies;
  for (const Case& c : kCases) {
    KvLayout from_layout = base;
    from_layout.type = c.from;
    from_layout.block_tokens = c.from_tokens;
    KvLayout to_layout = base;
    to_layout.type = c.to;
    to_layout.block_tokens = c.to_tokens;
    const Side from(from_layout, tokens);
    const Side same(from_layout, tokens);
    const Side to(to_layout, tokens);
    const double copy_bytes =
        static_cast<double>(from_layout.block_bytes()) * static_cast<double>(from.blocks.size());
    const double bytes = static_cast<double>(tokens) * 0.5 *
                         static_cast<double>(from_layout.token_bytes() + to_layout.token_bytes());
    handoffs.Seconds(from, to, tokens);  // pages are taken
    handoffs.Seconds(from, same, tokens);
    std::vector<double> shares;
    std::vector<double> rates;
    for (int round = 0; round < rounds; ++round) {
      const double copied = copy_bytes / handoffs.Seconds(from, same, tokens);
      const double converted = bytes / handoffs.Seconds(from, to, tokens);
      copies.push_back(copied * 1e-9);
      rates.push_back(converted * 1e-9);
      shares.push_back(converted / copied);
    }
    std::string name = "handoff." + std::string(Name(c.from)) + "_to_" + std::string(Name(c.to));
    if (c.from_tokens != c.to_tokens) {
      name += "_" + std::to_string(c.from_tokens) + "_to_" + std::to_string(c.to_tokens);
    }
    report.Add(name + ".gb_per_s", Median(rates), "GB/s, mean of bytes read and written");
    report.Add(name + ".copy_share", Median(shares), "of the copy beside it");
    lowest = std::min(lowest, Median(shares));
  }
  report.Add("handoff.copy_gb_per_s", Median(copies), "GB/s copied as they are");
  report.Add("handoff.copy_share", lowest, "the lowest of the shares");
}

void RunSameSpace(const BenchArgs& args, BenchReport& report) {
  Handoffs handoffs;
  const double seconds = BestSecondsPerCall(args.tiny, [&] {
    HandoffRequest request{
        .source = kHost, .destination = kHost, .job = {}, .still_current = [] { return true; }};
    const TimeUs now_us = SystemClock().NowUs();
    const HandoffId id = OrDie(handoffs.manager.Prepare(std::move(request), now_us));
    OrDie(handoffs.manager.Post(id, now_us));
    if (OrDie(handoffs.manager.Check(id, now_us)) != TransferManager::State::kReady) std::exit(1);
    handoffs.manager.Release(id);
  });
  report.Add("handoff.same_space_us", seconds * 1e6, "us, prepared to released");
}

void RunLayers(const BenchArgs& args, BenchReport& report) {
  const KvLayout layout = {.layers = 32, .kv_heads = 1, .head_dim = 8, .block_tokens = 8};
  const Side from(layout, 64);
  const Side to(layout, 64);
  Handoffs handoffs;
  const auto seconds = [&](int32_t group) {
    return BestSecondsPerCall(args.tiny, [&] {
      const HandoffId id = OrDie(handoffs.manager.Prepare(handoffs.Request(from, to, 0), 0));
      for (int32_t end = group; end <= layout.layers; end += group) {
        OrDie(handoffs.manager.PostLayers(id, end, 0));
      }
      while (OrDie(handoffs.manager.Check(id, 0)) != TransferManager::State::kReady) {
        std::this_thread::yield();
      }
      handoffs.manager.Release(id);
    });
  };
  const double one = seconds(layout.layers);
  report.Add("handoff.layers_us", (seconds(1) - one) / (layout.layers - 1) * 1e6,
             "us, each layer group more, of small blocks");
}

int Run(const BenchArgs& args) {
  BenchReport report(args);
  RunCopies(args, report);
  RunSameSpace(args, report);
  RunLayers(args, report);
  RunRuntime(args, report);
  RunCosts(args, report);
  RunRouting(args, report);
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Run(baton::ParseBenchArgs(argc, argv)); }
