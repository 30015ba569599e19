#include "engine/exec/cpu/decoder_forward.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "tests/engine/exec/forward_harness.h"
#include "tests/engine/exec/model_cases.h"
#include "tests/engine/exec/naive_decoder.h"
#include "tests/support/heap_bytes.h"
#include "tests/support/sanitized.h"

namespace baton {
namespace {

constexpr uint32_t kSeed = 20260804;

// Of packed products, which round activations to 8 bits, with a scale for each 32 of so few: the
// error grows with the layers (measured: 0.094 after gemma3's seven). That the packed matrices
// serve is what these runs show; that the arithmetic is right, those in F32.
constexpr double kRoundedBound = 0.12;

}  // namespace

TEST_CASE("the forward pass of every architecture equals plain loops, in any chunks") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const TensorType type = GENERATE(TensorType::kF32, TensorType::kQ8_0);
  const int32_t block_tokens = type == TensorType::kF32 ? 8 : 32;
  for (const ModelCase& c : ModelCases()) {
    RandomModelOptions options = c.options;
    options.type = type;
    CAPTURE(c.name, Name(level), Name(type), block_tokens, kSeed);
    const auto model = RandomModel(options, c.add_keys);
    std::mt19937 random(kSeed);
    const std::vector<TokenId> tokens = RandomTokens(33, model->shape().vocabulary, random);
    NaiveDecoder naive(*model);
    std::vector<std::vector<double>> want;
    for (const TokenId token : tokens) want.push_back(naive.Next(token));

    const KvLayout layout = LayoutOf(model->shape(), block_tokens);
    ThreadTeam team(2);
    DecoderForward forward(model, KernelsFor(level), team, 64);
    std::vector<std::vector<float>> whole;
    std::vector<std::byte> whole_memory;
    for (const size_t chunk : {tokens.size(), size_t{1}, size_t{2}, size_t{7}, size_t{16}}) {
      CAPTURE(chunk);
      SequenceBlocks sequence(layout, 64);
      std::vector<std::vector<float>> got;
      for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
        const size_t count = std::min(chunk, tokens.size() - begin);
        const ForwardItem item = {.tokens = {&tokens[begin], count},
                                  .position = static_cast<int32_t>(begin),
                                  .blocks = sequence.blocks,
                                  .logits = static_cast<int32_t>(count)};
        REQUIRE_OK(forward.Run(layout, {&item, 1}, [&](size_t, std::span<const float> logits) {
          got.emplace_back(logits.begin(), logits.end());
        }));
      }
      if (whole.empty()) {
        const bool rounds = type == TensorType::kQ8_0 && KernelsFor(level).packed_matmul != nullptr;
        for (size_t i = 0; i < tokens.size(); ++i) {
          CAPTURE(i);
          REQUIRE(RelativeError(got[i], want[i]) < (rounds ? kRoundedBound : 2e-5));
        }
        whole = got;
        whole_memory = sequence.memory;
      }
      REQUIRE(got == whole);
      REQUIRE(sequence.memory == whole_memory);
    }
  }
}

// max |a - b| / max |b| over a step's logits where keys and values are kept in fewer bits than f32
// (measured, the worst of these models and instruction sets: f16 3.6e-3, bf16 1.7e-2, int8 6.0e-2).
constexpr double kF16KvBound = 6e-3;
constexpr double kBF16KvBound = 2.6e-2;
constexpr double kInt8KvBound = 9e-2;

