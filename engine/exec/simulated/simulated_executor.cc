#include "engine/exec/simulated/simulated_executor.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/exec/simulated/latency_curve.h"

namespace baton {
namespace {

using Skill = SimulatedDevice::Skill;

// Devices share the CPU's slots: each has a range of its own, wider than an engine has slots.
constexpr int32_t kSlotsPerDevice = 1 << 24;

double UsOf(const SimulatedDevice& device, WorkClass work_class, WorkClass otherwise,
            const CurveInput& input) {
  const auto& latency = device.options().latency;
  const auto& curve = latency[static_cast<size_t>(work_class)];
  return CurveUs(curve ? *curve : *latency[static_cast<size_t>(otherwise)], input);
}

bool HasCurve(const SimulatedDevice& device, WorkClass work_class) {
  return device.options().latency[static_cast<size_t>(work_class)].has_value();
}

// Has `compute` compute the batch, and `done` called with its result when the device says so.
template <class Result, class Compute>
void Run(SimulatedDevice& device, Skill skill, double run_us, absl::Status fault, Compute compute,
         absl::AnyInvocable<void(Result)> done) {
  struct Held {
    Result result;
    absl::AnyInvocable<void(Result)> done;
  };
  auto held = std::make_shared<Held>();
  held->done = std::move(done);
  const absl::StatusOr<SimulatedDevice::JobPtr> job =
      device.Begin(skill, run_us, [held](absl::Status status, BatchTimes times) {
        Result result = status.ok() ? std::move(held->result) : Result();
        if (!status.ok()) result.status = std::move(status);
        result.times = times;
        std::exchange(held->done, nullptr)(std::move(result));
      });
  if (!job.ok()) {
    Result refused;
    refused.status = job.status();
    return std::exchange(held->done, nullptr)(std::move(refused));
  }
  if (!fault.ok()) return device.Spoil(*job, std::move(fault));
  auto computed = [held, job = *job, kept = device.shared_from_this()](Result result) {
    held->result = std::move(result);
    kept->Computed(job);
  };
  compute(*job, std::move(computed));
}

class SimulatedLlm final : public LlmSkill {
 public:
  SimulatedLlm(SimulatedDevice& device, LlmSkill& cpu, bool stands_for_cpu, int ordinal)
      : device_(device), cpu_(cpu), stands_for_cpu_(stands_for_cpu), ordinal_(ordinal) {}

  int64_t ModelBytes(const LanguageModel& model) const override {
    return stands_for_cpu_ ? cpu_.ModelBytes(model) : 0;
  }
  absl::Status LoadModel(std::shared_ptr<const LanguageModel> model) override {
    RETURN_IF_ERROR(device_.Reserve(model->weight_bytes()));
    if (!stands_for_cpu_) return absl::OkStatus();
    const int64_t bytes = model->weight_bytes();
    const absl::Status loaded = cpu_.LoadModel(std::move(model));
    if (!loaded.ok()) device_.Unreserve(bytes);
    return loaded;
  }
  void UnloadModel(const LanguageModel& model) override {
    device_.Unreserve(model.weight_bytes());
    if (stands_for_cpu_) cpu_.UnloadModel(model);
  }
  void OpenSlot(SlotId slot, SlotSetup setup) override {
    cpu_.OpenSlot(SlotOf(slot), std::move(setup));
  }
  void CloseSlot(SlotId slot) override { cpu_.CloseSlot(SlotOf(slot)); }
  void Execute(LlmBatch batch, absl::AnyInvocable<void(LlmBatchResult)> done) override {
    const CurveInput prefill = PrefillInput(batch);
    const CurveInput decode = DecodeInput(batch);
    double us = 0;
    if (prefill.items > 0) us += UsOf(device_, WorkClass::kPrefill, WorkClass::kPrefill, prefill);
    if (decode.items > 0) us += UsOf(device_, WorkClass::kDecode, WorkClass::kDecode, decode);
    absl::Status fault = Touch(batch);
    for (LlmItem& item : batch.items) item.slot = SlotOf(item.slot);
    Run<LlmBatchResult>(
        device_, Skill::kLlm, us, std::move(fault),
        [&](const SimulatedDevice::JobPtr& job, absl::AnyInvocable<void(LlmBatchResult)> computed) {
          computed = TellLayers(batch, job, std::move(computed));
          cpu_.Execute(std::move(batch), std::move(computed));
        },
        std::move(done));
  }
  bool TellsPromptsApart(const LanguageModel& model) const override {
    return cpu_.TellsPromptsApart(model);
  }
  bool TellsLayers() const override { return true; }
  bool Pauses() const override { return false; }
  WarmUpSteps StepsToWarmUp(const LanguageModel&) const override { return {}; }
  MemorySpace kv_space() const override { return device_.options().space; }
  KvMemorySource* kv_memory() override { return nullptr; }

