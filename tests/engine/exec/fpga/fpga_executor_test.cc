// The FPGA plug-in through the real XRT on the emulated card, and the engine with it.
#include "engine/exec/fpga/fpga_executor.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <iostream>
#include <set>

#include "tests/engine/engine/engine_fixture.h"
#include "tests/engine/exec/fpga/agreement.h"
#include "tests/engine/exec/fpga/golden_tokens.h"
#include "tests/engine/exec/fpga/handed_over.h"
#include "tests/engine/exec/naive_decoder.h"
#include "tests/support/eventually.h"
#include "tests/support/figure.h"
#include "tests/support/shared_data.h"

namespace baton {

TEST_CASE("the emulated card describes itself and takes models and KV blocks into use") {
  const PluginExecutor fpga = MakeFpga(EmulatedFpga());
  const ExecutorInfo& info = fpga.executor->Describe();
  INFO(info.reason);
  REQUIRE(info.present);
  CHECK(info.emulated);
  CHECK(info.reason.empty());
  CHECK(info.memory_bytes_total == 32 * (int64_t{64} << 20));
  REQUIRE(fpga.executor->llm() != nullptr);
  CHECK(fpga.executor->llm()->kv_memory()->only_type() == KvType::kInt8);
  CHECK(fpga.executor->Sample().healthy);
  CHECK(fpga.paths.size() == 2);
}

TEST_CASE("an emulated card is not used unless the configuration says emulate") {
  FpgaOptions options = EmulatedFpga();
  options.enabled = "auto";
  const PluginExecutor fpga = MakeFpga(options);
  CHECK(fpga.executor->llm() == nullptr);
  CHECK(fpga.executor->Describe().emulated);
  CHECK_THAT(fpga.executor->Describe().reason,
             Catch::Contains("executors.fpga.enabled must be emulate"));
}

TEST_CASE("a card without its xclbin or with another file is present and says what is wrong") {
  FpgaOptions options = EmulatedFpga();
  const TempFile text("no xclbin", ".xclbin");
  const std::string whole = ReadWholeFile(options.xclbin);
  const TempFile cut(whole.substr(0, whole.size() / 2), ".xclbin");
  const TempFile other(
      [&] {
        std::string changed = whole;
        const size_t tag = changed.find("baton fpga contract ");
        REQUIRE(tag != std::string::npos);
        changed[tag + 20] = '9';
        return changed;
      }(),
      ".xclbin");
  // The last is whole, and of a card that lacks kernels.
  for (const auto& [file, why] :
       {std::pair<std::string, std::string>{"", "executors.fpga.xclbin names the file"},
        {"/nowhere/card.xclbin", "xclbin \"/nowhere/card.xclbin\""},
        {text.path(), text.path()},
        {cut.path(), cut.path()},
        {other.path(), "was not made for this daemon"},
        {(std::filesystem::path(options.xclbin).parent_path() / "no_search.xclbin").string(),
         "has no kernel hnsw_search"}}) {
    CAPTURE(file);
    options.xclbin = file;
    const PluginExecutor fpga = MakeFpga(options);
    CHECK(fpga.executor->Describe().present);
    CHECK(fpga.executor->llm() == nullptr);
    CHECK_THAT(fpga.executor->Describe().reason, Catch::Contains(why));
  }
}

TEST_CASE("a prompt that the CPU prefills decodes on the card as the oracle and the CPU do") {
  const std::string name = GENERATE("stories260K-f32", "baby105-940K-q8_0");
  CAPTURE(name);
  const auto path = SharedData("models/" + name + ".gguf");
  if (!path) return;
  const auto model = LoadLanguageModel("golden", path->string());
  REQUIRE_OK(model);
  size_t prompt_tokens = 0;
  std::vector<TokenId> tokens = GoldenTokens(*path, &prompt_tokens);
  tokens.resize(std::min(tokens.size(), prompt_tokens + 40));
  const auto device = TryOpenFpga(EmulatedFpga());
  REQUIRE_OK(device);
  // In doubles from the first token on: knows neither the kernels nor what was handed over.
  NaiveDecoder oracle(**model);
  for (size_t i = 0; i < prompt_tokens; ++i) oracle.Next(tokens[i]);
  fpga::Agreement with_oracle;
  fpga::Agreement with_cpu;
  DecodeHandedOver(*device, *model, prompt_tokens, tokens,
                   [&](int32_t position, std::span<const float> got, std::span<const float> cpu) {
                     const std::vector<double> exact = oracle.Next(tokens[position]);
                     with_oracle.Add(got, std::vector<float>(exact.begin(), exact.end()));
                     with_cpu.Add(got, cpu);
                   });
  std::cout << name << " through XRT, beside the oracle: " << with_oracle
            << "\nbeside the F32 CPU executor: " << with_cpu << "\n";
  REQUIRE(with_oracle.steps == std::ssize(tokens) - static_cast<int64_t>(prompt_tokens));
  for (const fpga::Agreement& agreement : {with_oracle, with_cpu}) {
    PrintFigure("decode.top1_agreement", agreement.top_share());
    PrintFigure("decode.logit_cosine", agreement.cosine());
    CHECK(agreement.top_share() >= 0.95);
    CHECK(agreement.cosine() >= 0.999);
  }
}

TEST_CASE("the card chooses tokens and does so anew with the same random state") {
  const auto device = TryOpenFpga(EmulatedFpga());
  REQUIRE_OK(device);
  const auto model = RandomModel({});
  auto forward = PluginForward::Load(*device, model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf(model->shape(), 8, KvType::kInt8);
  DeviceBlocks blocks(**device, layout, 32);
  const auto own = blocks.Take(16);
  const std::vector<TokenId> tokens = {5, 9, 33};
  const auto choose = [&](PlainSampling sampling, uint64_t* state) {
    TokenId chosen = -1;
    const ForwardItem item = {.tokens = tokens, .blocks = own, .logits = 1, .sampling = sampling};
    REQUIRE_OK((*forward)->Run(
        layout, {&item, 1},
        [&](size_t, std::span<const float> logits) {
          chosen = -Greedy(logits) - 1000;  // left to the host
        },
        [&](size_t, const ChosenToken& token) {
          chosen = token.token;
          if (state != nullptr) *state = token.random_state;
        }));
    return chosen;
  };
  uint64_t state = 0;
  const TokenId greedy = choose({.random_state = 7}, &state);
  CHECK(state == 7);  // nothing was drawn
  const ForwardItem with_logits = {.tokens = tokens, .blocks = own, .logits = 1};
  CHECK(greedy == Greedy(LogitsOf(**forward, layout, with_logits)));
  std::set<TokenId> chosen;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const PlainSampling sampling = {.temperature = 2, .top_k = 20, .random_state = seed};
    const TokenId token = choose(sampling, &state);
    CHECK(token >= 0);
    CHECK(token == choose(sampling, nullptr));
    CHECK(state == seed + 0x9e3779b97f4a7c15);
    chosen.insert(token);
  }
  CHECK(chosen.size() > 2);
  // More than the card keeps could be chosen.
  CHECK(choose({.temperature = 5, .random_state = 1}, nullptr) == -greedy - 1000);
}

TEST_CASE("what the card has no room for is refused with the bytes") {
  FpgaOptions options = EmulatedFpga();
  options.bank_memory_mb = 1;
  const auto device = TryOpenFpga(options);
  REQUIRE_OK(device);
  const auto large = RandomModel({.dim = 512, .ffn_dim = 8192, .layers = 3});
  const auto refused = PluginForward::Load(*device, large);
  CHECK(absl::IsResourceExhausted(refused.status()));
  CHECK_THAT(
      std::string(refused.status().message()),
      Catch::Contains("model random needs ") &&
          Catch::Contains("bytes of each of 24 banks of the FPGA, of which the fullest has"));
  const auto blocks = (*device)->Allocate({.count = 1000, .bytes = 1 << 20});
  CHECK(absl::IsResourceExhausted(blocks.status()));
  CHECK_THAT(std::string(blocks.status().message()), Catch::Contains("a model's KV blocks needs "));
  const auto qwen3 = RandomModel({.architecture = "qwen3", .head_dim = 32});
  CHECK(absl::IsUnimplemented(PluginForward::Load(*device, qwen3).status()));
  // What was refused took nothing.
  const auto small = RandomModel({});
  for (int i = 0; i < 3; ++i) REQUIRE_OK(PluginForward::Load(*device, small));
  CHECK((*device)->TakeSample().memory_bytes_used == 0);
}

TEST_CASE("batches that contradict the model end with the field") {
  const auto device = TryOpenFpga(EmulatedFpga());
  REQUIRE_OK(device);
  const auto model = RandomModel({});
  auto forward = PluginForward::Load(*device, model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf(model->shape(), 8, KvType::kInt8);
  DeviceBlocks blocks(**device, layout, 32);
  const auto own = blocks.Take(16);
  const std::vector<TokenId> tokens = {5};
  const auto message = [&](const KvLayout& of, const ForwardItem& item) {
    return std::string((*forward)
                           ->Run(
                               of, {&item, 1}, [](size_t, std::span<const float>) {},
                               [](size_t, const ChosenToken&) {})
                           .message());
  };
  const ForwardItem good = {.tokens = tokens, .blocks = own, .logits = 1};
  CHECK(message(layout, good).empty());
  KvLayout f16 = layout;
  f16.type = KvType::kF16;
  CHECK_THAT(message(f16, good), Catch::Contains("kv.fpga_type must be int8"));
  ForwardItem item = good;
  item.position = 16;
  CHECK_THAT(message(layout, item), Catch::Contains("2 KV blocks of 8 for 17 positions"));
  item.position = 200;
  CHECK_THAT(message(layout, item), Catch::Contains("the limit is 128"));
  const std::vector<TokenId> foreign = {5000};
  item = good;
  item.tokens = foreign;
  CHECK_THAT(message(layout, item), Catch::Contains("token 5000, the vocabulary"));
  auto askew = own;
  askew[0] += 8;
  item = good;
  item.blocks = askew;
  CHECK_THAT(message(layout, item), Catch::Contains("from byte 8 of a KV block of "));
  // Nobody has written what comes before.
  const auto fresh = blocks.Take(32);
  item = good;
  item.blocks = fresh;
  item.position = 9;
  CHECK_THAT(message(layout, item), Catch::Contains("lost when the card was reset"));
}

// ---- The engine

namespace {

constexpr int32_t kTokens = 10;

// Prompts are the CPU's, decodes the FPGA's.
class CpuAndFpga : public EngineFixture {
 public:
  CpuAndFpga() {
    options.cost_model.route = false;  // by the rules, whatever times a busy machine gives
    auto& platforms = options.route.platforms.of;
    platforms[static_cast<size_t>(WorkClass::kPrefill)] = {"cpu", "fpga"};
    platforms[static_cast<size_t>(WorkClass::kDecode)] = {"fpga", "cpu"};
  }
  ~CpuAndFpga() { engine.reset(); }

  void AddFpga(const FpgaOptions& fpga_options = EmulatedFpga()) {
    PluginExecutor fpga = MakeFpga(fpga_options);
    REQUIRE(fpga.executor->llm() != nullptr);
    AddExecutor(std::move(fpga.executor));
    paths = std::move(fpga.paths);
  }
  static GenerateRequest Request() {
    GenerateRequest request;
    request.prompt = std::vector<TokenId>(37, 265);
    request.max_tokens = kTokens;
    request.ignore_eos = true;
    request.envelope.hints.fallback = Fallback::kAlternate;
    return request;
  }
};

}  // namespace

TEST_CASE("a prompt is prefilled on the CPU, handed over as int8, and decoded on the FPGA") {
  CpuAndFpga f;
  f.AddFpga();
  f.AddRandomModel();
  f.Start();
  const auto sink = f.Submit(CpuAndFpga::Request());
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(sink->ids.size() == kTokens);
  const std::vector<Stage>& stages = outcome.result.timings.stages;
  REQUIRE(stages.size() == 3);
  CHECK(stages[0].route.platform == Platform::kCpu);
  CHECK(stages[1].route.reason == "path staged_host_to_fpga:0/0");
  CHECK(stages[2].route.platform == Platform::kFpga);
  CHECK(stages[2].route.emulated);
  CHECK(f.metrics.Counter(MetricId::kHandoffBytes, {"staged_host_to_fpga:0/0"}).Value() > 0);

  // Both from its first token to its last there: the same tokens, whoever prefills.
  GenerateRequest pinned = CpuAndFpga::Request();
  pinned.envelope.hints.platform = Platform::kFpga;
  pinned.envelope.hints.fallback.reset();
  const auto on_fpga = f.Submit(pinned);
  REQUIRE_OK(on_fpga->Wait().status);
  CHECK(on_fpga->ids.size() == kTokens);
  CHECK(on_fpga->ids.front() == sink->ids.front());
}

TEST_CASE("a model that the card cannot run is the CPU's and the route says why") {
  CpuAndFpga f;
  f.AddFpga();
  f.AddRandomModel({.architecture = "qwen3", .head_dim = 32});
  f.Start();
  const auto outcome = f.Submit(CpuAndFpga::Request())->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(outcome.result.timings.stages.back().route.platform == Platform::kCpu);
  GenerateRequest pinned = CpuAndFpga::Request();
  pinned.envelope.hints.platform = Platform::kFpga;
  pinned.envelope.hints.fallback.reset();
  const auto only = std::make_shared<GenerateRecorder>();
  const auto id = f.engine->Submit(pinned, only);
  const absl::Status refused = id.ok() ? only->Wait().status : id.status();
  CHECK_THAT(std::string(refused.message()),
             Catch::Contains("cannot run this model: it normalises queries and keys"));
}

TEST_CASE("KV of another type than the card takes is refused by name") {
  CpuAndFpga f;
  f.options.kv.fpga_type = "f16";
  f.AddFpga();
  f.AddRandomModel();
  const absl::Status refused = f.TryStart();
  CHECK_THAT(std::string(refused.message()), Catch::Contains("must be int8"));
}

}  // namespace baton
