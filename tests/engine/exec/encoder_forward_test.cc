#include "engine/exec/cpu/encoder_forward.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "tests/support/encoder_file.h"
#include "tests/support/heap_bytes.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr uint32_t kSeed = 20261121;

using Doubles = std::vector<double>;

std::shared_ptr<const TextEncoder> RandomEncoder(const RandomEncoderOptions& options) {
  const TempFile file(RandomEncoderBytes(options));
  auto encoder = LoadTextEncoder("random", file.path());
  REQUIRE_OK(encoder);
  return *std::move(encoder);
}

Doubles RowOf(const MatrixView& w, int64_t row) {
  std::vector<float> values(static_cast<size_t>(w.cols));
  DequantizeRow(w.type, w.data + row * RowBytes(w.type, w.cols), w.cols, values.data());
  return {values.begin(), values.end()};
}

void Add(const Doubles& from, Doubles& to) {
  for (size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

using Rows = std::vector<Doubles>;

Rows NaiveLinear(const LinearView& linear, const Rows& x) {
  Rows y(x.size());
  for (int64_t r = 0; r < linear.w.rows; ++r) {
    const Doubles w = RowOf(linear.w, r);
    for (size_t i = 0; i < x.size(); ++i) {
      double sum = linear.bias == nullptr ? 0 : linear.bias[r];
      for (size_t c = 0; c < w.size(); ++c) sum += x[i][c] * w[c];
      y[i].push_back(sum);
    }
  }
  return y;
}

void NaiveNorm(const LayerNormView& norm, double epsilon, Doubles& x) {
  const auto size = static_cast<double>(x.size());
  double mean = 0;
  for (const double value : x) mean += value / size;
  double variance = 0;
  for (const double value : x) variance += (value - mean) * (value - mean) / size;
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = (x[i] - mean) / std::sqrt(variance + epsilon) * norm.weight[i] + norm.bias[i];
  }
}

// Plain loops, doubles, one text or pair at a time: the last layer's rows.
Rows NaiveRows(const TextEncoder& encoder, const std::vector<TokenId>& tokens, size_t second = 0) {
  const EncoderShape& shape = encoder.shape();
  const EncoderWeights& w = encoder.weights();
  const size_t head_dim = static_cast<size_t>(shape.head_dim);
  Rows x;  // [tokens][dim]
  for (size_t i = 0; i < tokens.size(); ++i) {
    x.push_back(RowOf(w.token_embedding, tokens[i]));
    Add(RowOf(w.position_embedding, static_cast<int64_t>(i)), x[i]);
    const bool is_second = second > 0 && i >= second && w.type_embedding.rows > 1;
    if (w.type_embedding.data != nullptr) Add(RowOf(w.type_embedding, is_second ? 1 : 0), x[i]);
    NaiveNorm(w.embedding_norm, shape.norm_epsilon, x[i]);
  }
  for (const EncoderLayerWeights& layer : w.layers) {
    const Rows q = NaiveLinear(layer.query, x);
    const Rows k = NaiveLinear(layer.key, x);
    const Rows v = NaiveLinear(layer.value, x);
    Rows attended(x.size(), Doubles(x[0].size()));
    for (size_t i = 0; i < x.size(); ++i) {
      for (size_t first = 0; first < x[i].size(); first += head_dim) {
        Doubles weights;
        double sum = 0;
        for (size_t j = 0; j < x.size(); ++j) {
          double score = 0;
          for (size_t d = first; d < first + head_dim; ++d) score += q[i][d] * k[j][d];
          weights.push_back(std::exp(score / std::sqrt(static_cast<double>(head_dim))));
          sum += weights.back();
        }
        for (size_t j = 0; j < x.size(); ++j) {
          for (size_t d = first; d < first + head_dim; ++d) {
            attended[i][d] += weights[j] / sum * v[j][d];
          }
        }
      }
    }
    const Rows output = NaiveLinear(layer.output, attended);
    for (size_t i = 0; i < x.size(); ++i) {
      Add(output[i], x[i]);
      NaiveNorm(layer.attention_norm, shape.norm_epsilon, x[i]);
    }
    Rows up = NaiveLinear(layer.up, x);
    for (Doubles& row : up) {
      for (double& value : row) value *= 0.5 * std::erfc(-value / std::sqrt(2.0));
    }
    const Rows down = NaiveLinear(layer.down, up);
    for (size_t i = 0; i < x.size(); ++i) {
      Add(down[i], x[i]);
      NaiveNorm(layer.ffn_norm, shape.norm_epsilon, x[i]);
    }
  }
  return x;
}

Doubles NaiveEmbedding(const TextEncoder& encoder, const std::vector<TokenId>& tokens) {
  const EncoderShape& shape = encoder.shape();
  const Rows x = NaiveRows(encoder, tokens);
  Doubles pooled = x[0];
  if (shape.pooling == Pooling::kMean) {
    for (size_t i = 1; i < x.size(); ++i) Add(x[i], pooled);
  }
  double squares = 0;
  for (const double value : pooled) squares += value * value;
  for (double& value : pooled) value /= std::sqrt(squares);
  return pooled;
}

double NaiveScore(const TextEncoder& encoder, const std::vector<TokenId>& tokens, size_t second) {
  const EncoderWeights& w = encoder.weights();
  Rows pooled = {NaiveRows(encoder, tokens, second)[0]};
  if (w.dense.w.data != nullptr) {
    pooled = NaiveLinear(w.dense, pooled);
    for (double& value : pooled[0]) value = std::tanh(value);
  }
  return NaiveLinear(w.score, pooled)[0][0];
}

std::vector<std::vector<TokenId>> RandomTexts(const std::vector<size_t>& lengths,
                                              int32_t vocabulary) {
  std::mt19937 random(kSeed);
  std::vector<std::vector<TokenId>> texts;
  for (const size_t length : lengths) {
    std::vector<TokenId>& text = texts.emplace_back();
    for (size_t i = 0; i < length; ++i) text.push_back(static_cast<TokenId>(random() % vocabulary));
  }
  return texts;
}

std::vector<std::vector<float>> Embed(EncoderForward& forward,
                                      const std::vector<std::vector<TokenId>>& texts) {
  std::vector<EncoderText> inputs;
  for (const auto& text : texts) inputs.push_back({.tokens = text});
  std::vector<std::vector<float>> embeddings;
  REQUIRE_OK(forward.Run(inputs, &embeddings));
  REQUIRE(embeddings.size() == texts.size());
  return embeddings;
}

double Distance(const std::vector<float>& a, const Doubles& b) {
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) squares += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(squares);
}

}  // namespace

