// Each of these runs in a process of its own, with the fault of its tag in the environment
// (CMakeLists.txt): the emulation reads it once.
#include <catch2/catch.hpp>

#include "engine/exec/plugin_forward.h"
#include "tests/engine/engine/engine_fixture.h"
#include "tests/engine/exec/fpga/search_harness.h"
#include "tests/support/eventually.h"

namespace baton {
namespace {

// One sequence of a random model on a card whose runs end within half a second or never.
struct OneSequence {
  OneSequence() : OneSequence(FpgaSearch::Open(64, 500)) {}
  explicit OneSequence(std::shared_ptr<PluginDevice> on) : device(std::move(on)) {
    auto loaded = PluginForward::Load(device, model);
    REQUIRE_OK(loaded);
    forward = *std::move(loaded);
    layout = LayoutOf(model->shape(), 8, KvType::kInt8);
    blocks = std::make_unique<DeviceBlocks>(*device, layout, 32);
    own = blocks->Take(64);
  }
  absl::StatusOr<std::vector<float>> Step(int32_t position) {
    const TokenId token = 5 + position;
    const ForwardItem item = {
        .tokens = {&token, 1}, .position = position, .blocks = own, .logits = 1};
    std::vector<float> logits;
    const absl::Status status = forward->Run(
        layout, {&item, 1},
        [&](size_t, std::span<const float> values) { logits.assign(values.begin(), values.end()); },
        [](size_t, const ChosenToken&) {});
    if (!status.ok()) return status;
    return logits;
  }
  // The third token's run fails; then the card is as new.
  void CheckRecovers(const std::string& why) {
    const auto first = Step(0);
    REQUIRE_OK(first);
    REQUIRE_OK(Step(1));
    const auto failed = Step(2);
    CHECK(absl::IsInternal(failed.status()));
    CHECK_THAT(std::string(failed.status().message()),
               Catch::Contains(why) && Catch::Contains("the card was reset"));
    CHECK(device->TakeSample().lost.empty());
    // What was in its memory is gone, and is not read.
    CHECK_THAT(std::string(Step(2).status().message()),
               Catch::Contains("lost when the card was reset"));
    // Weights are there again: the same logits from the beginning on.
    const auto again = Step(0);
    REQUIRE_OK(again);
    CHECK(*again == *first);
    REQUIRE_OK(Step(1));
  }

  const std::shared_ptr<const LanguageModel> model = RandomModel({});
  const std::shared_ptr<PluginDevice> device;
  std::unique_ptr<PluginForward> forward;
  KvLayout layout;
  std::unique_ptr<DeviceBlocks> blocks;
  std::vector<std::byte*> own;
};

// One segment on a card, and a query of it.
struct OneSegment {
  explicit OneSegment(int64_t run_timeout_ms) : fpga(64, run_timeout_ms) {
    store.Upsert(0, 1600);
    store.store->WaitUntilIdle();
    view = store.View();
    queries = store.Queries(1);
  }
  auto Must() { return fpga.Must(view, queries, params); }
  SearchBatchResult Submit() { return fpga.Submit(view, queries, params).get(); }

