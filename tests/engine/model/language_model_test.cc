#include "engine/model/language_model.h"

#include <cstring>
#include <functional>
#include <limits>

#include "catch2/catch.hpp"
#include "tests/support/gguf_writer.h"
#include "tests/support/shared_data.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

using absl::StatusCode;

absl::StatusOr<std::shared_ptr<const LanguageModel>> Load(const std::string& bytes) {
  const TempFile file(bytes);  // the mapping outlives the name
  return LoadLanguageModel("test", file.path());
}

TEST_CASE("a model's shape and weights are read", "[language_model]") {
  RandomModelOptions options;
  options.type = GENERATE(TensorType::kF32, TensorType::kF16, TensorType::kQ8_0);
  options.tied_output = GENERATE(true, false);
  options.rope_factors = GENERATE(true, false);
  const TempFile file(RandomModelBytes(options));
  const auto loaded = LoadLanguageModel("tiny", file.path());
  REQUIRE_OK(loaded);
  const LanguageModel& model = **loaded;
  CHECK(model.name() == "tiny");
  CHECK(model.path() == file.path());
  const LlmShape& shape = model.shape();
  CHECK(shape.architecture == "llama");
  CHECK(shape.dim == 64);
  CHECK(shape.ffn_dim == 96);
  CHECK(shape.layers == 2);
  CHECK(shape.heads == 4);
  CHECK(shape.kv_heads == 2);
  CHECK(shape.head_dim == 16);
  CHECK(shape.vocabulary == 320);
  CHECK(shape.context_tokens == 128);
  CHECK(shape.rope_dims == 16);
  CHECK(shape.rope.base == 10000.0f);
  CHECK(shape.rope.scale == 1.0f);
  CHECK(shape.rms_epsilon == 1e-5f);

  const LlmWeights& weights = model.weights();
  REQUIRE(weights.layers.size() == 2);
  CHECK(weights.token_embedding.rows == 320);
  CHECK(weights.token_embedding.cols == 64);
  CHECK(weights.token_embedding.type == options.type);
  CHECK((weights.output.data == weights.token_embedding.data) == options.tied_output);
  CHECK((shape.rope.factors != nullptr) == options.rope_factors);
  const LlmLayerWeights& layer = weights.layers[1];
  CHECK(layer.key.rows == 32);
  CHECK(layer.key.cols == 64);
  CHECK(layer.down.rows == 64);
  CHECK(layer.down.cols == 96);
  CHECK(layer.ffn_norm != layer.attention_norm);
  const int64_t layer_parameters = 2 * 64 + 2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64;
  CHECK(shape.parameters == 320 * 64 * (options.tied_output ? 1 : 2) + 64 + 2 * layer_parameters +
                                (options.rope_factors ? 8 : 0));
  if (options.type == TensorType::kF32) {
    CHECK(model.weight_bytes() == shape.parameters * 4);
  }
  CHECK(model.tokenizer().vocabulary() == 320);
}

TEST_CASE("any shape that fits together loads", "[language_model]") {
  RandomModelOptions options;
  options.dim = 48;
  options.heads = 6;
  options.kv_heads = 1;
  options.ffn_dim = 33;
  options.layers = 1;
  options.vocabulary = 333;
  options.type = TensorType::kQ8_0;  // no row is whole blocks: every matrix stays F16
  const auto model = Load(RandomModelBytes(options));
  REQUIRE_OK(model);
  CHECK((*model)->shape().head_dim == 8);
  CHECK((*model)->weights().layers[0].gate.type == TensorType::kF16);
}

TEST_CASE("rope keys are read", "[language_model]") {
  GgufWriter writer;
  AddRandomModelKeys({}, writer);
  writer.AddUint32("llama.rope.dimension_count", 8);
  writer.AddFloat("llama.rope.freq_base", 500000.0f);
  writer.AddString("llama.rope.scaling.type", "linear");
  writer.AddFloat("llama.rope.scaling.factor", 4.0f);
  AddRandomModelTensors({}, writer);
  const auto model = Load(writer.Bytes());
  REQUIRE_OK(model);
  CHECK((*model)->shape().rope_dims == 8);
  CHECK((*model)->shape().rope.base == 500000.0f);
  CHECK((*model)->shape().rope.scale == 0.25f);
  CHECK((*model)->shape().rope.yarn_mix == 0.0f);
}

