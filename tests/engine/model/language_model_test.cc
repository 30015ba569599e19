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
  CHECK(shape.rope_base == 10000.0f);
  CHECK(shape.rope_scale == 1.0f);
  CHECK(shape.rms_epsilon == 1e-5f);

  const LlmWeights& weights = model.weights();
  REQUIRE(weights.layers.size() == 2);
  CHECK(weights.token_embedding.rows == 320);
  CHECK(weights.token_embedding.cols == 64);
  CHECK(weights.token_embedding.type == options.type);
  CHECK((weights.output.data == weights.token_embedding.data) == options.tied_output);
  CHECK((weights.rope_factors != nullptr) == options.rope_factors);
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
  CHECK((*model)->shape().rope_base == 500000.0f);
  CHECK((*model)->shape().rope_scale == 0.25f);
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
      {"shards", [](GgufWriter& w) { w.AddUint32("split.count", 3); }, StatusCode::kUnimplemented,
       "split over 3 files"},
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
      {"yarn", [](GgufWriter& w) { w.AddString("llama.rope.scaling.type", "yarn"); },
       StatusCode::kUnimplemented, "'yarn'"},
      {"scaling factor", [](GgufWriter& w) { w.AddFloat("llama.rope.scaling.factor", -1); },
       StatusCode::kInvalidArgument, "'llama.rope.scaling.factor' is -1"},
      {"value length", [](GgufWriter& w) { w.AddUint32("llama.attention.value_length", 8); },
       StatusCode::kUnimplemented, "different sizes"},
      {"key length", [](GgufWriter& w) { w.AddUint32("llama.attention.key_length", 32); },
       StatusCode::kInvalidArgument,
       "'blk.0.attn_q.weight' is of shape [64, 64], wanted [128, 64]"},
      {"window", [](GgufWriter& w) { w.AddUint32("llama.attention.sliding_window", 64); },
       StatusCode::kUnimplemented, "sliding"},
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
  SECTION("a bias") {
    writer.AddTensor("blk.0.attn_q.bias", {64}, TensorType::kF32, std::vector<float>(64));
    REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kUnimplemented, "'blk.0.attn_q.bias'");
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

TEST_CASE("files that are no language model say what they are", "[language_model]") {
  REQUIRE_STATUS(LoadLanguageModel("x", "/nonexistent.gguf"), StatusCode::kNotFound,
                 "/nonexistent.gguf");
  REQUIRE_STATUS(Load("not a model"), StatusCode::kInvalidArgument, "not a GGUF file");
  GgufWriter writer;
  writer.AddString("general.architecture", "mamba");
  REQUIRE_STATUS(Load(writer.Bytes()), StatusCode::kUnimplemented, "'mamba'");
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

}  // namespace
}  // namespace baton
