// Layers as wide as a decoder of 1B parameters has them, sharded over the 24 banks of the emulated
// card, through XRT: beside a decoder in doubles, which knows nothing of the kernels, and the F32
// CPU executor.
#include <catch2/catch.hpp>
#include <iostream>

#include "tests/engine/exec/fpga/agreement.h"
#include "tests/engine/exec/fpga/handed_over.h"
#include "tests/engine/exec/model_cases.h"
#include "tests/engine/exec/naive_decoder.h"
#include "tests/support/figure.h"

namespace baton {
namespace {

constexpr size_t kPromptTokens = 5;

void CheckLayers(int32_t layers, size_t steps) {
  const auto model = RandomModel({.dim = 2048,
                                  .ffn_dim = 5632,
                                  .layers = layers,
                                  .heads = 32,
                                  .kv_heads = 4,
                                  .vocabulary = 512,
                                  .tied_output = false,
                                  .seed = 20261122});
  std::mt19937 random(7);
  const std::vector<TokenId> tokens = RandomTokens(kPromptTokens + steps, 512, random);
  const auto device = TryOpenFpga(EmulatedFpga());
  REQUIRE_OK(device);
  NaiveDecoder oracle(*model);
  for (size_t i = 0; i < kPromptTokens; ++i) oracle.Next(tokens[i]);
  fpga::Agreement with_oracle;
  fpga::Agreement with_cpu;
  DecodeHandedOver(*device, model, kPromptTokens, tokens,
                   [&](int32_t position, std::span<const float> got, std::span<const float> cpu) {
                     const std::vector<double> exact = oracle.Next(tokens[position]);
                     with_oracle.Add(got, std::vector<float>(exact.begin(), exact.end()));
                     with_cpu.Add(got, cpu);
                   });
  std::cout << layers << " wide layers beside the oracle: " << with_oracle
            << "\nbeside the F32 CPU executor: " << with_cpu << "\n";
  REQUIRE(with_oracle.steps == static_cast<int>(steps));
  for (const fpga::Agreement& agreement : {with_oracle, with_cpu}) {
    PrintFigure("decode.top1_agreement", agreement.top_share());
    PrintFigure("decode.logit_cosine", agreement.cosine());
    CHECK(agreement.top_share() >= 0.95);
    CHECK(agreement.cosine() >= 0.999);
    CHECK(agreement.cosine_least >= 0.999);
  }
}

}  // namespace

TEST_CASE("a layer of a 1B decoder over 24 banks agrees with the oracle and the CPU") {
  CheckLayers(1, 20);
}

TEST_CASE("two layers of a 1B decoder over 24 banks agree for long", "[.slow]") {
  CheckLayers(2, 60);
}

}  // namespace baton