TEST_CASE("yarn keys are read, and have the published defaults", "[language_model]") {
  const bool stated = GENERATE(false, true);
  GgufWriter writer;
  AddRandomModelKeys({.architecture = "qwen2"}, writer);
  writer.AddString("qwen2.rope.scaling.type", "yarn");
  writer.AddFloat("qwen2.rope.scaling.factor", 4.0f);
  if (stated) {
    writer.AddUint32("qwen2.rope.scaling.original_context_length", 32);
    writer.AddFloat("qwen2.rope.scaling.attn_factor", 0.5f);
    writer.AddFloat("qwen2.rope.scaling.yarn_ext_factor", 0.75f);
    writer.AddFloat("qwen2.rope.scaling.yarn_beta_fast", 16.0f);
    writer.AddFloat("qwen2.rope.scaling.yarn_beta_slow", 2.0f);
  }
  AddRandomModelTensors({.architecture = "qwen2"}, writer);
  const auto model = Load(writer.Bytes());
  REQUIRE_OK(model);
  const RopeParameters& rope = (*model)->shape().rope;
  CHECK(rope.scale == 0.25f);
  CHECK(rope.original_context_tokens == (stated ? 32 : 128));
  CHECK(rope.yarn_mix == (stated ? 0.75f : 1.0f));
  CHECK(rope.yarn_beta_fast == (stated ? 16.0f : 32.0f));
  CHECK(rope.yarn_beta_slow == (stated ? 2.0f : 1.0f));
  // 0.1 ln 4 + 1, times the stated factor.
  CHECK(rope.magnitude == Approx(1.1386294 * (stated ? 0.5 : 1.0)));
}