  FpgaStore store{GraphSpec()};
  FpgaSearch fpga;
  std::shared_ptr<const CollectionView> view;
  std::vector<std::vector<float>> queries;
  const SearchParams params{.k = 5, .ef = 40};
};

// One segment on a card whose second walk fails; then the card is as new.
void CheckSearchRecovers(const std::string& why) {
  OneSegment one(500);
  const auto first = one.Must();
  const SearchBatchResult failed = one.Submit();
  CHECK(absl::IsInternal(failed.status));
  CHECK(failed.neighbors.empty());
  CHECK_THAT(std::string(failed.status.message()),
             Catch::Contains(why) && Catch::Contains("the card was reset"));
  CHECK(one.fpga.device->TakeSample().lost.empty());
  // The graph was lost, and is brought again.
  CHECK(one.fpga.search.graphs().Residency().loaded == 1);
  CHECK(one.Must() == first);
  CHECK(one.fpga.search.graphs().Residency().loaded == 2);
}

}  // namespace

TEST_CASE("a walk that hangs ends within its time and the card searches again", "[.walk_hang]") {
  CheckSearchRecovers("hnsw_search_0: the FPGA's run did not end within 500 ms");
}

TEST_CASE("a walk that ends in an error state resets the card", "[.walk_error]") {
  CheckSearchRecovers("hnsw_search_0: the FPGA's run ended in state");
}

TEST_CASE("an answer of a walk that can be none is an error and no neighbor", "[.walk_wrong]") {
  OneSegment one(10'000);
  const SearchBatchResult failed = one.Submit();
  CHECK(absl::IsInternal(failed.status));
  CHECK_THAT(std::string(failed.status.message()),
             Catch::Contains("the FPGA's search unit 0 answers node"));
  CHECK(one.Must()[0] == StrictCpu(one.view).Search(one.queries[0], 5, 40));
}

TEST_CASE("a token that hangs takes graphs with it and they come back", "[.hang_graphs]") {
  OneSegment one(500);
  const auto first = one.Must();
  OneSequence sequence(one.fpga.device);
  CHECK(absl::IsInternal(sequence.Step(0).status()));
  CHECK(one.Must() == first);
  CHECK(one.fpga.search.graphs().Residency().loaded == 2);
}

TEST_CASE("a search whose card hangs goes on elsewhere where the request allows it",
          "[.walk_engine]") {
  EngineFixture f;
  f.options.cost_model.route = false;
  f.vector.seal_points = 1600;
  f.vector.merge_quiet_ms = 0;
  f.options.route.platforms.of[static_cast<size_t>(WorkClass::kSearchSingle)] = {"fpga", "cpu"};
  FpgaOptions options = EmulatedFpga();
  options.run_timeout_ms = 500;
  PluginExecutor fpga = MakeFpga(options);
  f.AddExecutor(std::move(fpga.executor));
  f.paths = std::move(fpga.paths);
  f.Start();
  CollectionSpec spec = GraphSpec();
  REQUIRE_OK(Call<CollectionInfo>(
      [&](auto done) { return f.engine->SubmitCreate(spec, std::move(done)); }));
  std::mt19937 random(5);
  UpsertRequest upsert{.collection = "c"};
  for (uint64_t id = 0; id < 1600; ++id) {
    upsert.points.push_back({.id = PointId(id), .vector = RandomVector(random, kSearchDimension)});
  }
  REQUIRE_OK(Call<UpsertResult>(
      [&](auto done) { return f.engine->Submit(std::move(upsert), std::move(done)); }));
  SearchRequest request{.collection = "c", .params = {.k = 3, .ef = 40}};
  request.queries.push_back(RandomVector(random, kSearchDimension));
  const auto search = [&] {
    return Call<SearchResult>(
        [&](auto done) { return f.engine->Submit(request, std::move(done)); });
  };
  // Until there is a segment, searches are the CPU's.
  REQUIRE(Eventually([&] {
    const auto found = search();
    REQUIRE_OK(found);
    return found->timings.stages.at(0).route.platform == Platform::kFpga;
  }));
  request.envelope.hints.fallback = Fallback::kNone;
  const auto failed = search();
  CHECK(absl::IsInternal(failed.status()));
  CHECK_THAT(std::string(failed.status().message()), Catch::Contains("the card was reset"));
  const auto next = search();  // a card as new
  REQUIRE_OK(next);
  CHECK(next->timings.stages.back().route.platform == Platform::kFpga);
  CHECK(next->timings.stages.back().route.emulated);
  // It hangs once more.
  request.envelope.hints.fallback = Fallback::kAlternate;
  const auto elsewhere = search();
  REQUIRE_OK(elsewhere);
  CHECK(elsewhere->timings.stages.back().route.platform == Platform::kCpu);
  REQUIRE(elsewhere->results.at(0).size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(elsewhere->results[0][i].id == next->results.at(0).at(i).id);
  }
}

TEST_CASE("a run that hangs ends within its time and the card works again", "[.hang]") {
  OneSequence sequence;
  sequence.CheckRecovers("did not end within 500 ms");
}

TEST_CASE("a run that ends in an error state resets the card", "[.error]") {
  OneSequence sequence;
  sequence.CheckRecovers("the FPGA's run ended in state");
}

TEST_CASE("a unit that hangs in the middle of a token is found by the token's time", "[.unit]") {
  OneSequence sequence;
  const auto failed = sequence.Step(0);
  CHECK(absl::IsInternal(failed.status()));
  CHECK_THAT(std::string(failed.status().message()), Catch::Contains("did not end within 500 ms"));
}

TEST_CASE("an answer that can be none is an error and no token", "[.wrong]") {
  OneSequence sequence;
  const auto failed = sequence.Step(0);
  CHECK(absl::IsInternal(failed.status()));
  CHECK_THAT(std::string(failed.status().message()), Catch::Contains("the FPGA's sampler answers"));
}

TEST_CASE("a full bank is a reason and leaves the card unused", "[.full]") {
  const PluginExecutor fpga = MakeFpga(EmulatedFpga());
  CHECK(fpga.executor->Describe().present);
  CHECK(fpga.executor->llm() == nullptr);
  CHECK_THAT(fpga.executor->Describe().reason,
             Catch::Contains("an arena of 67108864 bytes in bank 3"));
}

TEST_CASE("a card with another shell than the xclbin is for is present and unused", "[.shell]") {
  const PluginExecutor fpga = MakeFpga(EmulatedFpga());
  CHECK(fpga.executor->Describe().present);
  CHECK(fpga.executor->llm() == nullptr);
  CHECK(fpga.executor->search() == nullptr);
  const std::string& reason = fpga.executor->Describe().reason;
  CHECK_THAT(reason, Catch::Contains("emulated.xclbin\""));
  CHECK_THAT(reason, Catch::Contains("it was made for baton_emulated_emulated, the card"));
}

TEST_CASE("a machine without cards says so", "[.none]") {
  const PluginExecutor fpga = MakeFpga(EmulatedFpga());
  CHECK_FALSE(fpga.executor->Describe().present);
  CHECK_THAT(fpga.executor->Describe().reason, Catch::Contains("XRT finds no card"));
}

TEST_CASE("of two cards both are used where all are asked for", "[.two]") {
  FpgaOptions options = EmulatedFpga();
  options.devices = 0;
  const auto fpgas = MakeFpgaExecutors(options);
  REQUIRE(fpgas.size() == 2);
  for (const PluginExecutor& fpga : fpgas) CHECK(fpga.executor->llm() != nullptr);
}

TEST_CASE("a text whose card hangs goes on elsewhere, where the request allows it", "[.engine]") {
  EngineFixture f;
  f.options.cost_model.route = false;
  auto& platforms = f.options.route.platforms.of;
  platforms[static_cast<size_t>(WorkClass::kPrefill)] = {"cpu", "fpga"};
  platforms[static_cast<size_t>(WorkClass::kDecode)] = {"fpga", "cpu"};
  FpgaOptions options = EmulatedFpga();
  options.run_timeout_ms = 500;
  PluginExecutor fpga = MakeFpga(options);
  REQUIRE(fpga.executor->llm() != nullptr);
  f.AddExecutor(std::move(fpga.executor));
  f.paths = std::move(fpga.paths);
  f.AddRandomModel();
  f.Start();
  GenerateRequest request;
  request.prompt = std::vector<TokenId>(20, 265);
  request.max_tokens = 8;
  request.ignore_eos = true;
  request.envelope.hints.fallback = Fallback::kAlternate;
  const auto sink = f.Submit(request);
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(sink->ids.size() == 8);
  CHECK(outcome.result.timings.stages.back().route.platform == Platform::kCpu);
  // The next one finds a card that works.
  const auto next = f.Submit(request);
  REQUIRE_OK(next->Wait().status);
  CHECK(next->ids.size() == 8);
}

}  // namespace baton
