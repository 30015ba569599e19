#include <catch2/catch.hpp>
#include <cstring>

#include "fpga_kernels/hls/sampler.h"
#include "fpga_kernels/hls/sequencer.h"
#include "fpga_kernels/hls/vector_unit.h"
#include "tests/fpga_kernels/decoder_image.h"
#include "tests/fpga_kernels/unit_chains.h"

namespace baton::fpga {
namespace {

// All units of a card, one run a token.
class Card {
 public:
  Card(const DecoderImage& image, const DecoderShape& shape, int positions, int block_tokens)
      : image_(image), shape_(shape) {
    for (const auto& bytes : image.banks) {
      banks_.emplace_back(bytes.size() / kBeatBytes);
      if (!bytes.empty()) std::memcpy(banks_.back().data(), bytes.data(), bytes.size());
    }
    const int blocks = (positions + block_tokens - 1) / block_tokens;
    const uint64_t block_bytes =
        KvBlockBytes(shape.layers, shape.kv_heads, KvAreaBytes(block_tokens, shape.head_dim));
    kv_.resize(kKvUnits);
    for (int block = 0; block < blocks; ++block) {
      const auto slot = static_cast<uint32_t>(block / kKvUnits);
      for (KvBank& bank : kv_) bank.blocks.push_back(kKvElsewhere);
      KvBank& bank = kv_[block % kKvUnits];
      bank.blocks.back() = slot;
      bank.bytes.resize(((slot + 1) * block_bytes + 63) / 64 * 64);
    }
  }

  SamplerResult Step(const std::vector<int32_t>& embedding, uint32_t position,
                     std::vector<int32_t>* logits) {
    const SamplerArgs args = {.vocabulary = static_cast<uint32_t>(shape_.vocabulary),
                              .logits_wanted = 1};
    SamplerResult result = {};
    {
      BankChain banks(banks_);
      KvChain kv(kv_);
      Stream<DecodeCommand, 4> commands("vector commands");
      Stream<int32_t, 32> logit_stream("logits");
      Stream<SamplerArgs, 2> sampling("sampling");
      Stream<SamplerResult, 2> results("results");
      BATON_DATAFLOW(region);
      banks.Start(region);
      kv.Start(region);
      BATON_PROCESS(region,
                    sequencer(image_.program.data(), &args, &result,
                              static_cast<uint32_t>(image_.program.size()), position, 0, 0, 1,
                              commands, banks.commands(), kv.commands(), sampling, results));
      BATON_PROCESS(region,
                    vector_unit(image_.vectors.data(), embedding.data(), commands, banks.x(),
                                banks.sums(), kv.heads(), kv.partials(), logit_stream));
      BATON_PROCESS(region, sampler(logits->data(), sampling, logit_stream, results));
    }
    CHECK(TakeDataflowFailure() == "");
    return result;
  }

 private:
  const DecoderImage& image_;
  const DecoderShape shape_;
  std::vector<std::vector<Beat>> banks_;
  std::vector<KvBank> kv_;
};

struct Agreement {
  int same_top = 0;
  double cosine_min = 1;
};

// Teacher-forced: both are fed the same tokens, whatever they would have chosen.
Agreement Decode(const DecoderShape& shape, int64_t banks, int tokens, int block_tokens) {
  NaiveDecoder decoder(shape, 11);
  const DecoderImageWriter writer(decoder, banks, tokens, block_tokens);
  Card card(writer.image(), shape, tokens, block_tokens);
  Agreement agreement;
  for (int i = 0; i < tokens; ++i) {
    const int token = (i * 37 + 5) % shape.vocabulary;
    std::vector<int32_t> embedding;
    for (int d = 0; d < shape.dim; ++d) {
      embedding.push_back(static_cast<int32_t>(
          std::lround(std::ldexp(decoder.embedding[int64_t{token} * shape.dim + d], 16))));
    }
    std::vector<int32_t> logits(shape.vocabulary);
    const SamplerResult result = card.Step(embedding, static_cast<uint32_t>(i), &logits);
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
