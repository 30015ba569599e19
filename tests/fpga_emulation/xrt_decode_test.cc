// A token through XRT: one run of the sequencer, all units of a card joined by its streams.
#include <catch2/catch.hpp>

#include "tests/fpga_emulation/xrt_decoder.h"
#include "tests/fpga_kernels/model_card.h"

namespace baton::fpga {
namespace {

// Token by token the bits of the C models, for sequences that take turns.
void CheckDecode(const std::string& xclbin, const DecoderShape& shape, XrtDecoder::Size size) {
  const NaiveDecoder decoder(shape, 11);
  const DecoderImageWriter writer(decoder, size.banks, size.positions, size.block_tokens);
  std::vector<ModelCard> models;
  for (int i = 0; i < size.sequences; ++i) {
    models.emplace_back(writer.image(), shape, size.positions, size.block_tokens, size.kv_units);
  }
  const XrtCard card("", xclbin);
  XrtDecoder on_card(card, writer.image(), shape, size);
  for (int position = 0; position < size.positions; ++position) {
    for (int sequence = 0; sequence < size.sequences; ++sequence) {
      const int token = (position * 37 + sequence * 5) % shape.vocabulary;
      const std::vector<int32_t> embedding = EmbeddingOf(decoder, token);
      std::vector<int32_t> logits(shape.vocabulary);
      const SamplerResult want =
          models[sequence].Step(embedding, static_cast<uint32_t>(position), &logits);
      REQUIRE(models[sequence].failure() == "");
      const XrtDecoder::Token got =
          on_card.Step(sequence, embedding, static_cast<uint32_t>(position));
      INFO("position " << position << " sequence " << sequence);
      REQUIRE(got.state == ERT_CMD_STATE_COMPLETED);
      CHECK(got.result.token == want.token);
      CHECK(got.result.logit == want.logit);
      REQUIRE(got.logits == logits);
    }
  }
}

TEST_CASE("tokens of two sequences in turn are those of the C models, bit by bit") {
  CheckDecode("emulated", {}, {.sequences = 2, .positions = 20});
}

TEST_CASE("a card with fewer units gives the same for its layout") {
  CheckDecode("small",
              {.dim = 72,
               .ffn_dim = 130,
               .heads = 6,
               .kv_heads = 3,
               .head_dim = 24,
               .layers = 3,
               .vocabulary = 77,
               .rope_halves = false,
               .biases = false},
              {.banks = 3, .kv_units = 2, .sequences = 1, .positions = 12, .block_tokens = 4});
}

TEST_CASE("units end when the sequencer says so, and are started again") {
  const DecoderShape shape;
  const NaiveDecoder decoder(shape, 3);
  const DecoderImageWriter writer(decoder, 24, 8, 8);
  const XrtCard card;
  std::vector<int32_t> first;
  for (int round = 0; round < 2; ++round) {
    XrtDecoder on_card(card, writer.image(), shape, {.positions = 8});
    const XrtDecoder::Token token = on_card.Step(0, EmbeddingOf(decoder, 7), 0);
    REQUIRE(token.state == ERT_CMD_STATE_COMPLETED);
    if (round == 0) first = token.logits;
    CHECK(token.logits == first);
  }
}

TEST_CASE("a unit that hangs stops the token, and the card opens again") {
  const DecoderShape shape;
  const NaiveDecoder decoder(shape, 3);
  const DecoderImageWriter writer(decoder, 24, 8, 8);
  {
    const XrtCard card("hang=kv_attention_3:1");
    XrtDecoder on_card(card, writer.image(), shape, {.positions = 8});
    const XrtDecoder::Token token =
        on_card.Step(0, EmbeddingOf(decoder, 7), 0, std::chrono::milliseconds(200));
    CHECK(token.state != ERT_CMD_STATE_COMPLETED);
    on_card.Abandon();
  }
  const XrtCard card;
  XrtDecoder on_card(card, writer.image(), shape, {.positions = 8});
  CHECK(on_card.Step(0, EmbeddingOf(decoder, 7), 0).state == ERT_CMD_STATE_COMPLETED);
}

TEST_CASE("a wrong token, once") {
  const DecoderShape shape;
  const NaiveDecoder decoder(shape, 3);
  const DecoderImageWriter writer(decoder, 24, 8, 8);
  const XrtCard card("wrong=sequencer_0.result+4:2");
  XrtDecoder on_card(card, writer.image(), shape, {.positions = 8});
  const std::vector<int32_t> embedding = EmbeddingOf(decoder, 7);
  const uint32_t token = on_card.Step(0, embedding, 0).result.token;
  CHECK(on_card.Step(0, embedding, 0).result.token == (token ^ 1));
  CHECK(on_card.Step(0, embedding, 0).result.token == token);
}

}  // namespace
}  // namespace baton::fpga