TEST_CASE("a step that pauses for others gives what it gives alone, and so do they") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const TensorType type = GENERATE(TensorType::kF32, TensorType::kQ8_0);
  for (const ModelCase& c : ModelCases()) {
    RandomModelOptions options = c.options;
    options.type = type;
    CAPTURE(c.name, Name(level), Name(type), kSeed);
    const auto model = RandomModel(options, c.add_keys);
    const LlmShape& shape = model->shape();
    std::mt19937 random(kSeed);
    const std::vector<TokenId> prompt = RandomTokens(33, shape.vocabulary, random);
    const int pauses = 2 * shape.layers - 1;
    const std::vector<TokenId> text = RandomTokens(3 + pauses, shape.vocabulary, random);
    const std::span<const TokenId> begin = std::span(text).first(3);

    const KvLayout layout = LayoutOf(shape, 8);
    ThreadTeam team(2);
    DecoderForward forward(model, KernelsFor(level), team, 64);
    SequenceBlocks prompt_blocks(layout, 64);
    SequenceBlocks text_blocks(layout, 64);
    const std::vector<float> want = LogitsAfter(forward, layout, prompt_blocks, prompt, 0);
    std::vector<std::vector<float>> wanted = {LogitsAfter(forward, layout, text_blocks, begin, 0)};
    for (int i = 0; i < pauses; ++i) {
      wanted.push_back(LogitsAfter(forward, layout, text_blocks, {&text[3 + i], 1}, 3 + i, 1));
    }

    SequenceBlocks paused_blocks(layout, 64);
    SequenceBlocks other_blocks(layout, 64);
    std::vector<std::vector<float>> others = {LogitsAfter(forward, layout, other_blocks, begin, 0)};
    std::vector<float> got;
    int32_t layers_done = 0;
    const ForwardItem item = {
        .tokens = prompt, .position = 0, .blocks = paused_blocks.blocks, .logits = 1};
    REQUIRE_OK(forward.Run(
        layout, {&item, 1},
        [&](size_t, std::span<const float> logits) { got.assign(logits.begin(), logits.end()); },
        [&](int32_t layers) { layers_done = layers; },
        [&] {
          const auto at = static_cast<int32_t>(others.size()) + 2;
          others.push_back(LogitsAfter(forward, layout, other_blocks, {&text[at], 1}, at, 1));
        }));
    REQUIRE(others.size() == static_cast<size_t>(1 + pauses));
    REQUIRE(layers_done == shape.layers);
    REQUIRE(got == want);
    REQUIRE(others == wanted);
    // And it left the keys and values that it should.
    REQUIRE(paused_blocks.memory == prompt_blocks.memory);
  }
}

TEST_CASE("keys and values in fewer bits move the logits within the stated bound, in any chunks") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  double worst_f16 = 0;
  double worst_bf16 = 0;
  double worst_int8 = 0;
  for (const ModelCase& c : ModelCases()) {
    CAPTURE(c.name, Name(level), kSeed);
    const auto model = RandomModel(c.options, c.add_keys);
    ThreadTeam team(2);
    DecoderForward forward(model, KernelsFor(level), team, 64);
    std::mt19937 random(kSeed);
    const std::vector<TokenId> tokens = RandomTokens(33, model->shape().vocabulary, random);
    const auto run = [&](KvType type, size_t chunk) {
      const KvLayout layout = LayoutOf(model->shape(), 16, type);
      SequenceBlocks sequence(layout, 64);
      std::vector<std::vector<double>> all;
      for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
        const size_t count = std::min(chunk, tokens.size() - begin);
        const ForwardItem item = {.tokens = {&tokens[begin], count},
                                  .position = static_cast<int32_t>(begin),
                                  .blocks = sequence.blocks,
                                  .logits = static_cast<int32_t>(count)};
        REQUIRE_OK(forward.Run(layout, {&item, 1}, [&](size_t, std::span<const float> logits) {
          all.emplace_back(logits.begin(), logits.end());
        }));
      }
      return all;
    };
    const auto want = run(KvType::kF32, tokens.size());
    for (const KvType type : {KvType::kF16, KvType::kBF16, KvType::kInt8}) {
      const auto got = run(type, tokens.size());
      REQUIRE(run(type, 7) == got);
      double& worst = type == KvType::kF16    ? worst_f16
                      : type == KvType::kBF16 ? worst_bf16
                                              : worst_int8;
      for (size_t i = 0; i < want.size(); ++i) {
        worst = std::max(worst, RelativeError({got[i].begin(), got[i].end()}, want[i]));
      }
    }
  }
  CAPTURE(Name(level), worst_f16, worst_bf16, worst_int8);
  CHECK(worst_f16 <= kF16KvBound);
  CHECK(worst_f16 > 0);
  CHECK(worst_bf16 <= kBF16KvBound);
  CHECK(worst_bf16 > worst_f16);
  CHECK(worst_int8 <= kInt8KvBound);
  CHECK(worst_int8 > worst_f16);
}