TEST_CASE("embeddings equal plain loops, for every type and shape") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  struct Case {
    RandomEncoderOptions options;
    double error_max;
  };
  // Where quantised weights meet activations of 8 bits, those are what is lost.
  const double rounded = KernelsFor(level).quantise != nullptr ? 2e-2 : 2e-5;
  const Case test = GENERATE_COPY(
      Case{{}, 2e-5},
      Case{{.dim = 60, .ffn_dim = 33, .layers = 3, .heads = 5, .pooling = 2, .seed = 2}, 2e-5},
      Case{{.dim = 96,
            .ffn_dim = 172,
            .heads = 1,
            .context_tokens = 600,
            .token_types = 0,
            .type = TensorType::kF16,
            .seed = 3},
           2e-5},
      Case{{.dim = 64, .heads = 64, .token_types = 1, .type = TensorType::kBF16, .seed = 4},
           KernelsFor(level).tile_matmul != nullptr ? rounded : 2e-5},
      Case{{.dim = 64, .ffn_dim = 256, .type = TensorType::kQ8_0, .seed = 5}, rounded},
      Case{{.dim = 64, .ffn_dim = 128, .pooling = 2, .type = TensorType::kQ4_0, .seed = 6},
           rounded},
      Case{{.dim = 256, .ffn_dim = 512, .layers = 1, .type = TensorType::kQ4K, .seed = 7}, rounded},
      Case{{.dim = 64, .ffn_dim = 256, .type = TensorType::kQ6K, .seed = 8}, rounded});
  CAPTURE(Name(level), test.options.seed);
  const auto encoder = RandomEncoder(test.options);
  ThreadTeam team(2);
  EncoderForward forward(encoder, KernelsFor(level), team);
  std::vector<size_t> lengths = {1, 2, 3, 17, 63, 64};
  if (test.options.context_tokens > 512) lengths = {65, 128, 200};
  const auto texts = RandomTexts(lengths, test.options.vocabulary);
  const auto embeddings = Embed(forward, texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(texts[i].size());
    CHECK(Distance(embeddings[i], NaiveEmbedding(*encoder, texts[i])) < test.error_max);
  }
}

