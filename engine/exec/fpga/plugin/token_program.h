#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/fpga/plugin/bank_matrix.h"
#include "fpga_kernels/decode_args.h"

namespace baton::fpga {

// What a model is on a card: the program that each token runs, the vectors that it names, and the
// matrices, one behind the other in every bank. Reads the host's weights, which outlive it.
class TokenProgram {
 public:
  // UNIMPLEMENTED: the kernels have no word for what the model does, or a limit is too small for
  // it. INVALID_ARGUMENT: its weights contradict themselves.
  static Fault Make(const baton_llm_model& model, uint32_t banks, TokenProgram* program);

  // A matrix, and where it begins in each bank.
  struct Placed {
    BankMatrix matrix;
    uint64_t bank_beat = 0;
    size_t command = 0;
  };
  const std::vector<Placed>& matrices() const { return matrices_; }
  // Of each bank, all of them alike.
  uint64_t bank_bytes() const { return 64 * bank_beats_; }
  size_t command_count() const { return commands_.size(); }
  // Once matrix `index` was packed.
  void SetWeightShift(size_t index, int32_t shift) {
    commands_[matrices_[index].command].weight_shift = shift;
  }
  // As it runs where matrices begin at beat `bank_beat` of the banks, vectors at int32 `vector_at`
  // of the vector memory, and a KV block has so many positions, a power of two up to 64.
  struct Setting {
    uint64_t bank_beat = 0;
    uint64_t vector_at = 0;
    uint32_t block_tokens = 8;
  };
  // UNIMPLEMENTED: there it is out of reach.
  Fault CommandsFor(const Setting& setting, std::vector<DecodeCommand>* commands) const;

  const std::vector<int32_t>& vectors() const { return vectors_; }
  int32_t positions() const { return positions_; }  // that it has an angle for

 private:
  Fault AddNorm(const char* name, const float* weights, const baton_llm_model& model);
  Fault AddGemv(const char* name, std::span<const baton_matrix> parts, GemvDestination destination,
                uint32_t bias_at);
  Fault AddAttention(const baton_llm_model& model, int32_t layer, uint32_t turns_at);
  Fault AddTurns(const char* name, const baton_rope& rope, const baton_llm_model& model,
                 uint32_t* at);
  // kNoVector where all of `parts` are null.
  struct BiasPart {
    const float* values;  // [count]; null: zeros
    int64_t count;
  };
  Fault AddBias(const char* name, std::span<const BiasPart> parts, uint32_t* at);
  Fault Add(const char* name, const float* values, int64_t count, int fraction);
  Fault AddCommand(const DecodeCommand& command);

  uint32_t banks_ = 0;
  uint64_t bank_beats_ = 0;
  int32_t positions_ = 0;
  std::vector<DecodeCommand> commands_;
  std::vector<int32_t> vectors_;
  std::vector<Placed> matrices_;
};

}  // namespace baton::fpga