TEST_CASE("each architecture's tensors are those of its files", "[language_model]") {
  struct Expected {
    const char* architecture;
    std::vector<std::string> layer;  // beside attn_norm, attn_output, ffn_norm, ffn_down
  };
  const std::vector<std::string> separate = {"attn_q.weight", "attn_k.weight", "attn_v.weight",
                                             "ffn_gate.weight", "ffn_up.weight"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = separate;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const Expected cases[] = {
      {"llama", separate},
      {"mistral", separate},
      {"qwen2", with({"attn_q.bias", "attn_k.bias", "attn_v.bias"})},
      {"qwen3", with({"attn_q_norm.weight", "attn_k_norm.weight"})},
      {"gemma2", with({"post_attention_norm.weight", "post_ffw_norm.weight"})},
      {"gemma3", with({"attn_q_norm.weight", "attn_k_norm.weight", "post_attention_norm.weight",
                       "post_ffw_norm.weight"})},
      {"phi3", {"attn_qkv.weight", "ffn_up.weight"}},
  };
  for (const Expected& expected : cases) {
    CAPTURE(expected.architecture);
    const RandomModelOptions options{.architecture = expected.architecture, .layers = 2};
    REQUIRE_OK(Load(RandomModelBytes(options)));
    std::vector<std::string> needed = {"token_embd.weight", "output_norm.weight"};
    for (const char* const name :
         {"attn_norm.weight", "attn_output.weight", "ffn_norm.weight", "ffn_down.weight"}) {
      needed.push_back("blk.1." + std::string(name));
    }
    for (const std::string& name : expected.layer) needed.push_back("blk.1." + name);
    // Each is missed, and has one shape.
    for (const std::string& name : needed) {
      GgufWriter without;
      AddRandomModelKeys(options, without);
      AddRandomModelTensors(options, without);
      without.RenameTensor(name, "elsewhere");
      REQUIRE_STATUS(Load(without.Bytes()), StatusCode::kInvalidArgument,
                     "tensor '" + name + "' is missing");
      without.AddTensor(name, {3, 2}, TensorType::kF32, std::vector<float>(6, 1.0f));
      REQUIRE_STATUS(Load(without.Bytes()), StatusCode::kInvalidArgument,
                     "tensor '" + name + "' is of shape [2, 3], wanted [");
    }
    // There are no others.
    GgufWriter more;
    AddRandomModelKeys(options, more);
    AddRandomModelTensors(options, more);
    more.AddTensor("blk.1.ffn_gate.bias", {96}, TensorType::kF32, std::vector<float>(96));
    REQUIRE_STATUS(
        Load(more.Bytes()), StatusCode::kUnimplemented,
        "'blk.1.ffn_gate.bias' is not part of a plain " + std::string(expected.architecture));
  }
}

TEST_CASE("biases are optional where an architecture's files may have them", "[language_model]") {
  for (const char* const architecture : {"llama", "mistral", "qwen3", "phi3"}) {
    CAPTURE(architecture);
    const bool output = std::string(architecture) == "llama" || architecture[0] == 'm';
    const auto model = Load(
        RandomModelBytes({.architecture = architecture, .tied_output = false, .biases = true}));
    REQUIRE_OK(model);
    for (const LlmLayerWeights& layer : (*model)->weights().layers) {
      REQUIRE(layer.query_bias != nullptr);
      REQUIRE(layer.key_bias != nullptr);
      REQUIRE(layer.value_bias != nullptr);
      REQUIRE((layer.output_bias != nullptr) == output);
    }
  }
  for (const char* const architecture : {"gemma2", "gemma3"}) {
    REQUIRE_STATUS(Load(RandomModelBytes({.architecture = architecture, .biases = true})),
                   StatusCode::kUnimplemented, "'blk.0.attn_q.bias' is not part of a plain gemma");
  }
}

TEST_CASE("a fused tensor's rows are the queries, the keys and the values", "[language_model]") {
  const RandomModelOptions options{.architecture = "phi3", .layers = 1, .biases = true};
  const TensorType type = GENERATE(TensorType::kF32, TensorType::kQ8_0);
  GgufWriter writer;
  AddRandomModelKeys(options, writer);
  AddRandomModelTensors(options, writer);
  // Row r is full of r: 64 queries, 32 keys, 32 values; 96 of the gate, 96 of up.
  const auto rows_of = [](int64_t rows) {
    std::vector<float> weights;
    for (int64_t r = 0; r < rows; ++r) weights.insert(weights.end(), 64, static_cast<float>(r));
    return weights;
  };
  std::vector<float> biases;
  for (int i = 0; i < 128; ++i) biases.push_back(static_cast<float>(i));
  for (const char* const name :
       {"blk.0.attn_qkv.weight", "blk.0.attn_qkv.bias", "blk.0.ffn_up.weight"}) {
    writer.RemoveTensor(name);
  }
  writer.AddTensor("blk.0.attn_qkv.weight", {64, 128}, type, rows_of(128));
  writer.AddTensor("blk.0.attn_qkv.bias", {128}, TensorType::kF32, biases);
  writer.AddTensor("blk.0.ffn_up.weight", {64, 192}, type, rows_of(192));
  const auto model = Load(writer.Bytes());
  REQUIRE_OK(model);
  const LlmLayerWeights& layer = (*model)->weights().layers[0];
  const auto check = [&](const MatrixView& w, int64_t first, int64_t rows) {
    REQUIRE(w.rows == rows);
    REQUIRE(w.cols == 64);
    std::vector<float> row(64);
    for (const int64_t r : {int64_t{0}, rows - 1}) {
      DequantizeRow(w.type, w.data + r * RowBytes(w.type, 64), 64, row.data());
      REQUIRE(row[63] == Approx(first + r).epsilon(1e-3));  // Q8_0 rounds its scale to F16
    }
  };
  check(layer.query, 0, 64);
  check(layer.key, 64, 32);
  check(layer.value, 96, 32);
  check(layer.gate, 0, 96);
  check(layer.up, 96, 96);
  REQUIRE(layer.query_bias[0] == 0.0f);
  REQUIRE(layer.key_bias[0] == 64.0f);
  REQUIRE(layer.value_bias[31] == 127.0f);
}

TEST_CASE("what files leave to the reader follows the architecture", "[language_model]") {
  const auto shape_of = [](const RandomModelOptions& options) {
    const auto model = Load(RandomModelBytes(options));
    REQUIRE_OK(model);
    return (*model)->shape();
  };
  using Windows = std::vector<int32_t>;
  SECTION("llama") {
    const LlmShape shape = shape_of({.layers = 3, .window = 40});
    CHECK(shape.windows == Windows{40, 40, 40});
    CHECK(shape.rope_pairs == RopePairs::kAdjacent);
    CHECK(shape.activation == Activation::kSilu);
    CHECK(shape.embedding_scale == 1.0f);
    CHECK(shape.attention_scale == 0.25f);  // heads of 16
    CHECK(shape.score_cap == 0.0f);
    CHECK(shape.logit_cap == 0.0f);
    CHECK_FALSE(shape.window_rope.has_value());
    CHECK(shape_of({.layers = 3}).windows == Windows{0, 0, 0});
  }
  SECTION("mistral") {
    const LlmShape shape = shape_of({.architecture = "mistral", .window = 40});
    CHECK(shape.windows == Windows{40, 40});
    CHECK(shape.rope_pairs == RopePairs::kAdjacent);
  }
  SECTION("qwen2 and qwen3") {
    const LlmShape shape = shape_of({.architecture = GENERATE("qwen2", "qwen3"), .head_dim = 64});
    CHECK(shape.windows == Windows{0, 0});
    CHECK(shape.rope_pairs == RopePairs::kHalves);
    CHECK(shape.activation == Activation::kSilu);
    CHECK(shape.head_dim == 64);
    CHECK(shape.attention_scale == 0.125f);
    CHECK(shape.rope_dims == 64);
  }
  SECTION("gemma2") {
    const LlmShape shape = shape_of({.architecture = "gemma2", .layers = 5});
    CHECK(shape.windows == Windows{4096, 0, 4096, 0, 4096});
    CHECK(shape.rope_pairs == RopePairs::kHalves);
    CHECK(shape.activation == Activation::kGeluTanh);
    CHECK(shape.embedding_scale == 8.0f);  // of width 64
    CHECK(shape.score_cap == 50.0f);
    CHECK(shape.logit_cap == 30.0f);
    CHECK_FALSE(shape.window_rope.has_value());
  }
  SECTION("gemma3") {
    const LlmShape shape = shape_of({.architecture = "gemma3", .layers = 7, .window = 512});
    CHECK(shape.windows == Windows{512, 512, 512, 512, 512, 0, 512});
    CHECK(shape.activation == Activation::kGeluTanh);
    CHECK(shape.embedding_scale == 8.0f);
    CHECK(shape.score_cap == 0.0f);
    CHECK(shape.logit_cap == 0.0f);
    CHECK(shape.window_rope->base == 10000.0f);
    CHECK(shape_of({.architecture = "gemma3"}).windows == Windows{0, 0});
  }
  SECTION("the largest gemmas scale scores by their width") {
    const RandomModelOptions of_27b{
        .architecture = "gemma2", .dim = 36, .ffn_dim = 32, .layers = 46, .head_dim = 16};
    CHECK(shape_of(of_27b).attention_scale == Approx(1 / 3.0));  // 36 wide, 4 heads
    RandomModelOptions smaller = of_27b;
    smaller.layers = 42;
    CHECK(shape_of(smaller).attention_scale == 0.25f);
    RandomModelOptions gemma3 = of_27b;
    gemma3.architecture = "gemma3";
    gemma3.layers = 62;
    CHECK(shape_of(gemma3).attention_scale == Approx(1 / 3.0));
  }
  SECTION("phi3") {
    const LlmShape shape = shape_of({.architecture = "phi3", .rope_dims = 12, .window = 50});
    CHECK(shape.windows == Windows{50, 50});
    CHECK(shape.rope_pairs == RopePairs::kHalves);
    CHECK(shape.activation == Activation::kSilu);
    CHECK(shape.rope_dims == 12);
    CHECK(shape.rope.factors == nullptr);
  }
}

TEST_CASE("keys stand above what the architecture says", "[language_model]") {
  const RandomModelOptions options{.architecture = "gemma3", .layers = 4, .window = 10};
  GgufWriter writer;
  AddRandomModelKeys(options, writer);
  writer.AddUint32("gemma3.attention.sliding_window_pattern", 2);
  writer.AddFloat("gemma3.rope.freq_base", 1e6f);
  writer.AddFloat("gemma3.rope.freq_base_swa", 5000.0f);
  writer.AddFloat("gemma3.rope.scaling.factor", 8.0f);
  writer.AddFloat("gemma3.attention.scale", 0.5f);
  writer.AddFloat("gemma3.attn_logit_softcapping", 40.0f);
  writer.AddFloat("gemma3.final_logit_softcapping", 20.0f);
  AddRandomModelTensors(options, writer);
  const auto model = Load(writer.Bytes());
  REQUIRE_OK(model);
  const LlmShape& shape = (*model)->shape();
  CHECK(shape.windows == std::vector<int32_t>{10, 0, 10, 0});
  CHECK(shape.rope.base == 1e6f);
  CHECK(shape.rope.scale == 0.125f);
  CHECK(shape.window_rope->base == 5000.0f);
  CHECK(shape.window_rope->scale == 1.0f);  // layers with a window are not stretched
  CHECK(shape.attention_scale == 0.5f);
  CHECK(shape.score_cap == 40.0f);
  CHECK(shape.logit_cap == 20.0f);
}

TEST_CASE("the context decides between short and long rope factors", "[language_model]") {
  const auto first_factor = [](uint32_t original) {
    const RandomModelOptions options{.architecture = "phi3", .context_tokens = 128};
    GgufWriter writer;
    AddRandomModelKeys(options, writer);
    writer.AddString("phi3.rope.scaling.type", "longrope");
    writer.AddUint32("phi3.rope.scaling.original_context_length", original);
    AddRandomModelTensors(options, writer);
    writer.AddTensor("rope_factors_short.weight", {8}, TensorType::kF32,
                     std::vector<float>(8, 2.0f));
    writer.AddTensor("rope_factors_long.weight", {8}, TensorType::kF32,
                     std::vector<float>(8, 3.0f));
    const auto model = Load(writer.Bytes());
    REQUIRE_OK(model);
    return (*model)->shape().rope.factors[0];
  };
  CHECK(first_factor(128) == 2.0f);
  CHECK(first_factor(127) == 3.0f);
}

TEST_CASE("what does not fit is refused by key", "[language_model]") {
  struct Wrong {
    const char* what;
    std::function<void(GgufWriter&)> add;
    StatusCode code;
    const char* message;
  };
  // Each adds a key that the plain model lacks.
  const Wrong cases[] = {
      {"experts", [](GgufWriter& w) { w.AddUint32("llama.expert_count", 8); },
       StatusCode::kUnimplemented, "llama.expert_count"},
      {"vocabulary", [](GgufWriter& w) { w.AddUint32("llama.vocab_size", 321); },
       StatusCode::kInvalidArgument, "'llama.vocab_size' is 321, but the tokenizer has 320"},
      {"odd rope", [](GgufWriter& w) { w.AddUint32("llama.rope.dimension_count", 7); },
       StatusCode::kInvalidArgument, "'llama.rope.dimension_count' is 7"},
      {"wide rope", [](GgufWriter& w) { w.AddUint32("llama.rope.dimension_count", 18); },
       StatusCode::kInvalidArgument, "is 18, allowed are 2 to 16"},
      {"rope base", [](GgufWriter& w) { w.AddFloat("llama.rope.freq_base", 0); },
       StatusCode::kInvalidArgument, "'llama.rope.freq_base' is 0"},
      {"rope base nan",
       [](GgufWriter& w) {
         w.AddFloat("llama.rope.freq_base", std::numeric_limits<float>::quiet_NaN());
       },
       StatusCode::kInvalidArgument, "'llama.rope.freq_base' is nan"},
      {"scaling type", [](GgufWriter& w) { w.AddString("llama.rope.scaling.type", "ntk"); },
       StatusCode::kUnimplemented,
       "'llama.rope.scaling.type' is 'ntk', only 'none', 'linear' and 'yarn' are supported"},
      {"long rope", [](GgufWriter& w) { w.AddString("llama.rope.scaling.type", "longrope"); },
       StatusCode::kUnimplemented, "'longrope'"},
      {"yarn base",
       [](GgufWriter& w) {
         w.AddString("llama.rope.scaling.type", "yarn");
         w.AddFloat("llama.rope.freq_base", 1.0f);
       },
       StatusCode::kInvalidArgument, "'llama.rope.freq_base' is 1, yarn needs a number above 1"},
      {"yarn turns",
       [](GgufWriter& w) {
         w.AddString("llama.rope.scaling.type", "yarn");
         w.AddFloat("llama.rope.scaling.yarn_beta_slow", 0);
       },
       StatusCode::kInvalidArgument, "'llama.rope.scaling.yarn_beta_slow' is 0"},
      {"original context",
       [](GgufWriter& w) { w.AddUint32("llama.rope.scaling.original_context_length", 0); },
       StatusCode::kInvalidArgument, "'llama.rope.scaling.original_context_length' is 0"},
      {"endless frequency", [](GgufWriter& w) { w.AddFloat("llama.rope.scaling.factor", 1e-40f); },
       StatusCode::kInvalidArgument, "keys 'llama.rope.*' give a frequency of inf"},
      {"score cap", [](GgufWriter& w) { w.AddFloat("llama.attn_logit_softcapping", -1); },
       StatusCode::kInvalidArgument, "'llama.attn_logit_softcapping' is -1"},
      {"logit cap",
       [](GgufWriter& w) {
         w.AddFloat("llama.final_logit_softcapping", std::numeric_limits<float>::infinity());
       },
       StatusCode::kInvalidArgument, "'llama.final_logit_softcapping' is inf"},
      {"attention scale", [](GgufWriter& w) { w.AddFloat("llama.attention.scale", 0); },
       StatusCode::kInvalidArgument, "'llama.attention.scale' is 0"},
      {"window by layer",
       [](GgufWriter& w) {
         w.AddInts("llama.attention.sliding_window_pattern", {1, 0});
       },
       StatusCode::kUnimplemented, "'llama.attention.sliding_window_pattern' differs by layer"},
      {"scaling factor", [](GgufWriter& w) { w.AddFloat("llama.rope.scaling.factor", -1); },
       StatusCode::kInvalidArgument, "'llama.rope.scaling.factor' is -1"},
      {"value length", [](GgufWriter& w) { w.AddUint32("llama.attention.value_length", 8); },
       StatusCode::kUnimplemented, "different sizes"},
      {"key length", [](GgufWriter& w) { w.AddUint32("llama.attention.key_length", 32); },
       StatusCode::kInvalidArgument,
       "'blk.0.attn_q.weight' is of shape [64, 64], wanted [128, 64]"},
      {"window", [](GgufWriter& w) { w.AddUint32("llama.attention.sliding_window", 1u << 31); },
       StatusCode::kInvalidArgument, "'llama.attention.sliding_window' is 2147483648, allowed"},
  };
  for (const Wrong& wrong : cases) {
    CAPTURE(wrong.what);
    GgufWriter writer;
    AddRandomModelKeys({}, writer);
    wrong.add(writer);
    AddRandomModelTensors({}, writer);
    REQUIRE_STATUS(Load(writer.Bytes()), wrong.code, wrong.message);
  }
}

TEST_CASE("a shape that contradicts itself or its limits is refused", "[language_model]") {
  struct Wrong {
    std::function<void(RandomModelOptions&)> change;
    const char* message;
  };
  const Wrong cases[] = {
      {[](RandomModelOptions& o) { o.kv_heads = 3; }, "head_count_kv' is 3, which does not divide"},
      {[](RandomModelOptions& o) { o.kv_heads = 8; }, "head_count_kv' is 8, allowed are 1 to 4"},
      {[](RandomModelOptions& o) { o.heads = 7; }, "head_count_kv' is 2, which does not divide"},
      {[](RandomModelOptions& o) { o.heads = o.kv_heads = 7; }, "7 heads do not divide"},
      {[](RandomModelOptions& o) { o.heads = 0; }, "head_count' is 0"},
      {[](RandomModelOptions& o) { o.layers = 0; }, "block_count' is 0"},
      {[](RandomModelOptions& o) { o.layers = 3; }, "tensor 'blk.2.attn_norm.weight' is missing"},
      {[](RandomModelOptions& o) { o.layers = 1 << 30; }, "block_count' is 1073741824"},
      {[](RandomModelOptions& o) { o.context_tokens = -1; }, "context_length' is 4294967295"},
      {[](RandomModelOptions& o) { o.vocabulary = 321; },
       "'token_embd.weight' is of shape [320, 64], wanted [321, 64]"},
      {[](RandomModelOptions& o) { o.ffn_dim = 97; },
       "'blk.0.ffn_gate.weight' is of shape [96, 64], wanted [97, 64]"},
  };
  for (const Wrong& wrong : cases) {
    RandomModelOptions said;
    wrong.change(said);
    GgufWriter writer;
    AddRandomModelKeys(said, writer);
    AddRandomModelTensors({}, writer);
    CAPTURE(wrong.message);
    REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kInvalidArgument, wrong.message);
  }
}