TEST_CASE("a sequence gives the same bits alone and in any company, on any team") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const TensorType type =
      GENERATE(TensorType::kF32, TensorType::kF16, TensorType::kBF16, TensorType::kQ8_0);
  const int threads = GENERATE(1, 2, 5);
  // What differs between architectures here is the end of their branches, and the windows.
  const char* const architecture = GENERATE("llama", "gemma3", "phi3");
  CAPTURE(architecture, Name(level), Name(type), threads, kSeed);
  // Large enough that the work is really split.
  const auto model = RandomModel({.architecture = architecture,
                                  .dim = 256,
                                  .ffn_dim = 512,
                                  .heads = 8,
                                  .kv_heads = 2,
                                  .vocabulary = 512,
                                  .window = 6,
                                  .type = type});
  const KvLayout layout = LayoutOf(model->shape(), 8,
                                   type == TensorType::kF32   ? KvType::kF32
                                   : type == TensorType::kF16 ? KvType::kF16
                                                              : KvType::kInt8);
  std::mt19937 random(kSeed);
  constexpr size_t kSequences = 5;

  ThreadTeam one(1);
  DecoderForward alone(model, KernelsFor(level), one, 64);
  std::vector<std::vector<TokenId>> prompts;
  std::vector<std::vector<float>> want_prefill;
  std::vector<std::vector<float>> want_decode;
  for (size_t s = 0; s < kSequences; ++s) {
    prompts.push_back(RandomTokens(3 + 4 * s, model->shape().vocabulary, random));
    SequenceBlocks blocks(layout, 64);
    want_prefill.push_back(LogitsAfter(alone, layout, blocks, prompts[s], 0));
    const TokenId next = Greedy(want_prefill[s]);
    want_decode.push_back(
        LogitsAfter(alone, layout, blocks, {&next, 1}, static_cast<int32_t>(prompts[s].size()), 1));
  }

  // All prompts in one step; then each next token beside another sequence's second prefill.
  ThreadTeam team(threads);
  DecoderForward together(model, KernelsFor(level), team, 128);
  std::vector<SequenceBlocks> blocks(kSequences, SequenceBlocks(layout, 64));
  for (SequenceBlocks& b : blocks) b = SequenceBlocks(layout, 64);
  std::vector<ForwardItem> items;
  for (size_t s = 0; s < kSequences; ++s) {
    items.push_back({.tokens = prompts[s], .position = 0, .blocks = blocks[s].blocks, .logits = 1});
  }
  std::vector<std::vector<float>> got(kSequences);
  const auto keep = [&](size_t item, std::span<const float> logits) {
    if (item < kSequences) got[item].assign(logits.begin(), logits.end());
  };
  REQUIRE_OK(together.Run(layout, items, keep));
  REQUIRE(got == want_prefill);

  std::vector<TokenId> next(kSequences);
  for (size_t s = 0; s < kSequences; ++s) {
    next[s] = Greedy(want_prefill[s]);
    items[s].tokens = {&next[s], 1};
    items[s].generated = 1;
    items[s].position = static_cast<int32_t>(prompts[s].size());
  }
  SequenceBlocks stranger(layout, 64);
  items.push_back(
      {.tokens = prompts.back(), .position = 0, .blocks = stranger.blocks, .logits = 0});
  REQUIRE_OK(together.Run(layout, items, keep));
  REQUIRE(got == want_decode);
}