 private:
  SlotId SlotOf(SlotId slot) const { return SlotId(slot.value() + ordinal_ * kSlotsPerDevice); }

  // Who asks is told of a layer when the device would have done it, and not before the CPU has.
  absl::AnyInvocable<void(LlmBatchResult)> TellLayers(
      LlmBatch& batch, const SimulatedDevice::JobPtr& job,
      absl::AnyInvocable<void(LlmBatchResult)> computed) {
    if (batch.layers_done == nullptr) return computed;
    auto by_cpu = std::make_shared<std::atomic<int32_t>>(0);
    const int32_t layers = batch.layout.layers;
    device_.TellLayers(job, layers,
                       [by_cpu, asks = std::exchange(batch.layers_done, by_cpu)](int32_t done) {
                         const int32_t computed_layers = by_cpu->load(std::memory_order_acquire);
                         asks->store(std::min(done, computed_layers), std::memory_order_release);
                       });
    // One that tells nothing has done them all by its end.
    return [by_cpu, layers, computed = std::move(computed)](LlmBatchResult result) mutable {
      if (result.status.ok()) by_cpu->store(layers, std::memory_order_release);
      computed(std::move(result));
    };
  }

  // Whether what the batch reads is in the device's memory; what it writes is from now on.
  absl::Status Touch(const LlmBatch& batch) {
    if (device_.options().space.kind == MemorySpace::Kind::kHost) return absl::OkStatus();
    const int32_t step = batch.layout.block_tokens;
    for (const LlmItem& item : batch.items) {
      const auto read = static_cast<size_t>((item.position + step - 1) / step);
      const std::vector<const std::byte*> blocks(item.blocks.begin(), item.blocks.end());
      RETURN_IF_ERROR(device_.CheckWritten(std::span(blocks).first(read)));
      device_.Write(std::span(blocks).subspan(read));
    }
    return absl::OkStatus();
  }

  SimulatedDevice& device_;
  LlmSkill& cpu_;
  const bool stands_for_cpu_;
  const int ordinal_;
};

class SimulatedSearch final : public SearchSkill {
 public:
  SimulatedSearch(SimulatedDevice& device, SearchSkill& cpu) : device_(device), cpu_(cpu) {}

  std::string Unable(const CollectionView&, const SearchParams&) const override { return ""; }
  void Execute(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) override {
    const bool single = batch.queries.size() == 1;
    const double us = UsOf(device_, single ? WorkClass::kSearchSingle : WorkClass::kSearchBulk,
                           single ? WorkClass::kSearchBulk : WorkClass::kSearchSingle,
                           {.items = static_cast<double>(batch.queries.size()),
                            .context = static_cast<double>(batch.view->points())});
    Run<SearchBatchResult>(
        device_, Skill::kSearch, us, absl::OkStatus(),
        [&](const SimulatedDevice::JobPtr&, absl::AnyInvocable<void(SearchBatchResult)> computed) {
          cpu_.Execute(std::move(batch), std::move(computed));
        },
        std::move(done));
  }

 private:
  SimulatedDevice& device_;
  SearchSkill& cpu_;
};

class SimulatedEmbed final : public EmbedSkill {
 public:
  SimulatedEmbed(SimulatedDevice& device, EmbedSkill& cpu, bool stands_for_cpu)
      : device_(device), cpu_(cpu), stands_for_cpu_(stands_for_cpu) {}

  std::string Unable(const Embedder&) const override { return ""; }
  int64_t ModelBytes(const TextEncoder& encoder) const override {
    return stands_for_cpu_ ? cpu_.ModelBytes(encoder) : 0;
  }
  absl::Status LoadModel(std::shared_ptr<const TextEncoder> encoder) override {
    RETURN_IF_ERROR(device_.Reserve(encoder->weight_bytes()));
    if (!stands_for_cpu_) return absl::OkStatus();
    const int64_t bytes = encoder->weight_bytes();
    const absl::Status loaded = cpu_.LoadModel(std::move(encoder));
    if (!loaded.ok()) device_.Unreserve(bytes);
    return loaded;
  }
  void UnloadModel(const TextEncoder& encoder) override {
    device_.Unreserve(encoder.weight_bytes());
    if (stands_for_cpu_) cpu_.UnloadModel(encoder);
  }
  void Execute(EmbedBatch batch, absl::AnyInvocable<void(EmbedBatchResult)> done) override {
    double bytes = 0;
    for (const std::string& text : batch.texts) bytes += static_cast<double>(text.size());
    const auto texts = static_cast<double>(batch.texts.size());
    const bool rerank = batch.query.has_value();
    const double us = UsOf(device_, rerank ? WorkClass::kRerank : WorkClass::kEmbed,
                           rerank ? WorkClass::kEmbed : WorkClass::kRerank,
                           {.items = texts, .context = texts > 0 ? bytes / texts : 0});
    Run<EmbedBatchResult>(
        device_, Skill::kEmbed, us, absl::OkStatus(),
        [&](const SimulatedDevice::JobPtr&, absl::AnyInvocable<void(EmbedBatchResult)> computed) {
          cpu_.Execute(std::move(batch), std::move(computed));
        },
        std::move(done));
  }