TEST_CASE("tensors that would give wrong results are refused by name", "[language_model]") {
  GgufWriter writer;
  AddRandomModelKeys({}, writer);
  AddRandomModelTensors({}, writer);
  SECTION("a bias of another shape") {
    writer.AddTensor("blk.0.attn_q.bias", {32}, TensorType::kF32, std::vector<float>(32));
    REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kInvalidArgument,
                   "'blk.0.attn_q.bias' is of shape [32], wanted [64]");
  }
  SECTION("a bias that is not F32") {
    writer.AddTensor("blk.0.attn_q.bias", {64}, TensorType::kF16, std::vector<float>(64));
    REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kUnimplemented,
                   "'blk.0.attn_q.bias' is of type F16, only F32");
  }
  SECTION("an unsupported type") {
    constexpr uint32_t kQ8_1 = 9;
    writer.AddRawTensor("output.weight", {64, 320}, kQ8_1, std::string(64 * 320 / 32 * 36, '\0'));
    REQUIRE_STATUS(
        Load(writer.Bytes()), StatusCode::kUnimplemented,
        "'output.weight' is of type Q8_1, only these are supported: F32, F16, BF16, Q4_0");
  }
  SECTION("a norm that is not F32") {
    writer.AddTensor("rope_freqs.weight", {8}, TensorType::kF16, std::vector<float>(8, 1.0f));
    REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kUnimplemented, "only F32");
  }
  SECTION("a rope factor of zero") {
    writer.AddTensor("rope_freqs.weight", {8}, TensorType::kF32, std::vector<float>(8, 0.0f));
    REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kInvalidArgument, "element 0 is 0");
  }
  SECTION("a NaN") {
    std::vector<float> weights(64 * 320, 1.0f);
    weights[12345] = std::numeric_limits<float>::quiet_NaN();
    const TensorType type = GENERATE(TensorType::kF32, TensorType::kF16);
    writer.AddTensor("output.weight", {64, 320}, type, weights);
    REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kInvalidArgument,
                   "'output.weight' holds a NaN or an infinity");
  }
}

