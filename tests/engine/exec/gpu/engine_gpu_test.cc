// The engine with the GPU executor, on the host runtime for kernels, and the CPU.
#include <cuda_runtime_api.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <future>

#include "engine/lane_warm_up.h"
#include "tests/engine/engine/engine_fixture.h"
#include "tests/engine/exec/gpu/gpu_harness.h"
#include "tests/support/cuda_host/cuda_host.h"
#include "tests/support/eventually.h"

namespace baton {
namespace {

constexpr int32_t kTokens = 12;

// Prompts are the GPU's, decodes the CPU's, all in f32.
class GpuAndCpu : public EngineFixture {
 public:
  GpuAndCpu() {
    options.kv.type = "f32";
    options.cost_model.route = false;  // by the rules, whatever times a busy machine gives
    auto& platforms = options.route.platforms.of;
    platforms[static_cast<size_t>(WorkClass::kPrefill)] = {"gpu", "cpu"};
    platforms[static_cast<size_t>(WorkClass::kDecode)] = {"cpu", "gpu"};
  }
  ~GpuAndCpu() {
    engine.reset();
    cuda_host::ForgetFailures();
    cuda_host::SetDeviceMemory(0);
  }

  // graphs_max: it is warmed up for so many steps; 0: for none.
  void AddGpu(int64_t graphs_max = 0) {
    GpuOptions gpu_options;
    gpu_options.activations = "f32";
    gpu_options.warm_up = graphs_max > 0;
    if (graphs_max > 0) gpu_options.decode_graphs = graphs_max;
    PluginExecutor gpu = MakeGpu(gpu_options);
    AddExecutor(std::move(gpu.executor));
    paths = std::move(gpu.paths);
    mappers.push_back(std::move(gpu.mapper));
  }

  static GenerateRequest Request() {
    GenerateRequest request;
    request.prompt = std::vector<TokenId>(37, 265);
    request.max_tokens = kTokens;
    request.ignore_eos = true;
    request.envelope.hints.fallback = Fallback::kAlternate;
    return request;
  }

  // Makes the collection "c" of points 1 to `count`.
  template <class VectorOf>
  void Fill(int count, VectorOf vector_of) {
    REQUIRE_OK(Call<CollectionInfo>([&](auto done) {
      return engine->SubmitCreate({.name = "c", .dimension = 4, .metric = Metric::kL2},
                                  std::move(done));
    }));
    UpsertRequest upsert{.collection = "c"};
    for (int id = 1; id <= count; ++id) {
      upsert.points.push_back(
          {.id = PointId(static_cast<uint64_t>(id)), .vector = vector_of(static_cast<float>(id))});
    }
    REQUIRE_OK(Call<UpsertResult>(
        [&](auto done) { return engine->Submit(std::move(upsert), std::move(done)); }));
  }

