#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/exec/cpu/kernels/kv_convert.h"
#include "engine/exec/plugin_forward.h"
#include "engine/transfer/kv_conversion.h"
#include "tests/engine/exec/fpga/fpga_harness.h"

namespace baton {

inline std::vector<float> LogitsOf(PluginForward& forward, const KvLayout& layout,
                                   const ForwardItem& item) {
  std::vector<float> logits;
  REQUIRE_OK(forward.Run(
      layout, {&item, 1},
      [&](size_t, std::span<const float> values) { logits.assign(values.begin(), values.end()); },
      [](size_t, const ChosenToken&) { FAIL("a token instead of logits"); }));
  return logits;
}

// A prompt that the F32 CPU executor prefills, handed over to a card as int8 blocks as the transfer
// manager does it; the tokens behind it are then decoded by both. on_step(position, logits of the
// card, logits of the CPU).
template <class OnStep>
void DecodeHandedOver(const std::shared_ptr<PluginDevice>& device,
                      const std::shared_ptr<const LanguageModel>& model, size_t prompt_tokens,
                      const std::vector<TokenId>& tokens, OnStep on_step) {
  auto forward = PluginForward::Load(device, model);
  REQUIRE_OK(forward);
  ThreadTeam team(2);
  DecoderForward cpu(model, KernelsFor(SupportedSimdLevels().back()), team, 256);
  const KvLayout exact = LayoutOf(model->shape(), 16);
  SequenceBlocks sequence(exact, std::ssize(tokens));
  LogitsAfter(cpu, exact, sequence, std::span(tokens).first(prompt_tokens), 0);
  const KvLayout layout = LayoutOf(model->shape(), 16, KvType::kInt8);
  SequenceBlocks converted(layout, std::ssize(tokens));
  const std::vector<const void*> exact_blocks(sequence.blocks.begin(), sequence.blocks.end());
  const std::vector<void*> int8_blocks(converted.blocks.begin(), converted.blocks.end());
  KvConversionRun run({.source = exact,
                       .destination = layout,
                       .tokens = static_cast<int64_t>(prompt_tokens),
                       .layer_begin = 0,
                       .layer_end = layout.layers},
                      exact_blocks, int8_blocks, KvConverterFor(SupportedSimdLevels().back()));
  while (run.Step()) {
  }

  DeviceBlocks blocks(*device, layout, 64);
  const std::vector<std::byte*> others = blocks.Take(100);
  const std::vector<std::byte*> own = blocks.Take(std::ssize(tokens));
  const std::vector<const void*> sources(converted.blocks.begin(), converted.blocks.end());
  const std::vector<void*> destinations(own.begin(), own.end());
  PluginPath there(device, PluginPath::Direction::kToDevice);
  REQUIRE_OK(CopyBlocks(there, sources, destinations, layout.block_bytes()));
  // And back again, what was written.
  SequenceBlocks back(layout, std::ssize(tokens));
  PluginPath home(device, PluginPath::Direction::kFromDevice);
  REQUIRE_OK(CopyBlocks(home, {own.begin(), own.end()}, {back.blocks.begin(), back.blocks.end()},
                        layout.block_bytes()));
  CHECK(back.memory == converted.memory);

  for (size_t i = prompt_tokens; i < tokens.size(); ++i) {
    const auto position = static_cast<int32_t>(i);
    const ForwardItem item = {
        .tokens = {&tokens[i], 1}, .position = position, .blocks = own, .logits = 1};
    const std::vector<float> got = LogitsOf(**forward, layout, item);
    on_step(position, got, LogitsAfter(cpu, exact, sequence, {&tokens[i], 1}, position, 1));
  }
}

}  // namespace baton
