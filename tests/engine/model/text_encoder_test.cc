#include "engine/model/text_encoder.h"

#include <functional>
#include <limits>

#include "catch2/catch.hpp"
#include "tests/support/encoder_file.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

using absl::StatusCode;

absl::StatusOr<std::shared_ptr<const TextEncoder>> Load(const std::string& bytes) {
  const TempFile file(bytes);  // the mapping outlives the name
  return LoadTextEncoder("test", file.path());
}

TEST_CASE("an encoder's shape and weights are read", "[text_encoder]") {
  RandomEncoderOptions options;
  options.type = GENERATE(TensorType::kF32, TensorType::kF16, TensorType::kQ8_0);
  options.pooling = GENERATE(1u, 2u);
  options.token_types = GENERATE(0, 1, 2);
  const TempFile file(RandomEncoderBytes(options));
  const auto loaded = LoadTextEncoder("tiny", file.path());
  REQUIRE_OK(loaded);
  const TextEncoder& encoder = **loaded;
  CHECK(encoder.name() == "tiny");
  CHECK(encoder.path() == file.path());
  CHECK(encoder.kind() == Embedder::Kind::kSemantic);
  CHECK(encoder.dimension() == 64);
  const EncoderShape& shape = encoder.shape();
  CHECK(shape.architecture == "bert");
  CHECK(shape.dim == 64);
  CHECK(shape.ffn_dim == 96);
  CHECK(shape.layers == 2);
  CHECK(shape.heads == 4);
  CHECK(shape.head_dim == 16);
  CHECK(shape.vocabulary == 160);
  CHECK(shape.context_tokens == 64);
  CHECK(shape.norm_epsilon == 1e-12f);
  CHECK(shape.pooling == static_cast<Pooling>(options.pooling));

  const EncoderWeights& weights = encoder.weights();
  REQUIRE(weights.layers.size() == 2);
  CHECK(weights.token_embedding.rows == 160);
  CHECK(weights.token_embedding.type == options.type);
  CHECK(weights.position_embedding.rows == 64);
  CHECK(weights.type_embedding.rows == options.token_types);
  CHECK((weights.type_embedding.data == nullptr) == (options.token_types == 0));
  CHECK(weights.layers[1].up.w.rows == 96);
  CHECK(weights.layers[1].down.w.cols == 96);
  const int64_t layer = 4 * (64 * 64 + 64) + 2 * 64 * 96 + 96 + 64 + 4 * 64;
  CHECK(shape.parameters == (160 + 64 + options.token_types + 2) * 64 + 2 * layer);
  if (options.type == TensorType::kF32) CHECK(encoder.weight_bytes() == shape.parameters * 4);
}

TEST_CASE("a text stands between [CLS] and [SEP], a long one by its beginning", "[text_encoder]") {
  const auto encoder = Load(RandomEncoderBytes({.context_tokens = 8}));
  REQUIRE_OK(encoder);
  const auto tokens = (*encoder)->tokenizer().Encode("the tower is");
  REQUIRE(tokens.size() == 3);
  CHECK((*encoder)->InputOf("the tower is").tokens ==
        std::vector<TokenId>{2, tokens[0], tokens[1], tokens[2], 3});
  CHECK((*encoder)->InputOf("").tokens == std::vector<TokenId>{2, 3});
  const auto cut = (*encoder)->InputOf("the tower is the tower is the tower is").tokens;
  CHECK(cut == std::vector<TokenId>{2, tokens[0], tokens[1], tokens[2], tokens[0], tokens[1],
                                    tokens[2], 3});
  const auto smallest = Load(RandomEncoderBytes({.context_tokens = 2}));
  REQUIRE_OK(smallest);
  CHECK((*smallest)->InputOf("the tower").tokens == std::vector<TokenId>{2, 3});
}