TEST_CASE("rope factors that would give wrong results are refused", "[language_model]") {
  const RandomModelOptions options{.architecture = "phi3"};
  GgufWriter writer;
  AddRandomModelKeys(options, writer);
  AddRandomModelTensors(options, writer);
  const auto add = [&](const char* name, float value) {
    writer.AddTensor(name, {8}, TensorType::kF32, std::vector<float>(8, value));
  };
  SECTION("one without the other") {
    add("rope_factors_long.weight", 1);
    REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kInvalidArgument,
                   "tensor 'rope_factors_short.weight' is missing");
  }
  SECTION("below zero, though not in use") {
    add("rope_factors_short.weight", 1);
    add("rope_factors_long.weight", -1);
    REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kInvalidArgument,
                   "'rope_factors_long.weight': element 0 is -1");
  }
  SECTION("another architecture's") {
    add("rope_freqs.weight", 1);
    REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kUnimplemented,
                   "'rope_freqs.weight' is not part of a plain phi3 model");
  }
}

TEST_CASE("files that are no language model say what they are", "[language_model]") {
  REQUIRE_STATUS(LoadLanguageModel("x", "/nonexistent.gguf"), StatusCode::kNotFound,
                 "/nonexistent.gguf");
  REQUIRE_STATUS(Load("not a model"), StatusCode::kInvalidArgument, "not a GGUF file");
  GgufWriter writer;
  writer.AddString("general.architecture", "mamba");
  REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kUnimplemented,
                 "'general.architecture' is 'mamba', only 'llama', 'mistral', 'qwen2', 'qwen3', "
                 "'gemma2', 'gemma3' and 'phi3' are supported");
  REQUIRE_STATUS(Load(GgufWriter().Bytes()), StatusCode::kNotFound, "general.architecture");
}

