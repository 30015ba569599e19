#include "engine/exec/cpu/cpu_executor.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "engine/base/simd_level.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/exec/cluster_batches.h"
#include "engine/exec/cpu/cpu_embed.h"
#include "engine/exec/cpu/cpu_llm.h"
#include "engine/exec/cpu/cpu_search.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/package_power.h"

namespace baton {
namespace {

int ThreadsOrCores(int64_t threads, const ThreadPlacement& placement) {
  return threads == 0 ? placement.ThreadsMax() : static_cast<int>(threads);
}

absl::StatusOr<SimdLevel> ChooseSimdLevel(const std::string& name) {
  if (name == "auto") return DetectedSimdLevel();
  for (const SimdLevel level : kSimdLevels) {
    if (name != std::string(Name(level))) continue;
    if (level <= DetectedSimdLevel()) return level;
    return absl::FailedPreconditionError(StrCat("simd is ", name, ", but this machine has ",
                                                std::string(Name(DetectedSimdLevel())),
                                                " at most"));
  }
  return absl::InvalidArgumentError(
      StrCat("simd must be auto, baseline, avx2, avx512, avx512_vnni or amx, but is ", name));
}

int64_t PageBytes() { return sysconf(_SC_PAGESIZE); }

// This process's resident memory, mapped models included. Thread safe.
class ResidentMemory {
 public:
  // 0 where the system does not say. Asks it at most ten times a second: each request's route looks
  // here, and asking takes as long as the rest of routing.
  int64_t Bytes(TimeUs now_us) {
    const std::lock_guard lock(mutex_);
    if (read_us_ && now_us - *read_us_ < 100'000) return bytes_;
    read_us_ = now_us;
    std::ifstream statm("/proc/self/statm");
    int64_t total_pages = 0;
    int64_t resident_pages = 0;
    statm >> total_pages >> resident_pages;
    bytes_ = statm ? resident_pages * PageBytes() : 0;
    return bytes_;
  }

 private:
  std::mutex mutex_;
  std::optional<TimeUs> read_us_;
  int64_t bytes_ = 0;
};

// k-means by FAISS.
class CpuCluster final : public ClusterSkill {
 public:
  CpuCluster(const ClusterBatches::Options& options, const Clock& clock)
      : batches_(options, clock, HostCentroidMath()) {}
  void Execute(ClusterBatch batch, absl::AnyInvocable<void(ClusterBatchResult)> done) override {
    batches_.Execute(std::move(batch), std::move(done));
  }
  int32_t queue_depth() const { return batches_.queue_depth(); }

 private:
  ClusterBatches batches_;
};

class CpuExecutor final : public Executor {
 public:
  CpuExecutor(const CpuOptions& options, SimdLevel level, const Clock& clock,
              const ThreadPlacement& placement)
      : clock_(clock),
        llm_threads_(ThreadsOrCores(options.llm_threads, placement)),
        search_threads_(ThreadsOrCores(options.search_threads, placement)),
        embed_threads_(ThreadsOrCores(options.embed_threads, placement)),
        llm_({.threads = llm_threads_,
              .queue_batches = options.llm_queue_batches,
              .step_tokens_max = static_cast<int32_t>(options.step_tokens_max),
              .warm_up = options.warm_up,
              .placement = placement},
             KernelsFor(level), clock),
        search_({.threads = search_threads_,
                 .queue_batches = options.search_queue_batches,
                 .placement = placement},
                clock),
        embed_({.threads = embed_threads_,
                .queue_batches = options.embed_queue_batches,
                .warm_up = options.warm_up,
                .placement = placement},
               KernelsFor(level), clock),
        cluster_({.queue_batches = options.cluster_queue_batches,
                  .sample_bytes_max = options.cluster_sample_mb << 20},
                 clock) {
    info_.platform = Platform::kCpu;
    info_.device = "cpu0";
    info_.present = true;
    info_.detail = StrCat(std::string(Name(level)), WithoutAmx().empty() ? "" : " (",
                          std::string(WithoutAmx()), WithoutAmx().empty() ? "" : ")", ", ",
                          placement.ThreadsMax(), " cores; threads: ", llm_threads_, " llm, ",
                          search_threads_, " search, ", embed_threads_, " embed");
    info_.memory_bytes_total = sysconf(_SC_PHYS_PAGES) * PageBytes();
  }

  const ExecutorInfo& Describe() const override { return info_; }

  ExecutorSample Sample() const override {
    const int32_t llm = llm_.queue_depth();
    const int32_t search = search_.queue_depth();
    const int32_t embed = embed_.queue_depth();
    const int32_t cluster = cluster_.queue_depth();
    // Each skill's share of its threads that have work; a language model batch takes all of its.
    const int busy = (llm > 0 ? llm_threads_ : 0) + std::min(search, search_threads_) +
                     std::min(embed, embed_threads_) + std::min(cluster, 1);
    const TimeUs now_us = clock_.NowUs();
    return {
        .healthy = true,
        .queue_depth = llm + search + embed + cluster,
        .memory_bytes_used = memory_.Bytes(now_us),
        .load = static_cast<double>(busy) / (llm_threads_ + search_threads_ + embed_threads_ + 1),
        .power_w = power_.Watts(now_us)};
  }

  LlmSkill* llm() override { return &llm_; }
  SearchSkill* search() override { return &search_; }
  EmbedSkill* embed() override { return &embed_; }
  ClusterSkill* cluster() override { return &cluster_; }
  GraphSkill* graph() override { return nullptr; }
  const IvfMath* ivf() override { return nullptr; }

 private:
  ExecutorInfo info_;
  const Clock& clock_;
  mutable PackagePower power_{"/sys/class/powercap"};
  mutable ResidentMemory memory_;
  const int llm_threads_;
  const int search_threads_;
  const int embed_threads_;
  CpuLlm llm_;
  CpuSearch search_;
  CpuEmbed embed_;
  CpuCluster cluster_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Executor>> MakeCpuExecutor(const CpuOptions& options,
                                                          const Clock& clock,
                                                          const ThreadPlacement& placement) {
  ASSIGN_OR_RETURN(const SimdLevel level, ChooseSimdLevel(options.simd));
  return std::make_unique<CpuExecutor>(options, level, clock, placement);
}

}  // namespace baton