TEST_CASE("generated tokens give the same bits one by one, guessed, and computed again") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const TensorType type =
      GENERATE(TensorType::kF16, TensorType::kBF16, TensorType::kQ8_0, TensorType::kQ4K);
  const KvType kv_type = GENERATE(KvType::kF16, KvType::kInt8);
  CAPTURE(Name(level), Name(type), Name(kv_type), kSeed);
  const auto model = RandomModel({.dim = 256,
                                  .ffn_dim = 512,
                                  .layers = kSanitized ? 1 : 2,
                                  .heads = 8,
                                  .kv_heads = 2,
                                  .type = type});
  const KvLayout layout = LayoutOf(model->shape(), 8, kv_type);
  ThreadTeam team(2);
  DecoderForward forward(model, KernelsFor(level), team, 96);
  std::mt19937 random(kSeed);
  constexpr int32_t kPromptTokens = 37;
  constexpr int32_t kAll = 71;
  const std::vector<TokenId> text = RandomTokens(kAll, model->shape().vocabulary, random);
  const std::vector<TokenId> strange = RandomTokens(23, model->shape().vocabulary, random);
  // The text in pieces that end at `cuts`, each in one step with a stranger's prompt and a
  // stranger's generated tokens where there is `company`.
  const auto run = [&](const std::vector<int32_t>& cuts, bool company) {
    SequenceBlocks own(layout, 96);
    SequenceBlocks other(layout, 96);
    SequenceBlocks third(layout, 96);
    std::vector<std::vector<float>> logits(kAll);
    int32_t begin = 0;
    for (const int32_t end : cuts) {
      const auto tokens = std::span(text).subspan(begin, end - begin);
      std::vector<ForwardItem> items;
      if (company) {
        items.push_back({.tokens = strange, .generated = 23, .blocks = other.blocks, .logits = 2});
      }
      items.push_back({.tokens = tokens,
                       .generated = end - std::clamp(kPromptTokens, begin, end),
                       .position = begin,
                       .blocks = own.blocks,
                       .logits = end - begin});
      if (company && end - begin < 40) {
        items.push_back({.tokens = strange, .generated = 5, .blocks = third.blocks, .logits = 7});
      }
      int32_t at = begin;
      REQUIRE_OK(forward.Run(layout, items, [&](size_t item, std::span<const float> values) {
        if (item == (company ? 1u : 0u)) logits[at++].assign(values.begin(), values.end());
      }));
      REQUIRE(at == end);
      begin = end;
    }
    return std::pair(logits, own.memory);
  };
  std::vector<int32_t> one_by_one;
  for (int32_t end = kPromptTokens; end <= kAll; ++end) one_by_one.push_back(end);
  const auto want = run(one_by_one, false);
  CHECK(run(one_by_one, true) == want);
  CHECK(run({kAll}, false) == want);
  CHECK(run({kAll}, true) == want);
  CHECK(run({1, 18, 36, 38, 55, 70, kAll}, true) == want);
  CHECK(run({16, 32, 48, 64, kAll}, false) == want);
  if (!DecoderForward::TellsPromptsApart(*model, KernelsFor(level))) return;
  SequenceBlocks given(layout, 96);
  CHECK(LogitsAfter(forward, layout, given, text, 0) != want.first.back());
}

