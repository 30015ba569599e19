#include "engine/exec/cpu/cpu_executor.h"

#include <catch2/catch.hpp>
#include <future>
#include <map>
#include <string>

#include "engine/base/simd_level.h"
#include "engine/model/embedder.h"
#include "tests/engine/exec/forward_harness.h"

namespace baton {
namespace {

// Collects what an Options struct says of its fields.
struct Names {
  template <class T, class Allowed>
  void operator()(const char* name, T&, const Allowed&, const char* help) {
    fields[name] = help;
  }
  std::map<std::string, std::string> fields;
};

}  // namespace

TEST_CASE("the CPU executor describes itself and has every skill") {
  auto made =
      MakeCpuExecutor({.llm_threads = 2, .search_threads = 3, .embed_threads = 1}, SystemClock());
  REQUIRE_OK(made);
  Executor& executor = **made;
  const ExecutorInfo& info = executor.Describe();
  REQUIRE(info.platform == Platform::kCpu);
  REQUIRE(info.device == "cpu0");
  REQUIRE(info.present);
  REQUIRE_FALSE(info.emulated);
  REQUIRE_THAT(info.detail, Catch::StartsWith(std::string(Name(DetectedSimdLevel())) + ", "));
  REQUIRE_THAT(info.detail, Catch::EndsWith("threads: 2 llm, 3 search, 1 embed"));
  REQUIRE(info.memory_bytes_total > int64_t{64} << 20);
  REQUIRE(executor.llm() != nullptr);
  REQUIRE(executor.search() != nullptr);
  REQUIRE(executor.embed() != nullptr);
  REQUIRE(executor.llm()->kv_space().kind == MemorySpace::Kind::kHost);

  const ExecutorSample sample = executor.Sample();
  REQUIRE(sample.healthy);
  REQUIRE(sample.queue_depth == 0);
  REQUIRE(sample.load == 0);
  REQUIRE(sample.memory_bytes_used > 1 << 20);
  REQUIRE(sample.memory_bytes_used < info.memory_bytes_total);
}

TEST_CASE("the instruction set can be chosen, but not one that is missing") {
  const auto made_with = [](std::string_view name) {
    return MakeCpuExecutor({.llm_threads = 1, .simd = std::string(name)}, SystemClock());
  };
  for (const SimdLevel level : kSimdLevels) {
    CAPTURE(Name(level));
    if (level > DetectedSimdLevel()) {
      REQUIRE_STATUS(made_with(Name(level)), absl::StatusCode::kFailedPrecondition,
                     "this machine has");
      continue;
    }
    const auto made = made_with(Name(level));
    REQUIRE_OK(made);
    REQUIRE_THAT((*made)->Describe().detail, Catch::StartsWith(std::string(Name(level))));
  }
  REQUIRE_OK(made_with("auto"));
  REQUIRE_STATUS(MakeCpuExecutor({.simd = "sse9"}, SystemClock()),
                 absl::StatusCode::kInvalidArgument, "but is sse9");
}

TEST_CASE("language model and embedding work run through the executor") {
  auto made = MakeCpuExecutor({.llm_threads = 2}, SystemClock());
  REQUIRE_OK(made);
  const auto model = RandomModel({});
  REQUIRE_OK((*made)->llm()->LoadModel(model));
  const KvLayout layout = LayoutOf(model->shape(), 8);
  SequenceBlocks blocks(layout, 8);
  SamplingParams sampling;
  sampling.seed = 1;
  (*made)->llm()->OpenSlot(SlotId(3), {.sampler = {.params = sampling}});
  LlmItem item;
  item.slot = SlotId(3);
  item.work_class = WorkClass::kPrefill;
  item.tokens = {1, 2, 3};
  item.blocks = blocks.blocks;
  item.sample = true;
  std::promise<LlmBatchResult> generated;
  (*made)->llm()->Execute({.model = model, .layout = layout, .items = {item}},
                          [&](LlmBatchResult result) { generated.set_value(std::move(result)); });
  const LlmBatchResult result = generated.get_future().get();
  REQUIRE_OK(result.status);
  REQUIRE(result.items.at(0).tokens.size() == 1);

  std::promise<EmbedBatchResult> embedded;
  (*made)->embed()->Execute({.embedder = MakeLexicalEmbedder(64), .texts = {"a baton"}},
                            [&](EmbedBatchResult r) { embedded.set_value(std::move(r)); });
  const EmbedBatchResult embedding = embedded.get_future().get();
  REQUIRE_OK(embedding.status);
  REQUIRE(embedding.embeddings.at(0).size() == 64);
}

TEST_CASE("every option is described once") {
  CpuOptions options;
  Names names;
  options.Describe(names);
  REQUIRE(names.fields.size() == 10);
  for (const auto& [name, help] : names.fields) REQUIRE_FALSE(help.empty());
}

}  // namespace baton
