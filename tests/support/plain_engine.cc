#include "tests/support/plain_engine.h"

#include <algorithm>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "tests/support/memo_executor.h"
#include "tests/support/warp_clock.h"

namespace baton {
namespace {

constexpr int kStudyDecodes = 10;  // steps of an answer behind its first token

// Keeps how a question ended.
class OutcomeSink final : public AskSink {
 public:
  void OnRetrieved(std::vector<Passage>) override {}
  void OnTokens(TokenChunk chunk) override { tokens_ += static_cast<int>(chunk.ids.size()); }
  void OnAnswer(AskResult result) override { total_us_ = result.timings.total_us; }
  void OnFinished(absl::Status status) override {
    if (status.ok() && tokens_ != kStudyDecodes + 1) {
      status = absl::InternalError(StrCat("an answer of ", tokens_, " tokens"));
    }
    ended_.set_value(status.ok() ? absl::StatusOr<TimeUs>(total_us_) : status);
  }
  absl::StatusOr<TimeUs> Wait() { return ended_.get_future().get(); }

 private:
  int tokens_ = 0;
  TimeUs total_us_ = 0;
  std::promise<absl::StatusOr<TimeUs>> ended_;
};

void AddStudyDevices(bool hybrid, PlainEngine& node) {
  const auto device = [&](const char* name, Platform platform, MemorySpace space,
                          double decode_us) {
    SimulatedDeviceOptions options{.name = name, .platform = platform, .space = space};
    const auto takes = [&](WorkClass work_class, double us) {
      options.latency[static_cast<size_t>(work_class)] = {.fixed_us = us};
    };
    takes(WorkClass::kSearchSingle, 5'000);
    takes(WorkClass::kPrefill, 15'000);
    takes(WorkClass::kDecode, decode_us / kStudyDecodes);
    node.simulation.devices.push_back(options);
  };
  const MemorySpace gpu{.kind = MemorySpace::Kind::kCuda};
  const MemorySpace fpga{.kind = MemorySpace::Kind::kFpga};
  device("gpu0", Platform::kGpu, gpu, 60'000);
  if (hybrid) {
    device("fpga0", Platform::kFpga, fpga, 25'000);
    node.simulation.paths.push_back(
        {.name = "peer", .from = gpu, .to = fpga, .gb_per_s = 10, .latency_us = 15});
  }
  auto& platforms = node.options.route.platforms.of;
  platforms[static_cast<size_t>(WorkClass::kSearchSingle)] = {"gpu"};
  platforms[static_cast<size_t>(WorkClass::kPrefill)] = {"gpu"};
  platforms[static_cast<size_t>(WorkClass::kDecode)] = {hybrid ? "fpga" : "gpu"};
}

}  // namespace

absl::Status PlainEngine::AddRandomModel(const RandomModelOptions& shape) {
  model_file_ = std::make_unique<TempFile>(RandomModelBytes(shape));
  ASSIGN_OR_RETURN(auto model, LoadLanguageModel("random", model_file_->path()));
  models_.push_back(std::move(model));
  return absl::OkStatus();
}

absl::Status PlainEngine::Start() {
  ASSIGN_OR_RETURN(store_,
                   VectorStore::Open(VectorOptions{.data_dir = dir_.File("data")}, metrics));
  EngineParts parts{.clock = clock, .metrics = &metrics, .store = store_.get()};
  parts.models = models_;
  parts.embedders.push_back({.embedder = MakeLexicalEmbedder(512)});
  if (before_cpu != nullptr) parts.executors.push_back(std::move(before_cpu));
  ASSIGN_OR_RETURN(auto cpu, MakeCpuExecutor(CpuOptions{.llm_threads = threads,
                                                        .search_threads = threads,
                                                        .embed_threads = threads},
                                             *clock));
  if (simulation.devices.empty()) {
    parts.executors.push_back(std::move(cpu));
  } else {
    node_ = SimulatedNode::Create(simulation, *clock, warp);
    SimulatedNode::Parts made = node_->Make(wrap_cpu ? wrap_cpu(std::move(cpu)) : std::move(cpu));
    for (auto& executor : made.executors) parts.executors.push_back(std::move(executor));
    parts.paths = std::move(made.paths);
  }
  ASSIGN_OR_RETURN(engine_, Engine::Create(options, std::move(parts)));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TimeUs>> AskStudyQuestions(const StudyQuestions& of) {
  WarpClock clock;
  PlainEngine node;
  if (!of.real_time) {
    node.clock = &clock;
    node.warp = [&clock](TimeUs due_us) { clock.WarpTo(due_us); };
  }
  node.wrap_cpu = [](std::unique_ptr<Executor> cpu) {
    return std::make_unique<MemoExecutor>(std::move(cpu));
  };
  AddStudyDevices(of.hybrid, node);
  node.options.schedule.prefill_chunk_tokens_max = 512;  // the prompt in one batch
  node.options.schedule.draft_tokens_max = 0;
  node.options.kv.prefix_cache = false;  // each question as the first one
  RETURN_IF_ERROR(node.AddRandomModel({.context_tokens = 512}));
  RETURN_IF_ERROR(node.Start());

  IngestRequest ingest{.collection = "docs"};
  ingest.documents.push_back({.id = "a", .title = "A", .text = "The tower is 90 metres tall."});
  RETURN_IF_ERROR(PlainEngine::Call<IngestResult>([&](Done<IngestResult> done) {
                    return node.engine().Submit(ingest, std::move(done));
                  }).status());
  std::vector<TimeUs> times_us;
  for (int i = 0; i <= of.questions; ++i) {
    const auto sink = std::make_shared<OutcomeSink>();
    AskRequest request{.collection = "docs",
                       .question = "How tall is the tower?",
                       .k = 1,
                       .max_tokens = kStudyDecodes + 1};
    RETURN_IF_ERROR(node.engine().Submit(request, sink).status());
    ASSIGN_OR_RETURN(const TimeUs took_us, sink->Wait());
    if (i > 0) times_us.push_back(took_us);
  }
  std::sort(times_us.begin(), times_us.end());
  return times_us;
}

}  // namespace baton