TEST_CASE("more sequences than one pass of logits holds") {
  const auto model = RandomModel({.layers = 1});
  const KvLayout layout = LayoutOf(model->shape(), 8);
  ThreadTeam team(1);
  DecoderForward forward(model, KernelsFor(DetectedSimdLevel()), team, 200);
  std::vector<TokenId> tokens;
  std::vector<SequenceBlocks> blocks;
  blocks.reserve(150);
  std::vector<ForwardItem> items;
  for (TokenId token = 0; token < 150; ++token) tokens.push_back(token);
  for (size_t i = 0; i < tokens.size(); ++i) {
    blocks.emplace_back(layout, 1);
    items.push_back({.tokens = {&tokens[i], 1},
                     .position = 0,
                     .blocks = blocks[i].blocks,
                     .logits = i % 10 != 3 ? 1 : 0});
  }
  std::vector<std::vector<float>> got(items.size());
  REQUIRE_OK(forward.Run(layout, items, [&](size_t item, std::span<const float> logits) {
    got[item].assign(logits.begin(), logits.end());
  }));
  for (size_t i = 0; i < items.size(); ++i) {
    CAPTURE(i);
    if (i % 10 == 3) {
      REQUIRE(got[i].empty());
    } else {
      SequenceBlocks own(layout, 1);
      REQUIRE(got[i] == LogitsAfter(forward, layout, own, {&tokens[i], 1}, 0));
    }
  }
}

TEST_CASE("a step that does not fit is refused, naming what and by how much") {
  const auto model = RandomModel({});
  const KvLayout layout = LayoutOf(model->shape(), 8);
  ThreadTeam team(1);
  DecoderForward forward(model, KernelsFor(DetectedSimdLevel()), team, 8);
  SequenceBlocks blocks(layout, 128);
  std::vector<TokenId> tokens(9, 1);
  const auto run = [&](const KvLayout& l, ForwardItem item) {
    return forward.Run(l, {&item, 1}, [](size_t, std::span<const float>) {});
  };
  const auto kInvalid = absl::StatusCode::kInvalidArgument;
  REQUIRE_STATUS(run(layout, {.tokens = tokens, .blocks = blocks.blocks}), kInvalid,
                 "a step of 9 tokens, step_tokens_max is 8");
  tokens.resize(2);
  REQUIRE_STATUS(run(layout, {.tokens = tokens, .position = 127, .blocks = blocks.blocks}),
                 kInvalid, "positions [127, 129) are not within the 128 tokens");
  REQUIRE_STATUS(
      run(layout, {.tokens = tokens, .position = 7, .blocks = {blocks.blocks.data(), 1}}), kInvalid,
      "1 KV blocks of 8 tokens do not hold 9 positions");
  tokens[1] = model->shape().vocabulary;
  REQUIRE_STATUS(run(layout, {.tokens = tokens, .blocks = blocks.blocks}), kInvalid,
                 "token 320 is not in [0, 320)");
  tokens[1] = -1;
  REQUIRE_STATUS(run(layout, {.tokens = tokens, .blocks = blocks.blocks}), kInvalid, "token -1");
  REQUIRE_STATUS(run(layout, {.blocks = blocks.blocks}), kInvalid, "positions [0, 0)");
  KvLayout other = layout;
  other.kv_heads = 4;
  tokens[1] = 1;
  REQUIRE_STATUS(run(other, {.tokens = tokens, .blocks = blocks.blocks}), kInvalid, "KV layout");
  REQUIRE_OK(run(layout, {.tokens = tokens, .blocks = blocks.blocks}));
  REQUIRE_OK(forward.Run(layout, {}, [](size_t, std::span<const float>) {}));
}

TEST_CASE("a decoder takes the memory that is foretold") {
  const TensorType type =
      GENERATE(TensorType::kF32, TensorType::kBF16, TensorType::kQ8_0, TensorType::kQ4K);
  const auto model = RandomModel({.architecture = "gemma3",
                                  .dim = 256,
                                  .ffn_dim = 768,
                                  .layers = 3,
                                  .head_dim = 32,
                                  .vocabulary = 2000,
                                  .window = 6,
                                  .type = type});
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  ThreadTeam team(2);
  const HeapBytes heap;
  DecoderForward forward(model, KernelsFor(level), team, 128);
  heap.CheckTaken(DecoderForward::Bytes(*model, KernelsFor(level), 2, 128));
}

}  // namespace baton
