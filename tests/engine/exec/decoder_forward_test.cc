#include "engine/exec/cpu/decoder_forward.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "tests/engine/exec/forward_harness.h"

namespace baton {
namespace {

constexpr uint32_t kSeed = 20260804;

std::vector<double> NaiveMultiply(const MatrixView& w, const std::vector<double>& x) {
  std::vector<double> y;
  std::vector<float> row(static_cast<size_t>(w.cols));
  for (int64_t r = 0; r < w.rows; ++r) {
    DequantizeRow(w.type, w.data + r * RowBytes(w.type, w.cols), w.cols, row.data());
    double sum = 0;
    for (int64_t c = 0; c < w.cols; ++c) sum += x[c] * row[c];
    y.push_back(sum);
  }
  return y;
}

std::vector<double> NaiveNorm(const std::vector<double>& x, const float* weight, double epsilon) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double factor = 1 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon);
  std::vector<double> y;
  for (size_t i = 0; i < x.size(); ++i) y.push_back(x[i] * factor * weight[i]);
  return y;
}

void NaiveRope(const LlmShape& shape, const float* factors, int position, std::vector<double>& x) {
  for (size_t head = 0; head < x.size() / shape.head_dim; ++head) {
    for (int i = 0; i < shape.rope_dims / 2; ++i) {
      const double angle = position * shape.rope_scale *
                           std::pow(shape.rope_base, -2.0 * i / shape.rope_dims) /
                           (factors != nullptr ? factors[i] : 1.0f);
      double& a = x[head * shape.head_dim + 2 * i];
      double& b = x[head * shape.head_dim + 2 * i + 1];
      const double rotated = a * std::cos(angle) - b * std::sin(angle);
      b = a * std::sin(angle) + b * std::cos(angle);
      a = rotated;
    }
  }
}

// Logits after each token of a sequence: plain loops, doubles, one token at a time, keys and values
// of each layer in one growing list.
std::vector<std::vector<double>> NaiveForward(const LanguageModel& model,
                                              const std::vector<TokenId>& tokens) {
  const LlmShape& shape = model.shape();
  const LlmWeights& w = model.weights();
  std::vector<std::vector<std::vector<double>>> keys(shape.layers);  // [layers][positions][kv_dim]
  std::vector<std::vector<std::vector<double>>> values(shape.layers);
  std::vector<std::vector<double>> all_logits;
  for (size_t position = 0; position < tokens.size(); ++position) {
    std::vector<float> embedding(static_cast<size_t>(shape.dim));
    DequantizeRow(
        w.token_embedding.type,
        w.token_embedding.data + tokens[position] * RowBytes(w.token_embedding.type, shape.dim),
        shape.dim, embedding.data());
    std::vector<double> x(embedding.begin(), embedding.end());
    for (int layer = 0; layer < shape.layers; ++layer) {
      const LlmLayerWeights& l = w.layers[layer];
      const auto h = NaiveNorm(x, l.attention_norm, shape.rms_epsilon);
      auto q = NaiveMultiply(l.query, h);
      auto k = NaiveMultiply(l.key, h);
      NaiveRope(shape, w.rope_factors, static_cast<int>(position), q);
      NaiveRope(shape, w.rope_factors, static_cast<int>(position), k);
      keys[layer].push_back(k);
      values[layer].push_back(NaiveMultiply(l.value, h));
      std::vector<double> attended(q.size(), 0.0);
      for (int head = 0; head < shape.heads; ++head) {
        const int kv = head / (shape.heads / shape.kv_heads) * shape.head_dim;
        std::vector<double> scores;
        double sum = 0;
        for (size_t p = 0; p <= position; ++p) {
          double score = 0;
          for (int d = 0; d < shape.head_dim; ++d) {
            score += q[head * shape.head_dim + d] * keys[layer][p][kv + d];
          }
          scores.push_back(std::exp(score / std::sqrt(shape.head_dim)));
          sum += scores.back();
        }
        for (size_t p = 0; p <= position; ++p) {
          for (int d = 0; d < shape.head_dim; ++d) {
            attended[head * shape.head_dim + d] += scores[p] / sum * values[layer][p][kv + d];
          }
        }
      }
      const auto projected = NaiveMultiply(l.output, attended);
      for (size_t i = 0; i < x.size(); ++i) x[i] += projected[i];
      const auto f = NaiveNorm(x, l.ffn_norm, shape.rms_epsilon);
      auto gate = NaiveMultiply(l.gate, f);
      const auto up = NaiveMultiply(l.up, f);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
      const auto down = NaiveMultiply(l.down, gate);
      for (size_t i = 0; i < x.size(); ++i) x[i] += down[i];
    }
    all_logits.push_back(NaiveMultiply(w.output, NaiveNorm(x, w.output_norm, shape.rms_epsilon)));
  }
  return all_logits;
}