TEST_CASE("what an encoder cannot be is refused by key", "[text_encoder]") {
  struct Wrong {
    const char* what;
    std::function<void(RandomEncoderOptions&)> change;
    std::function<void(GgufWriter&)> add;
    StatusCode code;
    const char* message;
  };
  const auto no_change = [](RandomEncoderOptions&) {};
  const auto nothing = [](GgufWriter&) {};
  const Wrong cases[] = {
      {"no pooling", [](auto& o) { o.pooling = 0; }, nothing, StatusCode::kUnimplemented,
       "key 'bert.pooling_type' is 0, only 1 (mean), 2 (cls) and 4 (rank) are supported"},
      {"last", [](auto& o) { o.pooling = 3; }, nothing, StatusCode::kUnimplemented,
       "'bert.pooling_type' is 3"},
      {"heads", [](auto& o) { o.heads = 5; }, nothing, StatusCode::kInvalidArgument,
       "key 'bert.embedding_length' is 64, which 5 heads do not divide"},
      {"context", [](auto& o) { o.context_tokens = 1; }, nothing, StatusCode::kInvalidArgument,
       "key 'bert.context_length' is 1, allowed are 2 to 65536"},
      {"layers", [](auto& o) { o.layers = 0; }, nothing, StatusCode::kInvalidArgument,
       "key 'bert.block_count' is 0, allowed are 1 to"},
      {"a reranker's head", no_change,
       [](GgufWriter& w) {
         w.AddTensor("cls.weight", {64}, TensorType::kF32, std::vector<float>(64));
       },
       StatusCode::kUnimplemented, "tensor 'cls.weight' is not part of a plain bert model"},
  };
  for (const Wrong& wrong : cases) {
    CAPTURE(wrong.what);
    RandomEncoderOptions options;
    wrong.change(options);
    GgufWriter writer;
    AddRandomEncoderKeys(options, writer);
    wrong.add(writer);
    AddRandomEncoderTensors(options, writer);
    REQUIRE_STATUS(Load(writer.Bytes()), wrong.code, wrong.message);
  }
}

TEST_CASE("rerankers have a head of one or two matrices, and read pairs", "[text_encoder]") {
  for (const RandomEncoderOptions& options :
       {RandomEncoderOptions{.context_tokens = 16, .pooling = 4},
        RandomEncoderOptions{.context_tokens = 16, .pooling = 4, .dense_head = false},
        RandomEncoderOptions{.context_tokens = 16, .pooling = 4, .score_head = false},
        RandomEncoderOptions{.context_tokens = 16, .pooling_key = false}}) {
    CAPTURE(options.dense_head, options.score_head, options.pooling_key);
    RandomEncoderOptions of_file = options;
    of_file.pooling = 4;
    const auto encoder = Load(RandomEncoderBytes(of_file));
    REQUIRE_OK(encoder);
    CHECK((*encoder)->kind() == Embedder::Kind::kCrossEncoder);
    CHECK((*encoder)->dimension() == 1);
    const EncoderWeights& weights = (*encoder)->weights();
    CHECK((weights.dense.w.data != nullptr) == (options.dense_head && options.score_head));
    CHECK(weights.score.w.rows == 1);
    CHECK(weights.score.bias != nullptr);

    const TextEncoder::First query = (*encoder)->FirstOf("the tower");
    CHECK_FALSE(query.truncated);
    const EncoderInput pair = (*encoder)->PairOf(query, "is the ferry");
    std::vector<TokenId> wanted = (*encoder)->InputOf("the tower").tokens;
    const std::vector<TokenId> second = (*encoder)->InputOf("is the ferry").tokens;
    CHECK(pair.second == static_cast<int32_t>(wanted.size()));
    wanted.insert(wanted.end(), second.begin() + 1, second.end());
    CHECK(pair.tokens == wanted);
    CHECK_FALSE(pair.truncated);
    CHECK((*encoder)->PairOf(query, "").tokens.size() == 5);

    const TextEncoder::First longest = (*encoder)->FirstOf(std::string(1000, '.'));
    CHECK(longest.truncated);
    CHECK(longest.tokens.size() == 6);  // half of the 13 that three others leave
    const EncoderInput full = (*encoder)->PairOf(longest, "the tower is the ferry of the tower");
    CHECK(full.truncated);
    CHECK(full.tokens.size() == 16);
    CHECK(full.tokens.back() == 3);
    CHECK(full.second == 8);
  }
  REQUIRE_STATUS(Load(RandomEncoderBytes({.pooling = 4, .dense_head = false, .score_head = false})),
                 StatusCode::kInvalidArgument, "tensor 'cls.output.weight' is missing");
  REQUIRE_STATUS(Load(RandomEncoderBytes({.context_tokens = 7, .pooling = 4})),
                 StatusCode::kInvalidArgument, "a pair needs 8");
  // A head of several labels.
  RandomEncoderOptions several = {.pooling = 4, .dense_head = false, .score_head = false};
  GgufWriter writer;
  AddRandomEncoderKeys(several, writer);
  AddRandomEncoderTensors(several, writer);
  writer.AddTensor("cls.output.weight", {64, 3}, TensorType::kF32, std::vector<float>(192));
  REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kInvalidArgument,
                 "tensor 'cls.output.weight' is of shape [3, 64], wanted [1, 64]");
}

