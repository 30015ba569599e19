// A model's images for a card, run by the C models of the kernels, beside the F32 CPU executor.
#include "engine/exec/fpga/plugin/token_program.h"

#include <catch2/catch.hpp>
#include <iostream>

#include "engine/exec/cpu/kernels/kv_convert.h"
#include "engine/transfer/kv_conversion.h"
#include "tests/engine/exec/fpga/agreement.h"
#include "tests/engine/exec/fpga/golden_tokens.h"
#include "tests/engine/exec/fpga/image_card.h"
#include "tests/engine/exec/model_cases.h"
#include "tests/support/figure.h"
#include "tests/support/shared_data.h"

namespace baton::fpga {
namespace {

// Prefill by the CPU, handed over as int8 blocks as the transfer manager does, then decodes with
// the same tokens on both.
Agreement Decode(const std::shared_ptr<const LanguageModel>& model, size_t prompt_tokens,
                 const std::vector<TokenId>& tokens, int32_t block_tokens) {
  ThreadTeam team(2);
  DecoderForward cpu(model, KernelsFor(SupportedSimdLevels().back()), team, 256);
  const KvLayout exact = LayoutOf(model->shape(), 16);
  SequenceBlocks sequence(exact, std::ssize(tokens));
  std::vector<float> want =
      LogitsAfter(cpu, exact, sequence, std::span(tokens).first(prompt_tokens), 0);

  const KvLayout layout = LayoutOf(model->shape(), block_tokens, KvType::kInt8);
  const int64_t blocks = (std::ssize(tokens) + block_tokens - 1) / block_tokens;
  ImageCard card(*model, layout, 3 * blocks + 1);
  std::vector<void*> of_sequence;
  // Other sequences' between them.
  for (int64_t i = 0; i < blocks; ++i) of_sequence.push_back(card.Block(3 * (blocks - i)));
  std::vector<void*> memory;
  for (const void* block : of_sequence) memory.push_back(card.Memory(block));
  const KvConversion handoff = {.source = exact,
                                .destination = layout,
                                .tokens = static_cast<int64_t>(prompt_tokens),
                                .layer_begin = 0,
                                .layer_end = layout.layers};
  const std::vector<const void*> sources(sequence.blocks.begin(), sequence.blocks.end());
  KvConversionRun run(handoff, sources, memory, KvConverterFor(SupportedSimdLevels().back()));
  while (run.Step()) {
  }
  Agreement agreement;
  for (size_t i = prompt_tokens; i < tokens.size(); ++i) {
    const auto position = static_cast<int32_t>(i);
    want = LogitsAfter(cpu, exact, sequence, {&tokens[i], 1}, position, 1);
    agreement.Add(card.Step(tokens[i], position, of_sequence), want);
  }
  return agreement;
}

}  // namespace

TEST_CASE("trained models on the card's C model agree with the F32 CPU executor") {
  const std::string name = GENERATE("stories260K-f32", "baby105-940K-f32", "baby105-940K-q8_0",
                                    "baby105-940K-q4_k_m", "stories260K-q4_0");
  CAPTURE(name);
  const auto path = SharedData("models/" + name + ".gguf");
  if (!path) return;
  const auto model = LoadLanguageModel("golden", path->string());
  REQUIRE_OK(model);
  size_t prompt_tokens = 0;
  std::vector<TokenId> tokens = GoldenTokens(*path, &prompt_tokens);
  REQUIRE(prompt_tokens > 0);
  tokens.resize(std::min(tokens.size(), prompt_tokens + 60));
  const Agreement agreement = Decode(*model, prompt_tokens, tokens, 8);
  std::cout << name << ": " << agreement << "\n";
  PrintFigure("decode.top1_agreement", agreement.top_share());
  PrintFigure("decode.logit_cosine", agreement.cosine());
  CHECK(agreement.top_share() >= 0.95);
  CHECK(agreement.cosine() >= 0.999);
  CHECK(agreement.cosine_least >= 0.99);
}

TEST_CASE("what the kernels have no word for is refused and everything else agrees") {
  for (const ModelCase& c : ModelCases()) {
    CAPTURE(c.name);
    const auto model = RandomModel(c.options, c.add_keys);
    const std::string_view architecture = c.options.architecture;
    TokenProgram program;
    const PluginModel described(*model);
    const Fault made = TokenProgram::Make(described.get(), 24, &program);
    if (architecture == "qwen3" || architecture.starts_with("gemma")) {
      CHECK(made.code() == BATON_UNIMPLEMENTED);
      CHECK_THAT(made.message(), Catch::StartsWith("the FPGA's kernels cannot run this model: "));
      continue;
    }
    std::mt19937 random(20261122);
    const std::vector<TokenId> tokens = RandomTokens(21, model->shape().vocabulary, random);
    const Agreement agreement = Decode(model, 9, tokens, 16);
    CHECK(agreement.cosine() >= 0.999);
    CHECK(agreement.cosine_least >= 0.99);
  }
}

}  // namespace baton::fpga
