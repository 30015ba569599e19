#include <catch2/catch.hpp>

#include "tests/fpga_kernels/model_card.h"
#include "tests/support/figure.h"

namespace baton::fpga {
namespace {

struct Agreement {
  int same_top = 0;
  double cosine_min = 1;
};

// Teacher-forced: both are fed the same tokens, whatever they would have chosen.
Agreement Decode(const DecoderShape& shape, int64_t banks, int tokens, int block_tokens) {
  NaiveDecoder decoder(shape, 11);
  const DecoderImageWriter writer(decoder, banks, tokens, block_tokens);
  ModelCard card(writer.image(), shape, tokens, block_tokens);
  Agreement agreement;
  for (int i = 0; i < tokens; ++i) {
    const int token = (i * 37 + 5) % shape.vocabulary;
    const std::vector<int32_t> embedding = EmbeddingOf(decoder, token);
    std::vector<int32_t> logits(shape.vocabulary);
    const SamplerResult result = card.Step(embedding, static_cast<uint32_t>(i), &logits);
    CHECK(card.failure() == "");
    const std::vector<double> want = decoder.Step(token);
    double products = 0;
    double squares = 0;
    double want_squares = 0;
    for (size_t v = 0; v < want.size(); ++v) {
      const double got = std::ldexp(logits[v], -16);
      products += got * want[v];
      squares += got * got;
      want_squares += want[v] * want[v];
    }
    agreement.cosine_min =
        std::min(agreement.cosine_min, products / std::sqrt(squares * want_squares));
    const auto best = std::max_element(want.begin(), want.end()) - want.begin();
    if (best == result.token) ++agreement.same_top;
  }
  PrintFigure("decode.top1_agreement", static_cast<double>(agreement.same_top) / tokens);
  PrintFigure("decode.logit_cosine", agreement.cosine_min);
  WARN("top-1 " << agreement.same_top << " of " << tokens << ", least logit cosine "
                << agreement.cosine_min);
  return agreement;
}

TEST_CASE("a small decoder agrees with one in doubles, token by token") {
  const Agreement agreement = Decode({}, 24, 40, 8);
  CHECK(agreement.same_top >= 38);
  CHECK(agreement.cosine_min >= 0.999);
}

TEST_CASE("rows and heads that fill no beat") {
  const Agreement agreement = Decode({.dim = 72,
                                      .ffn_dim = 130,
                                      .heads = 6,
                                      .kv_heads = 3,
                                      .head_dim = 24,
                                      .layers = 3,
                                      .vocabulary = 77,
                                      .rope_halves = false,
                                      .biases = false},
                                     5, 20, 16);
  CHECK(agreement.same_top >= 19);
  CHECK(agreement.cosine_min >= 0.999);
}

TEST_CASE("a layer of a 1B decoder over 24 banks") {
  const Agreement agreement = Decode({.dim = 2048,
                                      .ffn_dim = 5632,
                                      .heads = 32,
                                      .kv_heads = 4,
                                      .head_dim = 64,
                                      .layers = 1,
                                      .vocabulary = 512},
                                     24, 2, 32);
  CHECK(agreement.same_top == 2);
  CHECK(agreement.cosine_min >= 0.999);
}

}  // namespace
}  // namespace baton::fpga
