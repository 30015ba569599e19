// Steps of the GPU plug-in on the host runtime for kernels: quantised weights, company, tokens
// chosen there, and what does not fit.
#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "engine/exec/cpu/decoder_forward.h"
#include "engine/model/logprobs.h"
#include "engine/model/sampler.h"
#include "tests/engine/exec/gpu/forward_checks.h"

namespace baton {

TEST_CASE("quantised models are multiplied as planes for few tokens and made dense for many") {
  const TensorType type = GENERATE(TensorType::kQ8_0, TensorType::kQ4_0, TensorType::kQ4K,
                                   TensorType::kQ6K, TensorType::kQ5K);
  const bool f32 = GENERATE(true, false);
  CAPTURE(Name(type), f32);
  const auto device = OpenGpu(f32);
  const auto model = RandomModel({.dim = 256,
                                  .ffn_dim = 256,
                                  .type = type,
                                  .tied_output = false,
                                  .finer_type = TensorType::kQ6K});
  auto forward = PluginForward::Load(device, model);
  REQUIRE_OK(forward);
  std::mt19937 random(kGpuSeed);
  const std::vector<TokenId> tokens = RandomTokens(12, model->shape().vocabulary, random);
  const auto want = NaiveLogits(*model, tokens);
  const KvLayout layout = LayoutOf(model->shape(), 16, f32 ? KvType::kF32 : KvType::kF16);
  DeviceBlocks blocks(*device, layout, 4);
  // Many at once, as floats; then one by one, with activations of 8 bits.
  CHECK(WorstError(LogitsOf(**forward, layout, blocks.Take(12), tokens, 12), want) <=
        (f32 ? 2e-5 : 4e-2));
  CHECK(WorstError(LogitsOf(**forward, layout, blocks.Take(12), tokens, 4), want) <= 6e-2);
}

TEST_CASE("heads of 128 dimensions in bf16 stay within 2 percent of the CPU's logits") {
  RandomModelOptions options{.dim = 512,
                             .ffn_dim = 768,
                             .heads = 4,
                             .kv_heads = 1,
                             .type = TensorType::kF16,
                             .tied_output = false};
  const auto model = RandomModel(options);
  std::mt19937 random(kGpuSeed);
  const std::vector<TokenId> tokens = RandomTokens(40, model->shape().vocabulary, random);
  ThreadTeam team(1);
  DecoderForward cpu(model, KernelsFor(SimdLevel::kBaseline), team, 64);
  const KvLayout cpu_layout = LayoutOf(model->shape(), 16);
  SequenceBlocks sequence(cpu_layout, 64);
  const std::vector<float> want = LogitsAfter(cpu, cpu_layout, sequence, tokens, 0);

  const KvType type = GENERATE(KvType::kF16, KvType::kBF16);
  CAPTURE(Name(type));
  const auto device = OpenGpu(/*f32=*/false);
  auto forward = PluginForward::Load(device, model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf(model->shape(), 16, type);
  DeviceBlocks blocks(*device, layout, 8);
  // A prompt of 39 tokens in tiles, then one token over split keys.
  const std::vector<std::byte*> of = blocks.Take(64);
  std::vector<std::vector<float>> got = LogitsOf(**forward, layout, of, tokens, 39);
  CHECK(RelativeError(got.back(), {want.begin(), want.end()}) <= 2e-2);
}

TEST_CASE("sequences of a step do not see one another") {
  const bool f32 = GENERATE(true, false);
  CAPTURE(f32);
  const auto device = OpenGpu(f32);
  const auto model = RandomModel({});
  auto forward = PluginForward::Load(device, model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf(model->shape(), 16, f32 ? KvType::kF32 : KvType::kF16);
  DeviceBlocks blocks(*device, layout, 16);
  std::mt19937 random(kGpuSeed);
  const std::vector<TokenId> a = RandomTokens(20, model->shape().vocabulary, random);
  const std::vector<TokenId> b = RandomTokens(7, model->shape().vocabulary, random);
  const std::vector<TokenId> c = RandomTokens(18, model->shape().vocabulary, random);

  const auto alone_a = LogitsOf(**forward, layout, blocks.Take(20), a, 20);
  const auto alone_b = LogitsOf(**forward, layout, blocks.Take(7), b, 7);
  const auto blocks_c = blocks.Take(18);
  const std::vector<TokenId> c_prompt(c.begin(), c.begin() + 17);
  LogitsOf(**forward, layout, blocks_c, c_prompt, 17);
  const auto blocks_c_alone = blocks.Take(18);
  LogitsOf(**forward, layout, blocks_c_alone, c_prompt, 17);
  std::vector<float> alone_c;
  const ForwardItem last_c = {
      .tokens = {&c[17], 1}, .position = 17, .blocks = blocks_c_alone, .logits = 1};
  REQUIRE_OK((*forward)->Run(
      layout, {&last_c, 1},
      [&](size_t, std::span<const float> logits) { alone_c.assign(logits.begin(), logits.end()); },
      NoToken));

  // Two prompts, and a token of a third sequence between them.
  const auto blocks_a = blocks.Take(20);
  const auto blocks_b = blocks.Take(7);
  const ForwardItem items[] = {
      {.tokens = a, .position = 0, .blocks = blocks_a, .logits = 2},
      {.tokens = {&c[17], 1}, .position = 17, .blocks = blocks_c, .logits = 1},
      {.tokens = b, .position = 0, .blocks = blocks_b, .logits = 7}};
  std::vector<std::vector<float>> got[3];
  REQUIRE_OK((*forward)->Run(
      layout, items,
      [&](size_t item, std::span<const float> logits) {
        got[item].emplace_back(logits.begin(), logits.end());
      },
      NoToken));
  const auto near = [&](const std::vector<float>& x, const std::vector<float>& y) {
    return RelativeError(x, {y.begin(), y.end()}) <= (f32 ? 1e-6 : 2e-2);
  };
  REQUIRE(got[0].size() == 2);
  CHECK(near(got[0][0], alone_a[18]));
  CHECK(near(got[0][1], alone_a[19]));
  REQUIRE(got[1].size() == 1);
  CHECK(near(got[1][0], alone_c));
  REQUIRE(got[2].size() == 7);
  for (size_t i = 0; i < 7; ++i) CHECK(near(got[2][i], alone_b[i]));
}

TEST_CASE("tokens chosen on the device are the sampler's") {
  const auto device = OpenGpu(/*f32=*/true);
  const auto model = RandomModel({});
  auto forward = PluginForward::Load(device, model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf(model->shape(), 16);
  DeviceBlocks blocks(*device, layout, 8);
  std::mt19937 random(kGpuSeed);
  SamplingParams params;
  params.temperature = GENERATE(0.0f, 0.8f, 1.5f);
  params.top_k = GENERATE(0, 20);
  params.top_p = 0.95f;
  params.seed = 11;
  SamplerSetup setup;
  const bool changed = GENERATE(false, true);
  if (changed) {
    params.repetition_penalty = 1.3f;
    params.penalty_last_n = 6;
    params.presence_penalty = 0.4f;
    params.frequency_penalty = 0.2f;
    params.logit_bias = {{3, 2.5f}, {9, -4.0f}, {100, 1.0f}};
    setup.prompt = {3, 9, 9, 200};
    setup.min_tokens = 5;
    for (TokenId end = 0; end < 320; end += 2) setup.ends.push_back(end);
  }
  CAPTURE(params.temperature, params.top_k, changed);
  setup.params = params;
  Sampler sampler(setup);
  for (int round = 0; round < 8; ++round) {
    const std::vector<TokenId> tokens = RandomTokens(5, model->shape().vocabulary, random);
    DeviceBlocks own(*device, layout, 2);
    const auto of = own.Take(8);
    const std::vector<float> logits = LogitsOf(**forward, layout, of, tokens, 5).back();
    const std::optional<PlainSampling> plain = sampler.plain();
    REQUIRE(plain.has_value());
    const ForwardItem item = {
        .tokens = tokens, .position = 0, .blocks = of, .logits = 1, .sampling = plain};
    TokenId token = -1;
    uint64_t state = 0;
    REQUIRE_OK((*forward)->Run(
        layout, {&item, 1}, [](size_t, std::span<const float>) { FAIL("logits"); },
        [&](size_t, const ChosenToken& chosen) {
          token = chosen.token;
          state = chosen.random_state;
        }));
    CHECK(token == sampler.Sample(logits));
    CHECK(state == sampler.plain()->random_state);
  }
}

TEST_CASE("log probabilities of tokens chosen on the device are of the model's own logits") {
  const auto device = OpenGpu(/*f32=*/true);
  const auto model = RandomModel({});
  auto forward = PluginForward::Load(device, model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf(model->shape(), 16);
  DeviceBlocks blocks(*device, layout, 16);
  std::mt19937 random(kGpuSeed);
  // Each twice: in a step of prompts, then as one that decodes.
  struct Wish {
    bool chooses;
    bool changed;
    std::optional<int32_t> logprobs;
    std::vector<TokenId> tokens = {};
    std::vector<std::byte*> blocks = {};
    std::vector<float> logits = {};
  };
  std::vector<Wish> wishes = {
      {true, false, std::nullopt}, {true, false, 0},  {true, true, 5},  {true, true, std::nullopt},
      {true, false, 20},           {false, false, 3}, {true, false, 65}};
  constexpr size_t kTokens = 6;
  for (Wish& wish : wishes) {
    wish.tokens = RandomTokens(kTokens, model->shape().vocabulary, random);
    wish.blocks = blocks.Take(kTokens);
    wish.logits = LogitsOf(**forward, layout, wish.blocks, wish.tokens, kTokens).back();
  }
  const std::pair<TokenId, float> biases[] = {{4, 30.0f}};
  const bool decodes = GENERATE(false, true);
  CAPTURE(decodes);
  std::vector<ForwardItem> items;
  for (const Wish& wish : wishes) {
    ForwardItem item = {.tokens = wish.tokens, .blocks = wish.blocks, .logits = 1};
    if (decodes) {
      item.tokens = item.tokens.last(1);
      item.position = kTokens - 1;
    }
    if (wish.chooses) item.sampling.emplace();
    if (wish.changed) item.sampling->changes.biases = biases;
    item.logprobs = wish.logprobs;
    items.push_back(item);
  }
  size_t given = 0;
  REQUIRE_OK((*forward)->Run(
      layout, items,
      [&](size_t i, std::span<const float> logits) {
        CAPTURE(i);
        // Which asks for none, or for more alternatives than a device finds.
        CHECK((!wishes[i].chooses || wishes[i].logprobs == 65));
        CHECK(RelativeError({logits.begin(), logits.end()},
                            {wishes[i].logits.begin(), wishes[i].logits.end()}) <= 1e-5);
        ++given;
      },
      [&](size_t i, const ChosenToken& chosen) {
        CAPTURE(i);
        const Wish& wish = wishes[i];
        CHECK(wish.chooses);
        const auto best = std::max_element(wish.logits.begin(), wish.logits.end());
        CHECK(chosen.token == (wish.changed ? 4 : best - wish.logits.begin()));
        ++given;
        REQUIRE(chosen.logprobs.has_value() == wish.logprobs.has_value());
        if (!wish.logprobs) return;
        const TokenLogprobs want = LogprobsOf(wish.logits, chosen.token, *wish.logprobs);
        CHECK(chosen.logprobs->token.id == chosen.token);
        CHECK(chosen.logprobs->token.logprob == Approx(want.token.logprob).margin(1e-4));
        REQUIRE(chosen.logprobs->top.size() == want.top.size());
        for (size_t k = 0; k < want.top.size(); ++k) {
          CHECK(chosen.logprobs->top[k].id == want.top[k].id);
          CHECK(chosen.logprobs->top[k].logprob == Approx(want.top[k].logprob).margin(1e-4));
        }
      }));
  CHECK(given == wishes.size());
}

TEST_CASE("a model that caps its logits has its tokens chosen on the device, too") {
  const auto device = OpenGpu(/*f32=*/true);
  const auto model = RandomModel({.architecture = "gemma2", .head_dim = 32, .window = 4});
  REQUIRE(model->shape().logit_cap > 0);
  auto forward = PluginForward::Load(device, model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf(model->shape(), 16);
  DeviceBlocks blocks(*device, layout, 8);
  std::mt19937 random(kGpuSeed);
  const std::vector<TokenId> tokens = RandomTokens(6, model->shape().vocabulary, random);
  const auto of = blocks.Take(6);
  const std::vector<float> logits = LogitsOf(**forward, layout, of, tokens, 6).back();
  const ForwardItem item = {
      .tokens = tokens, .blocks = of, .logits = 1, .sampling = PlainSampling{}, .logprobs = 2};
  TokenId token = -1;
  REQUIRE_OK((*forward)->Run(
      layout, {&item, 1}, [](size_t, std::span<const float>) { FAIL("logits"); },
      [&](size_t, const ChosenToken& chosen) {
        token = chosen.token;
        const TokenLogprobs want = LogprobsOf(logits, token, 2);
        REQUIRE(chosen.logprobs.has_value());
        CHECK(chosen.logprobs->token.logprob == Approx(want.token.logprob).margin(1e-4));
      }));
  CHECK(token == std::max_element(logits.begin(), logits.end()) - logits.begin());
}

TEST_CASE("changes that have no room on the device leave the choice to the host") {
  const auto device = OpenGpu(/*f32=*/true);
  const auto model = RandomModel({});
  auto forward = PluginForward::Load(device, model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf(model->shape(), 16);
  DeviceBlocks blocks(*device, layout, 4);
  const std::vector<TokenId> tokens = {5};
  const std::vector<TokenId> few(1000, 7);
  const std::vector<TokenId> many((1 << 19) - 999, 7);
  const auto first = blocks.Take(1);
  const auto second = blocks.Take(1);
  ForwardItem items[] = {
      {.tokens = tokens, .blocks = first, .logits = 1, .sampling = PlainSampling{}},
      {.tokens = tokens, .blocks = second, .logits = 1, .sampling = PlainSampling{}}};
  items[0].sampling->changes.excluded = few;
  items[1].sampling->changes.excluded = many;
  std::vector<size_t> logits;
  std::vector<size_t> chosen;
  REQUIRE_OK((*forward)->Run(
      layout, items, [&](size_t item, std::span<const float>) { logits.push_back(item); },
      [&](size_t item, const ChosenToken&) { chosen.push_back(item); }));
  CHECK(logits == std::vector<size_t>{1});
  CHECK(chosen == std::vector<size_t>{0});
}

TEST_CASE("a row of which nothing may be chosen is no fault of the model") {
  const auto device = OpenGpu(/*f32=*/true);
  const auto model = RandomModel({});
  auto forward = PluginForward::Load(device, model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf(model->shape(), 16);
  DeviceBlocks blocks(*device, layout, 4);
  const std::vector<TokenId> tokens = {5};
  std::vector<TokenId> all(static_cast<size_t>(model->shape().vocabulary));
  std::iota(all.begin(), all.end(), 0);
  const auto of = blocks.Take(1);
  ForwardItem item = {.tokens = tokens, .blocks = of, .logits = 1, .sampling = PlainSampling{}};
  item.sampling->changes.excluded = all;
  TokenId token = -1;
  REQUIRE_OK((*forward)->Run(
      layout, {&item, 1}, [](size_t, std::span<const float>) { FAIL("logits"); },
      [&](size_t, const ChosenToken& chosen) { token = chosen.token; }));
  CHECK(token == 0);  // as the sampler chooses then
}

TEST_CASE("a step that does not fit is refused by name and the next one runs") {
  const auto device = OpenGpu(/*f32=*/true, /*step_tokens_max=*/8);
  const auto model = RandomModel({});
  auto forward = PluginForward::Load(device, model);
  REQUIRE_OK(forward);
  const KvLayout layout = LayoutOf(model->shape(), 16);
  DeviceBlocks blocks(*device, layout, 4);
  const auto of = blocks.Take(16);
  const auto run = [&](const KvLayout& with, const ForwardItem& item) {
    const absl::Status status = (*forward)->Run(
        with, {&item, 1}, [](size_t, std::span<const float>) {}, NoToken);
    return std::string(status.message());
  };
  const std::vector<TokenId> tokens(9, 5);
  CHECK(run(layout, {.tokens = tokens, .blocks = of}) ==
        "a step of 9 tokens, step_tokens_max is 8");
  const std::vector<TokenId> outside = {5, 320};
  CHECK(run(layout, {.tokens = outside, .blocks = of}) ==
        "token 320 is not in [0, 320) of model random");
  const std::vector<TokenId> two = {5, 6};
  for (int list = 0; list < 4; ++list) {
    const std::pair<TokenId, float> biases[] = {{320, 1.0f}};
    const TokenCounts::Entry counts[] = {{.token = 320, .count = 1}};
    const TokenId excluded[] = {320};
    PlainSampling sampling;
    if (list == 0) sampling.changes.biases = biases;
    if (list == 1) sampling.changes.repeated = counts;
    if (list == 2) sampling.changes.chosen = counts;
    if (list == 3) sampling.changes.excluded = excluded;
    CHECK(run(layout, {.tokens = two, .blocks = of, .logits = 1, .sampling = sampling}) ==
          "token 320 is not in [0, 320) of model random");
  }
  CHECK(run(layout, {.tokens = two, .position = 127, .blocks = of}) ==
        "positions [127, 129) are not within the 128 tokens of model random");
  CHECK(run(layout, {.tokens = two, .position = 15, .blocks = of}) ==
        "1 KV blocks of 16 tokens do not hold 17 positions");
  KvLayout other = layout;
  other.layers = 3;
  CHECK_THAT(run(other, {.tokens = two, .blocks = of}),
             Catch::StartsWith("KV layout [3 layers, 2 heads, 16] x 16 tokens of type 0 is not"));
  std::vector<std::byte> host(static_cast<size_t>(layout.block_bytes()));
  const std::vector<std::byte*> of_host = {host.data()};
  CHECK_THAT(run(layout, {.tokens = two, .blocks = of_host}),
             Catch::StartsWith("KV block 0 of item 0 is not of the device's memory"));
  CHECK(run(layout, {.tokens = two, .blocks = of, .logits = 0}).empty());
  CHECK((*forward)
            ->Run(
                layout, {}, [](size_t, std::span<const float>) {}, NoToken)
            .ok());
}

TEST_CASE("a deterministic item has the same logits in any company and any chunks") {
  const auto [type, f32] =
      GENERATE(std::pair(TensorType::kF16, true), std::pair(TensorType::kF16, false),
               std::pair(TensorType::kQ8_0, false));
  CAPTURE(Name(type), f32);
  const auto device = OpenGpu(f32);
  const auto model = RandomModel({.type = type, .finer_type = type});
  auto forward = PluginForward::Load(device, model);
  REQUIRE_OK(forward);
  std::mt19937 random(kGpuSeed);
  constexpr size_t kTokens = 18;
  const std::vector<TokenId> tokens = RandomTokens(kTokens, model->shape().vocabulary, random);
  const std::vector<TokenId> others = RandomTokens(17, model->shape().vocabulary, random);
  const KvLayout layout = LayoutOf(model->shape(), 16, f32 ? KvType::kF32 : KvType::kBF16);
  // After the last token: in chunks of so many, beside so many tokens of another sequence.
  const auto last_logits = [&](size_t chunk, size_t company) {
    DeviceBlocks blocks(*device, layout, 8);
    const std::vector<std::byte*> own = blocks.Take(kTokens);
    const std::vector<std::byte*> theirs = blocks.Take(others.size());
    std::vector<float> last;
    for (size_t begin = 0; begin < kTokens; begin += chunk) {
      const size_t count = std::min(chunk, kTokens - begin);
      std::vector<ForwardItem> items;
      if (company > 0) {
        items.push_back({.tokens = {others.data(), company}, .blocks = theirs, .logits = 1});
      }
      items.push_back({.tokens = {&tokens[begin], count},
                       .position = static_cast<int32_t>(begin),
                       .blocks = own,
                       .logits = 1,
                       .deterministic = true});
      const size_t wanted = items.size() - 1;
      REQUIRE_OK((*forward)->Run(
          layout, items,
          [&](size_t item, std::span<const float> logits) {
            if (item == wanted) last.assign(logits.begin(), logits.end());
          },
          NoToken));
    }
    return last;
  };
  const std::vector<float> alone = last_logits(kTokens, 0);
  CHECK(last_logits(5, 17) == alone);
  CHECK(last_logits(17, 1) == alone);
}

}  // namespace baton