std::vector<TokenId> RandomTokens(size_t count, int32_t vocabulary, std::mt19937& random) {
  std::vector<TokenId> tokens;
  for (size_t i = 0; i < count; ++i) tokens.push_back(static_cast<TokenId>(random() % vocabulary));
  return tokens;
}

double RelativeError(const std::vector<float>& a, const std::vector<double>& b) {
  double error = 0;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error = std::max(error, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return error / largest;
}

}  // namespace

TEST_CASE("the forward pass equals plain loops, token by token") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const RandomModelOptions options = GENERATE(RandomModelOptions{},
                                              RandomModelOptions{.dim = 96,
                                                                 .ffn_dim = 172,
                                                                 .layers = 3,
                                                                 .heads = 6,
                                                                 .kv_heads = 1,
                                                                 .type = TensorType::kF16,
                                                                 .tied_output = false,
                                                                 .seed = 2},
                                              RandomModelOptions{.dim = 64,
                                                                 .ffn_dim = 160,
                                                                 .heads = 8,
                                                                 .kv_heads = 8,
                                                                 .type = TensorType::kQ8_0,
                                                                 .rope_factors = true,
                                                                 .seed = 3});
  const int32_t block_tokens = GENERATE(8, 32);
  CAPTURE(Name(level), Name(options.type), block_tokens, kSeed);
  const auto model = RandomModel(options);
  std::mt19937 random(kSeed);
  const std::vector<TokenId> tokens = RandomTokens(21, model->shape().vocabulary, random);
  const auto want = NaiveForward(*model, tokens);

  const KvLayout layout = LayoutOf(model->shape(), block_tokens);
  ThreadTeam team(2);
  DecoderForward forward(model, KernelsFor(level), team, 32);
  SequenceBlocks sequence(layout, 32);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto logits =
        LogitsAfter(forward, layout, sequence, {&tokens[i], 1}, static_cast<int32_t>(i));
    CAPTURE(i);
    // Packed products round activations to 8 bits, with a scale for each 32 of so few.
    const bool rounds =
        options.type == TensorType::kQ8_0 && KernelsFor(level).packed_matmul != nullptr;
    REQUIRE(RelativeError(logits, want[i]) < (rounds ? 6e-2 : 2e-5));
  }
}

TEST_CASE("a prompt in chunks gives the same bits as in one step") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const TensorType type = GENERATE(TensorType::kF32, TensorType::kF16, TensorType::kQ8_0);
  CAPTURE(Name(level), Name(type), kSeed);
  const auto model = RandomModel({.type = type});
  const KvLayout layout = LayoutOf(model->shape(), 16);
  std::mt19937 random(kSeed);
  const std::vector<TokenId> tokens = RandomTokens(50, model->shape().vocabulary, random);
  ThreadTeam team(2);
  DecoderForward forward(model, KernelsFor(level), team, 64);

  SequenceBlocks whole(layout, 64);
  const auto want = LogitsAfter(forward, layout, whole, tokens, 0);
  for (const size_t chunk : {1, 2, 7, 16, 49}) {
    CAPTURE(chunk);
    SequenceBlocks chunked(layout, 64);
    std::vector<float> logits;
    for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
      const size_t count = std::min(chunk, tokens.size() - begin);
      logits = LogitsAfter(forward, layout, chunked, {&tokens[begin], count},
                           static_cast<int32_t>(begin));
    }
    REQUIRE(logits == want);
    REQUIRE(chunked.memory == whole.memory);
  }
}

TEST_CASE("a sequence gives the same bits alone and in any company, on any team") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const TensorType type = GENERATE(TensorType::kF32, TensorType::kF16, TensorType::kQ8_0);
  const int threads = GENERATE(1, 2, 5);
  CAPTURE(Name(level), Name(type), threads, kSeed);
  // Large enough that the work is really split.
  const auto model = RandomModel(
      {.dim = 256, .ffn_dim = 512, .heads = 8, .kv_heads = 2, .vocabulary = 512, .type = type});
  const KvLayout layout = LayoutOf(model->shape(), 8);
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
        LogitsAfter(alone, layout, blocks, {&next, 1}, static_cast<int32_t>(prompts[s].size())));
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
    items[s].position = static_cast<int32_t>(prompts[s].size());
  }
  SequenceBlocks stranger(layout, 64);
  items.push_back(
      {.tokens = prompts.back(), .position = 0, .blocks = stranger.blocks, .logits = 0});
  REQUIRE_OK(together.Run(layout, items, keep));
  REQUIRE(got == want_decode);
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

}  // namespace baton