  std::vector<TokenId> OnCpu() {
    GenerateRequest request = Request();
    request.envelope.hints.fallback.reset();
    request.envelope.hints.platform = Platform::kCpu;
    const auto sink = Submit(request);
    REQUIRE_OK(sink->Wait().status);
    return sink->ids;
  }
};

}  // namespace

TEST_CASE("a prompt is prefilled on the GPU, handed over, and decoded on the CPU") {
  GpuAndCpu f;
  f.AddGpu();
  f.AddRandomModel();
  f.Start();
  const auto sink = f.Submit(GpuAndCpu::Request());
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(sink->ids == f.OnCpu());
  const std::vector<Stage>& stages = outcome.result.timings.stages;
  REQUIRE(stages.size() == 3);
  CHECK(stages[0].route.platform == Platform::kGpu);
  CHECK(stages[0].route.emulated);
  CHECK(stages[1].route.reason == "path host_from_cuda:0");
  CHECK(stages[2].route.platform == Platform::kCpu);
  CHECK(f.metrics.Counter(MetricId::kHandoffBytes, {"host_from_cuda:0"}).Value() > 0);

  // And all of it there, where it is asked to.
  GenerateRequest pinned = GpuAndCpu::Request();
  pinned.envelope.hints.platform = Platform::kGpu;
  pinned.envelope.hints.fallback.reset();
  const auto on_gpu = f.Submit(pinned);
  REQUIRE_OK(on_gpu->Wait().status);
  CHECK(on_gpu->ids == sink->ids);
}

TEST_CASE("keys and values of another layout are converted on their way to the GPU and from it") {
  const bool to_gpu = GENERATE(false, true);
  CAPTURE(to_gpu);
  GpuAndCpu f;
  f.options.kv.block_tokens = "8";
  f.options.kv.gpu_block_tokens = "32";
  auto& platforms = f.options.route.platforms.of;
  if (to_gpu) {
    platforms[static_cast<size_t>(WorkClass::kPrefill)] = {"cpu"};
    platforms[static_cast<size_t>(WorkClass::kDecode)] = {"gpu", "cpu"};
  }
  f.AddGpu();
  f.AddRandomModel();
  f.Start();
  const auto sink = f.Submit(GpuAndCpu::Request());
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(sink->ids == f.OnCpu());
  const std::vector<Stage>& stages = outcome.result.timings.stages;
  REQUIRE(stages.size() == 3);
  CHECK(stages[1].route.reason ==
        (to_gpu ? "path staged_host_to_cuda:0" : "path staged_cuda:0_to_host"));
  CHECK(stages[2].route.platform == (to_gpu ? Platform::kGpu : Platform::kCpu));
}

TEST_CASE("bulk searches are the GPU's and those that it cannot do are the CPU's") {
  GpuAndCpu f;
  f.options.route.platforms.of[static_cast<size_t>(WorkClass::kSearchBulk)] = {"gpu", "cpu"};
  f.options.kv.memory_mb = 4;
  f.AddGpu();
  f.Start();
  f.Fill(40, [](float id) { return std::vector<float>{id, 0, 0, 1}; });
  SearchRequest request{.collection = "c", .params = {.k = 3}};
  for (int i = 0; i < 20; ++i) request.queries.push_back({1.0f * i, 0, 0, 1});
  request.envelope.hints.fallback = Fallback::kAlternate;
  const auto search = [&](const SearchRequest& wanted) {
    return Call<SearchResult>([&](auto done) { return f.engine->Submit(wanted, std::move(done)); });
  };
  const auto on_gpu = search(request);
  REQUIRE_OK(on_gpu);
  CHECK(on_gpu->timings.stages.at(0).route.platform == Platform::kGpu);
  CHECK(on_gpu->results.at(7).at(0).id == 7);
  SearchRequest pinned = request;
  pinned.envelope.hints.platform = Platform::kCpu;
  const auto on_cpu = search(pinned);
  REQUIRE_OK(on_cpu);
  for (size_t i = 0; i < request.queries.size(); ++i) {
    REQUIRE(on_gpu->results[i].size() == on_cpu->results[i].size());
    for (size_t j = 0; j < on_gpu->results[i].size(); ++j) {
      CHECK(on_gpu->results[i][j].id == on_cpu->results[i][j].id);
      CHECK(on_gpu->results[i][j].score == on_cpu->results[i][j].score);
    }
  }
  request.params.k = 600;
  const auto large = search(request);
  REQUIRE_OK(large);
  CHECK(large->timings.stages.at(0).route.platform == Platform::kCpu);
  pinned = request;
  pinned.envelope.hints.platform = Platform::kGpu;
  pinned.envelope.hints.fallback.reset();
  const auto refused = search(pinned);
  CHECK_THAT(std::string(refused.status().message()),
             Catch::Contains("k and offset are 600 together, the GPU's limit is 512"));
}

TEST_CASE("texts are embedded on the GPU and where it cannot on the CPU, and the route says why") {
  const bool fits = GENERATE(true, false);
  CAPTURE(fits);
  GpuAndCpu f;
  f.options.route.platforms.of[static_cast<size_t>(WorkClass::kEmbed)] = {"gpu", "cpu"};
  f.AddGpu();
  f.AddRandomEncoder("mini", {.dim = 64, .heads = fits ? 4 : 16});
  f.Start();
  const auto embed = [&](const std::string& model, std::optional<Platform> pin) {
    EmbedRequest request{.model = model, .texts = {"the light house", "a"}};
    request.envelope.hints.platform = pin;
    return Call<EmbedResult>(
        [&](auto done) { return f.engine->Submit(std::move(request), std::move(done)); });
  };
  const auto found = embed("mini", std::nullopt);
  REQUIRE_OK(found);
  const Route& route = found->timings.stages.at(0).route;
  CHECK(route.platform == (fits ? Platform::kGpu : Platform::kCpu));
  const auto on_cpu = embed("mini", Platform::kCpu);
  REQUIRE_OK(on_cpu);
  REQUIRE(found->embeddings.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    for (size_t d = 0; d < 64; ++d) {
      CHECK(found->embeddings[i][d] == Approx(on_cpu->embeddings[i][d]).margin(1e-4));
    }
  }
  if (!fits) {
    REQUIRE(route.passed_over.size() == 1);
    CHECK_THAT(route.passed_over[0].reason,
               Catch::Contains("heads of 4 dimensions, must be a multiple of 8"));
    return;
  }
  const auto words = embed("lexical-512", std::nullopt);
  REQUIRE_OK(words);
  CHECK(words->timings.stages.at(0).route.platform == Platform::kCpu);
}

TEST_CASE("single searches that come together are one launch of the GPU within their budget") {
  constexpr int kTogether = 8;
  constexpr int64_t kBudgetUs = 300'000;
  GpuAndCpu f;
  f.options.batching.search_single = {
      .strategy = "time_or_size", .coalesce_us = kBudgetUs, .items_max = kTogether};
  f.AddGpu();
  f.Start();
  f.Fill(40, [](float id) { return std::vector<float>{id, 0, 0, 1}; });
  // What the device is asked for by so many searches at once.
  const auto asked_by = [&](int count) {
    std::vector<std::future<absl::StatusOr<SearchResult>>> answers;
    const int64_t before = cuda_host::Submissions();
    for (int i = 0; i < count; ++i) {
      SearchRequest request{.collection = "c", .queries = {{2.0f * i + 1.1f, 0, 0, 1}}};
      request.params.k = 2;
      request.envelope.hints.platform = Platform::kGpu;
      auto promise = std::make_shared<std::promise<absl::StatusOr<SearchResult>>>();
      answers.push_back(promise->get_future());
      REQUIRE_OK(f.engine->Submit(
          std::move(request),
          [promise](absl::StatusOr<SearchResult> found) { promise->set_value(std::move(found)); }));
    }
    for (int i = 0; i < count; ++i) {
      const absl::StatusOr<SearchResult> result = Await(std::move(answers[i]));
      REQUIRE_OK(result);
      REQUIRE(result->results.size() == 1);
      REQUIRE(result->results[0].size() == 2);
      CHECK(result->results[0][0].id == static_cast<uint64_t>(2 * i + 1));
      CHECK(result->timings.stages.at(0).route.platform == Platform::kGpu);
      CHECK(result->timings.stages.at(0).items == 1);
    }
    return cuda_host::Submissions() - before;
  };
  asked_by(1);  // brings the rows
  const TimeUs begun_us = SystemClock().NowUs();
  const int64_t alone = asked_by(1);
  CHECK(SystemClock().NowUs() - begun_us >= kBudgetUs);  // no company came
  CHECK(alone > 0);
  // A launch that is full waits for nothing.
  CHECK(asked_by(kTogether) == alone);
  CHECK(asked_by(2 * kTogether) == 2 * alone);
}

TEST_CASE("a collection is clustered where the request wants it and the clusters are as good") {
  GpuAndCpu f;
  f.AddGpu();
  f.Start();
  f.Fill(60, [](float id) {  // three heaps, far from one another
    return std::vector<float>{100 * std::fmod(id, 3.0f), 0.01f * id, 0, 1};
  });
  const auto cluster = [&](Platform platform) {
    // With more clusters than heaps each heap has at least one, wherever they begin.
    ClusterRequest request{.collection = "c",
                           .params = {.k = 24, .iterations = 10, .with_assignment = true}};
    request.envelope.hints.platform = platform;
    return Call<ClusterResult>(
        [&](auto done) { return f.engine->Submit(std::move(request), std::move(done)); });
  };
  for (const Platform platform : {Platform::kGpu, Platform::kCpu}) {
    const auto found = cluster(platform);
    REQUIRE_OK(found);
    CHECK(found->timings.stages.at(0).route.platform == platform);
    CHECK(found->points == 60);
    CHECK(found->clusters.size() == 24);
    REQUIRE(found->cluster_of.size() == 60);
    CHECK(found->mean_score < 1);  // no cluster is of two heaps
  }
  // Without room the CPU clusters.
  ClusterRequest request{.collection = "c", .params = {.k = 3}};
  request.envelope.hints.platform = Platform::kGpu;
  request.envelope.hints.fallback = Fallback::kCpu;
  cuda_host::InjectFailure({.call = "cudaMalloc", .error = cudaErrorMemoryAllocation});
  const auto elsewhere = Call<ClusterResult>(
      [&](auto done) { return f.engine->Submit(std::move(request), std::move(done)); });
  REQUIRE_OK(elsewhere);
  CHECK(elsewhere->timings.stages.at(0).route.platform == Platform::kCpu);
}

TEST_CASE("a GPU that runs out of memory within a request leaves it to the CPU and goes on") {
  GpuAndCpu f;
  f.AddGpu();
  f.AddRandomModel();
  f.Start();
  // The step's inputs find no room.
  cuda_host::InjectFailure({.call = "cudaMalloc", .error = cudaErrorMemoryAllocation});
  const auto sink = f.Submit(GpuAndCpu::Request());
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(sink->ids == f.OnCpu());
  CHECK(outcome.result.timings.stages[0].route.platform == Platform::kCpu);
  CHECK(f.engine->Devices()[0].sample.healthy);
  const auto next = f.Submit(GpuAndCpu::Request());
  const auto after = next->Wait();
  REQUIRE_OK(after.status);
  CHECK(after.result.timings.stages[0].route.platform == Platform::kGpu);
  CHECK(next->ids == sink->ids);
}

TEST_CASE("a GPU that is lost leaves its work to the CPU, and says so") {
  GpuAndCpu f;
  f.AddGpu();
  f.AddRandomModel();
  f.Start();
  REQUIRE_OK(f.Submit(GpuAndCpu::Request())->Wait().status);
  cuda_host::InjectFailure(
      {.call = "cudaLaunchKernelEx", .after = 3, .error = cudaErrorLaunchFailure, .sticky = true});
  const auto want = f.OnCpu();
  const auto sink = f.Submit(GpuAndCpu::Request());
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(sink->ids == want);
  CHECK(outcome.result.timings.stages[0].route.platform == Platform::kCpu);
  REQUIRE(Eventually([&] { return !f.engine->Devices()[0].refusal.empty(); }));
  const DeviceReport report = f.engine->Devices()[0];
  CHECK_FALSE(report.sample.healthy);
  CHECK_THAT(report.refusal, Catch::StartsWith("GPU 0 is lost to this process, restart needed: "));

  GenerateRequest pinned = GpuAndCpu::Request();
  pinned.envelope.hints.platform = Platform::kGpu;
  pinned.envelope.hints.fallback.reset();
  const absl::Status refused = [&] {
    const auto only = std::make_shared<GenerateRecorder>();
    const auto id = f.engine->Submit(pinned, only);
    return id.ok() ? only->Wait().status : id.status();
  }();
  CHECK_FALSE(refused.ok());
  CHECK_THAT(std::string(refused.message()), Catch::Contains("restart needed"));
}

TEST_CASE(
    "a model that the GPU cannot run, or has no room for, is the CPU's, and the route says why") {
  const std::string why = GENERATE("model too large", "no room for KV", "architecture");
  CAPTURE(why);
  GpuAndCpu f;
  f.AddGpu();
  if (why == "model too large") {
    cuda_host::SetDeviceMemory(1 << 20);
    f.AddRandomModel();
  } else if (why == "no room for KV") {
    f.options.kv.memory_mb = 64;
    cuda_host::SetDeviceMemory(60 << 20);
    f.AddRandomModel({.context_tokens = 4096});
  } else {
    f.AddRandomModel({.head_dim = 20});
  }
  f.Start();
  const auto sink = f.Submit(GpuAndCpu::Request());
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(sink->ids == f.OnCpu());
  CHECK(outcome.result.timings.stages[0].route.platform == Platform::kCpu);

  GenerateRequest pinned = GpuAndCpu::Request();
  pinned.envelope.hints.platform = Platform::kGpu;
  pinned.envelope.hints.fallback.reset();
  const auto only = std::make_shared<GenerateRecorder>();
  const auto id = f.engine->Submit(pinned, only);
  const absl::Status refused = id.ok() ? only->Wait().status : id.status();
  CHECK_THAT(std::string(refused.message()),
             Catch::Contains(why == "model too large" ? "model random needs "
                             : why == "no room for KV"
                                 ? "a model's KV blocks needs "
                                 : "heads of 20 dimensions, must be a multiple of 8"));
}

TEST_CASE("a model is ready when its decodes are captured and the device tells of it") {
  const int64_t alive = cuda_host::LiveGraphs();
  GpuAndCpu f;
  f.options.schedule.draft_tokens_max = 0;
  f.AddGpu(/*graphs_max=*/3);
  f.AddRandomModel();
  f.Start();
  CHECK(cuda_host::LiveGraphs() == alive + 3);  // of 1, 2 and 4 sequences
  const std::vector<std::string> events = f.engine->Devices()[0].events;
  REQUIRE(events.size() == 1);
  // Two prompts, and each of the steps twice.
  CHECK_THAT(events[0], Catch::StartsWith("warm: model random: 8 steps in "));

  GenerateRequest pinned = GpuAndCpu::Request();
  pinned.envelope.hints.platform = Platform::kGpu;
  pinned.envelope.hints.fallback.reset();
  const int64_t launches = cuda_host::GraphLaunches();
  const auto sink = f.Submit(pinned);
  REQUIRE_OK(sink->Wait().status);
  CHECK(sink->ids == f.OnCpu());
  CHECK(cuda_host::GraphLaunches() - launches == kTokens - 1);  // the prompt gives the first
}

TEST_CASE("a model whose warm-up fails is ready without and the device tells why") {
  GpuAndCpu f;
  f.AddGpu(/*graphs_max=*/2);
  f.AddRandomModel();
  cuda_host::InjectFailure({.call = "cudaGraphLaunch", .error = cudaErrorMemoryAllocation});
  f.Start();
  const std::vector<std::string> events = f.engine->Devices()[0].events;
  REQUIRE(events.size() == 1);
  CHECK_THAT(events[0], Catch::StartsWith("cold: model random: not warmed up after ") &&
                            Catch::Contains("GPU out of memory: cudaGraphLaunch"));
  const auto sink = f.Submit(GpuAndCpu::Request());
  REQUIRE_OK(sink->Wait().status);
  CHECK(sink->ids == f.OnCpu());
}

TEST_CASE("a warm-up ends when it is told to and gives its block back") {
  GpuOptions options;
  options.activations = "f32";
  options.step_tokens_max = 20;
  const PluginExecutor gpu = MakeGpu(options);
  LlmSkill& llm = *gpu.executor->llm();
  const auto model = RandomModel({.context_tokens = 600});
  REQUIRE_OK(llm.LoadModel(model));
  const auto shapes = llm.StepsToWarmUp(*model).decodes;
  CHECK(shapes == std::vector<DecodeShape>{{1, 256},
                                           {2, 256},
                                           {4, 256},
                                           {8, 256},
                                           {16, 256},
                                           {1, 512},
                                           {2, 512},
                                           {4, 512},
                                           {8, 512},
                                           {16, 512},
                                           {1, 600},
                                           {2, 600},
                                           {4, 600},
                                           {8, 600},
                                           {16, 600}});
  auto pool = KvBlockPool::Create(LayoutOf(model->shape(), 16), 1, *llm.kv_memory());
  REQUIRE_OK(pool);
  const WarmUpJob job = {.skill = &llm,
                         .model = model,
                         .blocks = pool->get(),
                         .sequences_max = 3,
                         .chunk_tokens_max = 20};
  int32_t of = 0;
  const auto ended = WarmUp(job, [&](int32_t done, int32_t all) {
    of = all;
    return done < 5;
  });
  CHECK(absl::IsCancelled(ended.status()));
  CHECK(of == 2 + 2 * 3 * 3);  // 1, 2 and 3 sequences
  CHECK((*pool)->free_count() == 1);
  const auto all = WarmUp(job, [](int32_t, int32_t) { return true; });
  REQUIRE_OK(all);
  CHECK(*all == of);
  CHECK((*pool)->free_count() == 1);
  // Without a block there is none.
  REQUIRE_OK((*pool)->Allocate());
  CHECK(absl::IsResourceExhausted(WarmUp(job, [](int32_t, int32_t) { return true; }).status()));
}

}  // namespace baton
