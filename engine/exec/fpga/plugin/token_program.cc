#include "engine/exec/fpga/plugin/token_program.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <utility>

namespace baton::fpga {
namespace {

Fault Unable(const std::string& why) {
  return {BATON_UNIMPLEMENTED, Text("the FPGA's kernels cannot run this model: ", why)};
}

// What no command says.
Fault CheckModel(const baton_llm_model& model) {
  if (model.gate != BATON_GATE_SILU) return Unable("its gate is not SiLU");
  if (model.score_cap != 0) return Unable("it caps attention scores");
  if (model.logit_cap != 0) return Unable("it caps logits");
  if (model.layer_count < 1) return Unable("it has no layers");
  if (model.vocabulary < 1) return Unable("it has no vocabulary");
  for (int32_t i = 0; i < model.layer_count; ++i) {
    const baton_llm_layer& layer = *baton_layer_at(&model, i);
    if (layer.query_norm != nullptr || layer.key_norm != nullptr) {
      return Unable("it normalises queries and keys");
    }
    if (layer.attention_post_norm != nullptr || layer.ffn_post_norm != nullptr) {
      return Unable("it has norms behind attention or feed-forward");
    }
  }
  return {};
}

}  // namespace

Fault TokenProgram::Make(const baton_llm_model& model, uint32_t banks, TokenProgram* program) {
  BATON_PLUGIN_TRY(CheckModel(model));
  *program = {};
  program->banks_ = banks;
  program->positions_ = std::min(model.context_tokens, kDecodePositionsMax);
  DecodeCommand embed = {};
  embed.op = kOpEmbed;
  embed.rows = static_cast<uint32_t>(model.dim);
  BATON_PLUGIN_TRY(program->AddCommand(embed));
  uint32_t turns_at = 0;
  uint32_t window_turns_at = 0;
  BATON_PLUGIN_TRY(program->AddTurns("rope", model.rope, model, &turns_at));
  if (model.window_rope.frequency != nullptr) {
    BATON_PLUGIN_TRY(
        program->AddTurns("rope of windows", model.window_rope, model, &window_turns_at));
  } else {
    window_turns_at = turns_at;
  }
  for (int32_t i = 0; i < model.layer_count; ++i) {
    const baton_llm_layer& layer = *baton_layer_at(&model, i);
    const int64_t query_rows = int64_t{model.heads} * model.head_dim;
    const int64_t kv_rows = int64_t{model.kv_heads} * model.head_dim;
    uint32_t qkv_bias = kNoVector;
    uint32_t output_bias = kNoVector;
    BATON_PLUGIN_TRY(program->AddNorm("attention_norm", layer.attention_norm, model));
    BATON_PLUGIN_TRY(program->AddBias("the bias of queries, keys and values",
                                      std::array<BiasPart, 3>{{{layer.query_bias, query_rows},
                                                               {layer.key_bias, kv_rows},
                                                               {layer.value_bias, kv_rows}}},
                                      &qkv_bias));
    BATON_PLUGIN_TRY(program->AddGemv("queries, keys and values",
                                      std::array{layer.query, layer.key, layer.value}, kToScratch,
                                      qkv_bias));
    BATON_PLUGIN_TRY(
        program->AddAttention(model, i, layer.window == 0 ? turns_at : window_turns_at));
    BATON_PLUGIN_TRY(program->AddBias("the bias behind attention",
                                      std::array<BiasPart, 1>{{{layer.output_bias, model.dim}}},
                                      &output_bias));
    BATON_PLUGIN_TRY(
        program->AddGemv("attention's output", std::array{layer.output}, kToResidual, output_bias));
    BATON_PLUGIN_TRY(program->AddNorm("ffn_norm", layer.ffn_norm, model));
    BATON_PLUGIN_TRY(
        program->AddGemv("gate and up", std::array{layer.gate, layer.up}, kToScratch, kNoVector));
    DecodeCommand gate = {};
    gate.op = kOpGate;
    gate.rows = static_cast<uint32_t>(model.ffn_dim);
    BATON_PLUGIN_TRY(program->AddCommand(gate));
    BATON_PLUGIN_TRY(program->AddGemv("down", std::array{layer.down}, kToResidual, kNoVector));
  }
  BATON_PLUGIN_TRY(program->AddNorm("output_norm", model.output_norm, model));
  return program->AddGemv("output", std::array{model.output}, kToLogits, kNoVector);
}

Fault TokenProgram::CommandsFor(const Setting& setting,
                                std::vector<DecodeCommand>* commands) const {
  if (setting.vector_at + vectors_.size() >= kNoVector) {
    return Unable(Text("its vectors end at number ", setting.vector_at + vectors_.size(),
                       " of their memory, the limit is ", kNoVector - 1));
  }
  const auto vector_at = static_cast<uint32_t>(setting.vector_at);
  *commands = commands_;
  for (DecodeCommand& command : *commands) {
    command.bank_beat += setting.bank_beat;
    command.vector_at += vector_at;
    if (command.bias_at != kNoVector) command.bias_at += vector_at;
    if (command.op == kOpAttend) command.block_tokens = setting.block_tokens;
    if (const char* const fault = FaultOf(command); fault != nullptr) return Unable(fault);
  }
  return {};
}

Fault TokenProgram::AddCommand(const DecodeCommand& command) {
  if (const char* const fault = FaultOf(command); fault != nullptr) return Unable(fault);
  commands_.push_back(command);
  return {};
}

// Behind the others, in Q`fraction`.
Fault TokenProgram::Add(const char* name, const float* values, int64_t count, int fraction) {
  constexpr double kLimit = std::numeric_limits<int32_t>::max();
  if (static_cast<int64_t>(vectors_.size()) + count >= int64_t{kNoVector}) {
    return Unable(Text("its vectors and angles take more than ", kNoVector, " numbers"));
  }
  for (int64_t i = 0; i < count; ++i) {
    const double scaled = std::ldexp(double{values[i]}, fraction);
    if (!(std::abs(scaled) <= kLimit)) {
      return Unable(Text(name, " has a value of ", values[i], ", the limit is ",
                         std::ldexp(kLimit, -fraction)));
    }
    vectors_.push_back(static_cast<int32_t>(std::lround(scaled)));
  }
  return {};
}

Fault TokenProgram::AddTurns(const char* name, const baton_rope& rope, const baton_llm_model& model,
                             uint32_t* at) {
  *at = static_cast<uint32_t>(vectors_.size());
  if (model.rope_dims < 0 || model.rope_dims % 2 != 0) return Unable("rope_dims is not even");
  std::vector<float> turns(static_cast<size_t>(model.rope_dims));
  for (int32_t position = 0; position < positions_; ++position) {
    for (int32_t i = 0; i < model.rope_dims / 2; ++i) {
      const double angle = position * rope.frequency[i];
      turns[2 * i] = static_cast<float>(std::cos(angle) * rope.magnitude);
      turns[2 * i + 1] = static_cast<float>(std::sin(angle) * rope.magnitude);
    }
    BATON_PLUGIN_TRY(Add(name, turns.data(), model.rope_dims, kRopeFraction));
  }
  return {};
}

Fault TokenProgram::AddBias(const char* name, std::span<const BiasPart> parts, uint32_t* at) {
  *at = kNoVector;
  if (std::all_of(parts.begin(), parts.end(),
                  [](const BiasPart& part) { return part.values == nullptr; })) {
    return {};
  }
  *at = static_cast<uint32_t>(vectors_.size());
  for (const BiasPart& part : parts) {
    if (part.values == nullptr) {
      vectors_.resize(vectors_.size() + static_cast<size_t>(part.count));
    } else {
      BATON_PLUGIN_TRY(Add(name, part.values, part.count, kResidualFraction));
    }
  }
  return {};
}

Fault TokenProgram::AddNorm(const char* name, const float* weights, const baton_llm_model& model) {
  DecodeCommand command = {};
  command.op = kOpNorm;
  command.rows = static_cast<uint32_t>(model.dim);
  command.vector_at = static_cast<uint32_t>(vectors_.size());
  const double epsilon = std::ldexp(double{model.rms_epsilon}, 32);
  if (!(epsilon >= 0) || epsilon > std::numeric_limits<uint32_t>::max()) {
    return Unable(Text("rms_epsilon is ", model.rms_epsilon, ", the limit is 0 to 1"));
  }
  command.norm_epsilon = static_cast<uint32_t>(std::llround(epsilon));
  BATON_PLUGIN_TRY(Add(name, weights, model.dim, kNormWeightFraction));
  return AddCommand(command);
}

Fault TokenProgram::AddGemv(const char* name, std::span<const baton_matrix> parts,
                            GemvDestination destination, uint32_t bias_at) {
  Placed placed;
  BATON_PLUGIN_TRY(BankMatrix::Make(name, parts, &placed.matrix));
  placed.bank_beat = bank_beats_;
  placed.command = commands_.size();
  DecodeCommand command = {};
  command.op = kOpGemv;
  command.destination = destination;
  command.rows = static_cast<uint32_t>(placed.matrix.rows());
  command.cols = static_cast<uint32_t>(placed.matrix.cols());
  command.bank_beat = placed.bank_beat;
  command.bias_at = bias_at;
  BATON_PLUGIN_TRY(AddCommand(command));
  bank_beats_ += placed.matrix.BankBeats(0, banks_);  // bank 0 has the most rows
  matrices_.push_back(std::move(placed));
  return {};
}

Fault TokenProgram::AddAttention(const baton_llm_model& model, int32_t layer, uint32_t turns_at) {
  DecodeCommand command = {};
  command.op = kOpAttend;
  command.vector_at = turns_at;
  command.heads = static_cast<uint32_t>(model.heads);
  command.kv_heads = static_cast<uint32_t>(model.kv_heads);
  command.head_dim = static_cast<uint32_t>(model.head_dim);
  command.rope_dims = static_cast<uint32_t>(model.rope_dims);
  command.rope_halves = model.rope_halves != 0 ? 1 : 0;
  command.layer = static_cast<uint32_t>(layer);
  command.layers = static_cast<uint32_t>(model.layer_count);
  command.window = static_cast<uint32_t>(baton_layer_at(&model, layer)->window);
  command.block_tokens = Setting().block_tokens;
  const double factor = std::numbers::log2e * model.attention_scale;
  if (!(factor > 0) || !std::isfinite(factor)) {
    return Unable(Text("attention_scale is ", model.attention_scale));
  }
  command.score_shift = 30 - std::ilogb(factor);
  command.score_mantissa = static_cast<uint32_t>(std::ldexp(factor, command.score_shift));
  return AddCommand(command);
}

}  // namespace baton::fpga