TEST_CASE("scores of pairs equal plain loops, in any batch") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  struct Case {
    RandomEncoderOptions options;
    double error_max;
  };
  const double rounded = KernelsFor(level).quantise != nullptr ? 0.1 : 2e-4;
  const Case test = GENERATE_COPY(
      Case{{.pooling = 4}, 2e-4},
      Case{{.dim = 48, .heads = 3, .token_types = 1, .pooling = 4}, 2e-4},
      Case{{.token_types = 0, .pooling = 4, .dense_head = false, .seed = 2}, 2e-4},
      Case{{.token_types = 3, .pooling = 4, .score_head = false, .seed = 3}, 2e-4},
      Case{{.pooling = 4, .type = TensorType::kF16, .seed = 4}, 2e-4},
      Case{{.ffn_dim = 256, .pooling = 4, .type = TensorType::kQ8_0, .seed = 5}, rounded});
  CAPTURE(Name(level), test.options.seed);
  const auto encoder = RandomEncoder(test.options);
  ThreadTeam team(2);
  EncoderForward forward(encoder, KernelsFor(level), team);
  const auto texts = RandomTexts({3, 4, 7, 16, 33, 64}, test.options.vocabulary);
  std::vector<EncoderText> pairs;
  for (const auto& text : texts) {
    pairs.push_back({.tokens = text, .second = static_cast<int32_t>(1 + text.size() / 3)});
  }
  std::vector<std::vector<float>> scores;
  REQUIRE_OK(forward.Run(pairs, &scores));
  REQUIRE(scores.size() == texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(texts[i].size());
    REQUIRE(scores[i].size() == 1);
    const double naive = NaiveScore(*encoder, texts[i], static_cast<size_t>(pairs[i].second));
    CHECK(std::abs(scores[i][0] - naive) < test.error_max);
    std::vector<std::vector<float>> alone;
    REQUIRE_OK(forward.Run({&pairs[i], 1}, &alone));
    CHECK(alone[0] == scores[i]);
  }
  // The types tell the texts of a pair apart.
  if (test.options.token_types > 1) {
    std::vector<std::vector<float>> single;
    const EncoderText text = {.tokens = texts[4]};
    REQUIRE_OK(forward.Run({&text, 1}, &single));
    CHECK(single[0] != scores[4]);
  }
}

TEST_CASE("an embedding is the same bits alone, in any batch and by any number of threads") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const TensorType type = GENERATE(TensorType::kF32, TensorType::kF16, TensorType::kQ8_0);
  CAPTURE(Name(level), Name(type));
  const auto encoder = RandomEncoder({.ffn_dim = 160, .context_tokens = 100, .type = type});
  const auto texts = RandomTexts({5, 100, 1, 64, 31, 65, 2}, 160);
  ThreadTeam one(1);
  EncoderForward alone(encoder, KernelsFor(level), one);
  ThreadTeam three(3);
  EncoderForward together(encoder, KernelsFor(level), three);
  const auto all = Embed(together, texts);
  for (size_t i = 0; i < texts.size(); ++i) CHECK(Embed(alone, {texts[i]})[0] == all[i]);
  const auto reversed = Embed(together, {texts.rbegin(), texts.rend()});
  for (size_t i = 0; i < texts.size(); ++i) CHECK(reversed[texts.size() - 1 - i] == all[i]);
}

TEST_CASE("an encoder takes the memory that is foretold") {
  const auto encoder = RandomEncoder(
      {.dim = 256, .ffn_dim = 768, .layers = 3, .pooling = 4, .type = TensorType::kQ8_0});
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  ThreadTeam team(2);
  const HeapBytes heap;
  EncoderForward forward(encoder, KernelsFor(level), team);
  heap.CheckTaken(EncoderForward::Bytes(*encoder, KernelsFor(level), 2));
}

TEST_CASE("what does not fit the encoder is refused with the limit") {
  const auto encoder = RandomEncoder({});
  ThreadTeam team(1);
  EncoderForward forward(encoder, KernelsFor(SimdLevel::kBaseline), team);
  std::vector<std::vector<float>> embeddings;
  const auto run = [&](const std::vector<std::vector<TokenId>>& texts) {
    std::vector<EncoderText> inputs;
    for (const auto& text : texts) inputs.push_back({.tokens = text});
    return forward.Run(inputs, &embeddings);
  };
  REQUIRE_STATUS(run({std::vector<TokenId>(65, 7)}), absl::StatusCode::kInvalidArgument,
                 "a text of 65 tokens, model random takes 1 to 64");
  REQUIRE_STATUS(run({{}}), absl::StatusCode::kInvalidArgument, "a text of 0 tokens");
  REQUIRE_STATUS(run({{2, 160}}), absl::StatusCode::kInvalidArgument,
                 "token 160 is not in [0, 160)");
  REQUIRE_STATUS(run({{-1}}), absl::StatusCode::kInvalidArgument, "token -1");
  REQUIRE_STATUS(run(std::vector(9, std::vector<TokenId>(64, 7))),
                 absl::StatusCode::kInvalidArgument, "a step of 576 tokens, at most 512");
  REQUIRE_OK(run({}));
  CHECK(embeddings.empty());
  CHECK(forward.step_tokens_max() == 512);
}

}  // namespace baton