TEST_CASE("the published small models load", "[language_model]") {
  const auto folder = SharedData("models");
  if (!folder.has_value()) {
    return;
  }
  const auto load = [&](const std::string& name) {
    return LoadLanguageModel(name, (*folder / (name + ".gguf")).string());
  };
  for (const std::string type : {"f32", "f16", "q8_0", "q4_0", "q4_k_m"}) {
    const auto stories = load("stories260K-" + type);
    REQUIRE_OK(stories);
    CHECK((*stories)->shape().dim == 64);
    CHECK((*stories)->shape().kv_heads == 4);
    CHECK((*stories)->shape().parameters == 260032);
    const auto baby = load("baby105-940K-" + type);
    REQUIRE_OK(baby);
    CHECK((*baby)->shape().vocabulary == 105);
  }
}

TEST_CASE("chat templates are read, each under its name", "[language_model]") {
  const auto load = [](const std::function<void(GgufWriter&)>& add) {
    GgufWriter writer;
    AddRandomModelKeys({}, writer);
    add(writer);
    AddRandomModelTensors({}, writer);
    return Load(writer.Bytes());
  };
  const auto model = load([](GgufWriter& writer) {
    writer.AddString("tokenizer.chat_template", "D{{ bos_token }}{{ eos_token }}");
    writer.AddStrings("tokenizer.chat_templates", {"default", "rag", "absent"});
    writer.AddString("tokenizer.chat_template.rag", "R");
  });
  REQUIRE_OK(model);
  ChatPrompt chat{.messages = {{.role = "user", .content = "x"}}};
  const auto plain = (*model)->chat_templates().Render(chat, 0);
  REQUIRE_OK(plain);
  CHECK(plain->text.bytes() == "D<s></s>");
  chat.template_name = "rag";
  const auto named = (*model)->chat_templates().Render(chat, 0);
  REQUIRE_OK(named);
  CHECK(named->text.bytes() == "R");

  const auto none = load([](GgufWriter&) {});
  REQUIRE_OK(none);
  CHECK((*none)->chat_templates().empty());
  const auto broken =
      load([](GgufWriter& writer) { writer.AddString("tokenizer.chat_template", "{% broken"); });
  REQUIRE_OK(broken);
  CHECK_FALSE((*broken)->chat_templates().HasDefault());
  REQUIRE_STATUS(load([](GgufWriter& writer) { writer.AddInt32("tokenizer.chat_template", 1); }),
                 StatusCode::kInvalidArgument, "tokenizer.chat_template");
  REQUIRE_STATUS(load([](GgufWriter& writer) {
                   writer.AddStrings("tokenizer.chat_templates", std::vector<std::string>(65, "a"));
                 }),
                 StatusCode::kInvalidArgument, "has 65 elements, at most 64 are read");
}

}  // namespace
}  // namespace baton