 private:
  SimulatedDevice& device_;
  EmbedSkill& cpu_;
  const bool stands_for_cpu_;
};

class SimulatedCluster final : public ClusterSkill {
 public:
  SimulatedCluster(SimulatedDevice& device, ClusterSkill& cpu) : device_(device), cpu_(cpu) {}

  void Execute(ClusterBatch batch, absl::AnyInvocable<void(ClusterBatchResult)> done) override {
    const double points = batch.view != nullptr ? static_cast<double>(batch.view->points())
                                                : static_cast<double>(batch.vectors.size());
    const double us = UsOf(device_, WorkClass::kKmeans, WorkClass::kKmeans,
                           {.items = points, .context = static_cast<double>(batch.params.k)});
    Run<ClusterBatchResult>(
        device_, Skill::kCluster, us, absl::OkStatus(),
        [&](const SimulatedDevice::JobPtr&, absl::AnyInvocable<void(ClusterBatchResult)> computed) {
          cpu_.Execute(std::move(batch), std::move(computed));
        },
        std::move(done));
  }

 private:
  SimulatedDevice& device_;
  ClusterSkill& cpu_;
};

class SimulatedExecutor final : public Executor {
 public:
  SimulatedExecutor(std::shared_ptr<SimulatedDevice> device, Executor& cpu,
                    std::unique_ptr<Executor> owned, int ordinal, std::shared_ptr<void> keeps)
      : keeps_(std::move(keeps)), owned_(std::move(owned)), device_(std::move(device)) {
    const SimulatedDeviceOptions& options = device_->options();
    const bool stands_for_cpu = owned_ != nullptr;
    info_.platform = options.platform;
    info_.device = options.name;
    info_.present = true;
    info_.emulated = true;
    info_.detail =
        StrCat("simulated: computed by the CPU in the time of a configured curve; KV in ",
               ToString(options.space));
    info_.memory_bytes_total = options.memory_bytes;
    info_.power_idle_w = options.power_idle_w;
    info_.power_max_w = options.power_max_w;
    if (HasCurve(*device_, WorkClass::kPrefill) && cpu.llm() != nullptr) {
      llm_ = std::make_unique<SimulatedLlm>(*device_, *cpu.llm(), stands_for_cpu, ordinal);
    }
    const bool searches =
        HasCurve(*device_, WorkClass::kSearchSingle) || HasCurve(*device_, WorkClass::kSearchBulk);
    if (searches && cpu.search() != nullptr) {
      search_ = std::make_unique<SimulatedSearch>(*device_, *cpu.search());
    }
    const bool embeds =
        HasCurve(*device_, WorkClass::kEmbed) || HasCurve(*device_, WorkClass::kRerank);
    if (embeds && cpu.embed() != nullptr) {
      embed_ = std::make_unique<SimulatedEmbed>(*device_, *cpu.embed(), stands_for_cpu);
    }
    if (HasCurve(*device_, WorkClass::kKmeans) && cpu.cluster() != nullptr) {
      cluster_ = std::make_unique<SimulatedCluster>(*device_, *cpu.cluster());
    }
  }
  ~SimulatedExecutor() override { device_->Shutdown(); }

  const ExecutorInfo& Describe() const override { return info_; }
  ExecutorSample Sample() const override { return device_->Sample(); }
  LlmSkill* llm() override { return llm_.get(); }
  SearchSkill* search() override { return search_.get(); }
  EmbedSkill* embed() override { return embed_.get(); }
  ClusterSkill* cluster() override { return cluster_.get(); }
  GraphSkill* graph() override { return nullptr; }
  const IvfMath* ivf() override { return nullptr; }

 private:
  const std::shared_ptr<void> keeps_;
  const std::unique_ptr<Executor> owned_;
  const std::shared_ptr<SimulatedDevice> device_;
  ExecutorInfo info_;
  std::unique_ptr<SimulatedLlm> llm_;
  std::unique_ptr<SimulatedSearch> search_;
  std::unique_ptr<SimulatedEmbed> embed_;
  std::unique_ptr<SimulatedCluster> cluster_;
};

}  // namespace

std::unique_ptr<Executor> MakeSimulatedExecutor(std::shared_ptr<SimulatedDevice> device,
                                                Executor& cpu, std::unique_ptr<Executor> owned,
                                                int ordinal, std::shared_ptr<void> keeps) {
  return std::make_unique<SimulatedExecutor>(std::move(device), cpu, std::move(owned), ordinal,
                                             std::move(keeps));
}

}  // namespace baton
