// Small encoders whose keys and tensors do not quite fit: each is refused with a status, or loads
// and then embeds any text without touching what is not its own.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/exec/cpu/encoder_forward.h"
#include "engine/model/gguf.h"
#include "engine/model/text_encoder.h"
#include "tests/support/encoder_file.h"

namespace baton {
namespace {

void Require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

// Takes one number after another from the input; zeros behind its end.
class Choices {
 public:
  explicit Choices(std::span<const uint8_t> data) : data_(data) {}
  int32_t Below(int32_t end) {
    if (data_.empty()) {
      return 0;
    }
    const int32_t value = data_.front() % end;
    data_ = data_.subspan(1);
    return value;
  }
  std::string_view Rest() const {
    return {reinterpret_cast<const char*>(data_.data()), data_.size()};
  }

 private:
  std::span<const uint8_t> data_;
};

RandomEncoderOptions OptionsFrom(Choices& choices) {
  constexpr int32_t kDims[] = {4, 8, 31, 32, 64, 1, 256, 6};
  return {.dim = kDims[choices.Below(8)],
          .ffn_dim = 1 + choices.Below(70),
          .layers = choices.Below(3),
          .heads = 1 + choices.Below(9),
          .vocabulary = kTestWordPieces + choices.Below(8),
          .context_tokens = 1 + choices.Below(40),
          .token_types = choices.Below(4),
          .pooling = static_cast<uint32_t>(choices.Below(5)),
          .pooling_key = choices.Below(4) > 0,
          .dense_head = choices.Below(2) == 0,
          .score_head = choices.Below(4) > 0,
          .type = TensorTypes()[static_cast<size_t>(
              choices.Below(static_cast<int32_t>(TensorTypes().size())))]};
}

// The options themselves, or now and then one of them changed.
RandomEncoderOptions NearlyThe(RandomEncoderOptions options, Choices& choices) {
  switch (choices.Below(24)) {
    case 1:
      options.dim += 1;
      break;
    case 2:
      options.ffn_dim += 1;
      break;
    case 3:
      options.layers += 1;
      break;
    case 4:
      options.vocabulary += 1;
      break;
    case 5:
      options.context_tokens += 1;
      break;
    case 6:
      options.token_types += 1;
      break;
    default:
      break;
  }
  return options;
}

void LoadAndEmbed(Choices choices) {
  const RandomEncoderOptions options = OptionsFrom(choices);
  GgufWriter writer;
  AddRandomEncoderKeys(options, writer);
  AddRandomEncoderTensors(NearlyThe(options, choices), writer);
  const std::string bytes = writer.Bytes();
  auto file = GgufFile::FromMemory("fuzz", std::as_bytes(std::span(bytes)));
  if (!file.ok()) {
    return;
  }
  const auto encoder = LoadTextEncoder("fuzz", *std::move(file));
  if (!encoder.ok()) {
    Require(!encoder.status().message().empty());
    return;
  }
  static auto& team = *new ThreadTeam(1);
  EncoderForward forward(*encoder, KernelsFor(DetectedSimdLevel()), team);
  std::vector<std::vector<float>> embeddings;
  if ((*encoder)->kind() == Embedder::Kind::kCrossEncoder) {
    const auto question = (*encoder)->FirstOf("is the tower");
    const auto all = (*encoder)->FirstOf(choices.Rest());
    const EncoderInput whole = (*encoder)->PairOf(question, choices.Rest());
    const EncoderInput none = (*encoder)->PairOf(all, "");
    const EncoderText pairs[] = {{whole.tokens, whole.second}, {none.tokens, none.second}};
    Require(forward.Run(pairs, &embeddings).ok());
    Require(embeddings.size() == 2 && embeddings[0].size() == 1 && embeddings[1].size() == 1);
    return;
  }
  const EncoderInput whole = (*encoder)->InputOf(choices.Rest());
  const EncoderInput none = (*encoder)->InputOf("");
  const EncoderText texts[] = {{whole.tokens}, {none.tokens}};
  Require(forward.Run(texts, &embeddings).ok());
  Require(embeddings.size() == 2);
  for (const std::vector<float>& embedding : embeddings) {
    double squares = 0;
    for (const float value : embedding) {
      squares += double{value} * value;
    }
    Require(std::abs(squares - 1) < 1e-3);
  }
}

}  // namespace
}  // namespace baton

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  baton::LoadAndEmbed(baton::Choices({data, size}));
  return 0;
}