TEST_CASE("tensors that do not fit the keys are refused by name", "[text_encoder]") {
  struct Wrong {
    RandomEncoderOptions keys;
    RandomEncoderOptions tensors;
    const char* message;
  };
  const Wrong cases[] = {
      {{.layers = 3}, {.layers = 2}, "tensor 'blk.2.attn_q.weight' is missing"},
      {{.token_types = 2}, {.token_types = 0}, "tensor 'token_types.weight' is missing"},
      {{.token_types = 2},
       {.token_types = 3},
       "tensor 'token_types.weight' is of shape [3, 64], wanted [2, 64]"},
      {{.ffn_dim = 96},
       {.ffn_dim = 128},
       "tensor 'blk.0.ffn_up.weight' is of shape [128, 64], wanted [96, 64]"},
      {{.context_tokens = 64},
       {.context_tokens = 32},
       "tensor 'position_embd.weight' is of shape [32, 64], wanted [64, 64]"},
      {{.vocabulary = 160},
       {.vocabulary = 161},
       "tensor 'token_embd.weight' is of shape [161, 64], wanted [160, 64]"},
  };
  for (const Wrong& wrong : cases) {
    GgufWriter writer;
    AddRandomEncoderKeys(wrong.keys, writer);
    AddRandomEncoderTensors(wrong.tensors, writer);
    REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kInvalidArgument, wrong.message);
  }
  GgufWriter more_layers;
  AddRandomEncoderKeys({.layers = 1}, more_layers);
  AddRandomEncoderTensors({.layers = 2}, more_layers);
  REQUIRE_STATUS(Load(more_layers.Bytes()), StatusCode::kUnimplemented,
                 "tensor 'blk.1.attn_q.weight' is not part of a plain bert model");
}

TEST_CASE("wrong keys, values and files are refused", "[text_encoder]") {
  REQUIRE_STATUS(Load(RandomModelBytes({})), StatusCode::kUnimplemented,
                 "key 'general.architecture' is 'llama', only 'bert' is supported");
  REQUIRE_STATUS(LoadTextEncoder("x", "/no/such.gguf"), StatusCode::kNotFound, "/no/such.gguf");
  GgufWriter bare;
  bare.AddString("general.architecture", "bert");
  SECTION("no keys") {
    REQUIRE_STATUS(Load(bare.Bytes()), StatusCode::kNotFound, "bert.embedding_length");
  }
  SECTION("causal") {
    bare.AddBool("bert.attention.causal", true);
    REQUIRE_STATUS(Load(bare.Bytes()), StatusCode::kUnimplemented, "'bert.attention.causal'");
  }
  SECTION("not a number") {
    GgufWriter writer;
    AddRandomEncoderKeys({}, writer);
    std::vector<float> weights(160 * 64);
    weights[77] = std::numeric_limits<float>::quiet_NaN();
    writer.AddTensor("token_embd.weight", {64, 160}, TensorType::kF32, weights);
    REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kInvalidArgument,
                   "tensor 'token_embd.weight' holds a NaN or an infinity");
  }
}

}  // namespace
}  // namespace baton
