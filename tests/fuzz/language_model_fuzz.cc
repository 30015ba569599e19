// Small models of every architecture whose keys and tensors do not quite fit: each is refused with
// a status, or loads and then runs a prompt without touching what is not its own.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/exec/cpu/decoder_forward.h"
#include "engine/model/gguf.h"
#include "engine/model/language_model.h"
#include "tests/support/gguf_writer.h"

namespace baton {
namespace {

constexpr const char* kArchitectures[] = {"llama",  "mistral", "qwen2", "qwen3",
                                          "gemma2", "gemma3",  "phi3",  "none"};
constexpr const char* kKeys[] = {"attention.key_length",
                                 "attention.value_length",
                                 "attention.scale",
                                 "attention.sliding_window",
                                 "attention.sliding_window_pattern",
                                 "attn_logit_softcapping",
                                 "final_logit_softcapping",
                                 "expert_count",
                                 "vocab_size",
                                 "rope.dimension_count",
                                 "rope.freq_base",
                                 "rope.freq_base_swa",
                                 "rope.scale_linear",
                                 "rope.scaling.type",
                                 "rope.scaling.factor",
                                 "rope.scaling.attn_factor",
                                 "rope.scaling.original_context_length",
                                 "rope.scaling.yarn_ext_factor",
                                 "rope.scaling.yarn_beta_fast",
                                 "rope.scaling.yarn_beta_slow"};
constexpr const char* kTexts[] = {"none", "linear", "yarn", "longrope", "other"};
constexpr const char* kTensors[] = {
    "blk.0.attn_q.weight", "blk.0.attn_qkv.weight",      "blk.0.attn_q.bias",
    "blk.0.attn_qkv.bias", "blk.0.attn_norm.weight",     "blk.0.attn_q_norm.weight",
    "blk.0.ffn_up.weight", "blk.0.post_ffw_norm.weight", "output.weight",
    "rope_freqs.weight",   "rope_factors_long.weight",   "rope_factors_short.weight"};

// Takes one choice after another from the input; zeros behind its end.
class Choices {
 public:
  explicit Choices(std::span<const uint8_t> data) : data_(data) {}
  bool empty() const { return data_.empty(); }
  uint8_t Byte() {
    if (data_.empty()) return 0;
    const uint8_t byte = data_.front();
    data_ = data_.subspan(1);
    return byte;
  }
  int32_t Below(int32_t bound) { return Byte() % bound; }
  int32_t OneOf(std::initializer_list<int32_t> values) {
    return values.begin()[Byte() % values.size()];
  }
  template <class T, size_t n>
  T Of(const T (&values)[n]) {
    return values[Byte() % n];
  }

 private:
  std::span<const uint8_t> data_;
};

void AddKey(std::string_view architecture, Choices& choices, uint32_t& used, GgufWriter& writer) {
  const int32_t index = choices.Below(std::size(kKeys));
  if ((used >> index & 1) != 0) return;  // a file with a key twice is none
  used |= 1u << index;
  const std::string key = std::string(architecture) + "." + kKeys[index];
  using Limits = std::numeric_limits<float>;
  constexpr float kFloats[] = {0,
                               1,
                               -1,
                               0.5f,
                               4,
                               10000,
                               1e6f,
                               1e-40f,
                               3e38f,
                               1.001f,
                               Limits::quiet_NaN(),
                               Limits::infinity()};
  switch (choices.Below(4)) {
    case 0:
      return writer.AddUint32(key, choices.Byte());
    case 1:
      return writer.AddInt32(key, choices.Byte() * 8'000'000 - 1);
    case 2:
      return writer.AddFloat(key, choices.Of(kFloats));
    default:
      return writer.AddString(key, choices.Of(kTexts));
  }
}

void RunPrompt(std::shared_ptr<const LanguageModel> model) {
  const LlmShape& shape = model->shape();
  if (std::ssize(shape.windows) != shape.layers || shape.attention_scale <= 0) std::abort();
  const KvLayout layout = {.layers = shape.layers,
                           .kv_heads = shape.kv_heads,
                           .head_dim = shape.head_dim,
                           .block_tokens = 8};
  constexpr std::array<TokenId, 10> kPrompt = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  if (shape.context_tokens < std::ssize(kPrompt)) return;
  std::vector<std::byte> memory(static_cast<size_t>(2 * layout.block_bytes()));
  std::byte* const blocks[] = {memory.data(), memory.data() + layout.block_bytes()};
  ThreadTeam team(1);
  DecoderForward forward(std::move(model), KernelsFor(DetectedSimdLevel()), team, 16);
  const ForwardItem item = {.tokens = kPrompt, .position = 0, .blocks = blocks, .logits = 1};
  if (!forward.Run(layout, {&item, 1}, [](size_t, std::span<const float>) {}).ok()) std::abort();
}

}  // namespace
}  // namespace baton

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton;
  Choices choices(std::span(data, size));
  RandomModelOptions options;
  options.architecture = choices.Of(kArchitectures);
  // The first of each fits with the first of the others, so short inputs are models that load.
  options.dim = choices.OneOf({64, 32, 60, 4, 0});
  options.ffn_dim = choices.OneOf({96, 32, 33, 0});
  options.layers = choices.OneOf({2, 1, 7, 0});
  options.heads = choices.OneOf({4, 2, 1, 3, 0});
  options.kv_heads = choices.OneOf({2, 1, 4, 3, 0});
  options.head_dim = choices.OneOf({0, 16, 32, 7, 1});
  options.rope_dims = choices.OneOf({0, 16, 12, 2, 7, 40});
  options.window = choices.OneOf({0, 3, 8, 1, 12});
  constexpr TensorType kTypes[] = {TensorType::kF32, TensorType::kF16, TensorType::kQ8_0};
  options.type = choices.Of(kTypes);
  const int32_t flags = choices.Byte();
  options.rope_factors = (flags & 1) != 0;
  options.biases = (flags & 2) != 0;
  options.tied_output = (flags & 4) != 0;

  GgufWriter writer;
  AddRandomModelKeys(options, writer);
  uint32_t used = options.head_dim > 0 ? 3u : 0u;  // the options' own keys
  if (options.window > 0) used |= 1u << 3;
  if (options.rope_dims > 0) used |= 1u << 9;
  for (int32_t keys = choices.Below(4); keys > 0; --keys) {
    AddKey(options.architecture, choices, used, writer);
  }
  // Tensors need at least one of everything.
  RandomModelOptions built = options;
  for (int32_t* const size_of : {&built.dim, &built.ffn_dim, &built.heads, &built.kv_heads}) {
    *size_of = std::max(*size_of, 1);
  }
  if (built.head_dim == 0 && built.dim < built.heads) built.head_dim = 1;
  if (built.rope_dims == 1 || built.head_dim == 1) built.rope_factors = false;
  AddRandomModelTensors(built, writer);
  if (choices.Below(2) == 1) {
    const int64_t count = 1 + choices.Below(64);
    writer.AddTensor(choices.Of(kTensors), {count}, TensorType::kF32,
                     std::vector<float>(static_cast<size_t>(count), 1.0f));
  }
  const std::string bytes = writer.Bytes();
  auto file = GgufFile::FromMemory("fuzz", std::as_bytes(std::span(bytes)));
  if (!file.ok()) return 0;  // a tensor twice
  auto model = LoadLanguageModel("fuzz", *std::move(file));
  if (model.ok()) RunPrompt(*std::move(model));
  return 0;
}
