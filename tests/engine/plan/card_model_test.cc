#include "engine/plan/card_model.h"

#include <catch2/catch.hpp>

namespace baton::plan {
namespace {

const fpga::DecoderSize k1B = {.layers = 22,
                               .dim = 2048,
                               .ffn_dim = 5632,
                               .heads = 32,
                               .kv_heads = 4,
                               .head_dim = 64,
                               .vocabulary = 32000};
const fpga::DecoderSize k7B = {.layers = 32,
                               .dim = 4096,
                               .ffn_dim = 11008,
                               .heads = 32,
                               .kv_heads = 32,
                               .head_dim = 128,
                               .vocabulary = 32000};
const fpga::DecoderSize k8B = {.layers = 32,
                               .dim = 4096,
                               .ffn_dim = 14336,
                               .heads = 32,
                               .kv_heads = 8,
                               .head_dim = 128,
                               .vocabulary = 128256};
const fpga::DecoderSize k13B = {.layers = 40,
                                .dim = 5120,
                                .ffn_dim = 13824,
                                .heads = 40,
                                .kv_heads = 40,
                                .head_dim = 128,
                                .vocabulary = 32000};

CardUse UseOf(const char* card, const fpga::DecoderSize& model) {
  return {.card = FindFpgaCard(card), .positions = 511, .sequences = 4, .model = model};
}

double WeightsOf(const fpga::DecoderSize& model) {
  double weights = 0;
  fpga::ForEachMatrix(model, [&](int64_t rows, int64_t cols, int64_t count) {
    weights += static_cast<double>(rows * cols * count);
  });
  return weights;
}

// The estimate that a card's worth was judged by: reading the weights is all there is to do, a byte
// each and, as in Q8_0, two bytes of scale to 32 of them, through 24 ports of 64 bytes at 225 MHz
// with nine beats in ten cycles.
TEST_CASE("tokens a second by bandwidth alone") {
  const double bytes_per_second = 24 * 64 * 225e6 * 0.9;
  CHECK(bytes_per_second == Approx(311e9).epsilon(0.001));
  struct Row {
    fpga::DecoderSize model;
    double gigabytes;
    double tokens_per_second;
  };
  for (const Row& row : {Row{k1B, 1.10, 283}, Row{k7B, 7.02, 44}, Row{k8B, 7.97, 39}}) {
    const double bytes = WeightsOf(row.model) * 34 / 32;
    CHECK(bytes / 1e9 == Approx(row.gigabytes).margin(0.005));
    CHECK(bytes_per_second / bytes == Approx(row.tokens_per_second).margin(0.5));

    // Of the kernels: two bytes of scale to 64 weights, and the bank's timing instead of nine in
    // ten. Rows that do not divide by 24 cost a little.
    const CardFigures figures = ModelCard(UseOf("u55c", row.model));
    CHECK(figures.ports == 24);
    CHECK(figures.efficiency == Approx(0.9).margin(0.01));
    REQUIRE(figures.decode);
    CHECK(static_cast<double>(figures.decode->weight_bytes) ==
          Approx(WeightsOf(row.model) * 33 / 32).epsilon(0.01));
    CHECK(figures.decode->memory_tokens_per_second ==
          Approx(row.tokens_per_second * 34 / 33 * figures.efficiency / 0.9).epsilon(0.02));
  }
}

TEST_CASE("a token takes longer than its weights, and longer the more positions there are") {
  for (const char* card : {"u55c", "u250"}) {
    CardUse use = UseOf(card, k1B);
    const CardFigures figures = ModelCard(use);
    REQUIRE(figures.decode);
    const CardDecode& decode = *figures.decode;
    // Some of the weights come while the vector unit works.
    CHECK(decode.weights_ms > 950 / decode.memory_tokens_per_second);
    CHECK(decode.weights_ms < 1100 / decode.memory_tokens_per_second);
    CHECK(decode.tokens_per_second() < decode.memory_tokens_per_second);
    CHECK(decode.vectors_ms > 0);
    CHECK(decode.run_ms == Approx(0.03));
    CHECK(decode.token_ms() ==
          Approx(decode.weights_ms + decode.vectors_ms + decode.attention_ms + decode.run_ms));
    use.positions = 2047;
    CHECK(ModelCard(use).decode->attention_ms > decode.attention_ms);
    CHECK(ModelCard(use).decode->weights_ms == decode.weights_ms);
    // Half the clock, twice the time, but for memory's own.
    use.clock_mhz = 112.5;
    CHECK(ModelCard(use).decode->vectors_ms == Approx(2 * decode.vectors_ms).epsilon(0.05));
    CHECK(ModelCard(use).efficiency == Approx(figures.efficiency));
    CHECK(figures.too_large.empty());
  }
  // Four ports instead of 24.
  CHECK(ModelCard(UseOf("u250", k1B)).decode->weights_ms >
        5 * ModelCard(UseOf("u55c", k1B)).decode->weights_ms);
}

TEST_CASE("keys and values of a 7B decoder, a position") {
  CHECK(ModelCard(UseOf("u55c", k7B)).decode->kv_bytes == 32 * 2 * 32 * (128 + 4));  // 0.27 MB
}

TEST_CASE("what a card has no room for is said with the bytes") {
  const CardFigures large = ModelCard(UseOf("u55c", k13B));
  CHECK_FALSE(large.decode);
  REQUIRE(large.too_large.size() == 1);
  CHECK_THAT(large.too_large[0],
             Catch::StartsWith("the model: its weights take ") &&
                 Catch::EndsWith(" bytes of each of 24 banks, which have 536870912"));
  CHECK(ModelCard(UseOf("u250", k13B)).decode);

  CardUse use = UseOf("u55c", k7B);
  use.sequences = 100;
  const CardFigures long_texts = ModelCard(use);
  CHECK_FALSE(long_texts.decode);
  CHECK_THAT(long_texts.too_large.at(0),
             Catch::Contains("keys and values of 100 sequences of 511 positions take "));

  fpga::DecoderSize wide = k1B;
  wide.dim = 16384;
  CHECK(ModelCard(UseOf("u55c", wide)).too_large.at(0) ==
        "model: dim is 16384, the kernels take at most 8192");

  use = {.card = FindFpgaCard("u55c")};
  use.collection = {.vectors = 10'000'000, .dimension = 768, .codes_per_query = 1000};
  CHECK_THAT(ModelCard(use).too_large.at(0), Catch::StartsWith("the collection: it takes "));
  CHECK(CurvesOf(ModelCard(use), use).empty());
}

TEST_CASE("a search waits for each step, and a larger collection takes more units") {
  CardUse use = {.card = FindFpgaCard("u55c")};
  use.collection = {.vectors = 500'000, .dimension = 128, .codes_per_query = 1000};
  const CardFigures small = ModelCard(use);
  REQUIRE(small.search);
  CHECK(small.search->parts == 1);
  CHECK(small.search->at_once == 4);
  // 64 steps of two reads after 96 cycles, and two reads of what each found, at 225 MHz; 1,000
  // codes of two beats; and all else.
  const double known = (64 * (2 * 96 + 2 * 96) + 1000 * 2) / 225e3;
  CHECK(small.search->query_ms > known);
  CHECK(small.search->query_ms < 2 * known);
  use.collection->vectors = 2'000'000;
  const CardFigures larger = ModelCard(use);
  CHECK(larger.search->parts == 2);
  CHECK(larger.search->at_once == 2);
  use.collection->codes_per_query = 2000;
  CHECK(ModelCard(use).search->query_ms > larger.search->query_ms);
}

TEST_CASE("curves are what a plan computes with") {
  CardUse use = UseOf("u55c", k1B);
  use.collection = {.vectors = 100'000, .dimension = 128, .codes_per_query = 1000};
  const CardFigures figures = ModelCard(use);
  const std::vector<ServiceCurve> curves = CurvesOf(figures, use);
  REQUIRE(curves.size() == 3);
  CHECK(curves[0].work_class == WorkClass::kDecode);
  // A step of four sequences is four tokens.
  CHECK(curves[0].items_max() == 4);
  CHECK(curves[0].RunMs(1) == Approx(figures.decode->token_ms()));
  CHECK(curves[0].RunMs(4) == Approx(4 * curves[0].RunMs(1)));
  CHECK(curves[1].RunMs(1) == Approx(figures.search->query_ms + 0.03));
  CHECK(curves[2].RunMs(4) == curves[1].RunMs(1));
  CHECK(curves[2].RunMs(512) == Approx(128 * figures.search->query_ms + 0.03));
}

}  // namespace
}  // namespace baton::plan
