#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/fpga/plugin/card.h"
#include "engine/exec/fpga/plugin/kv_pools.h"
#include "engine/exec/fpga/plugin/token_program.h"
#include "fpga_kernels/sampler_args.h"

namespace baton::fpga {

// A model on a card. A token is a run of the sequencer; a prompt is as many of them. Weights,
// vectors and program lie where they were placed until it goes; after a reset of the card they are
// written again. From one thread; the card and the pools outlive it.
class Decoder {
 public:
  // Blocks: packs and writes all weights. UNIMPLEMENTED: the kernels cannot run it.
  // RESOURCE_EXHAUSTED: the bytes it needs of each bank, and those there are.
  static Fault Load(const baton_host& host, Card& card, KvPools& pools,
                    const baton_llm_model& model, std::unique_ptr<Decoder>* decoder);
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Gives each item's answers in the order of its tokens.
  Fault Run(const baton_llm_batch& batch);

 private:
  // What a token of an item is wanted for.
  struct Wish {
    bool logits = false;
    const baton_sampling* sampling = nullptr;  // not null: a token will do
  };
  Decoder(const baton_host& host, Card& card, KvPools& pools, const baton_llm_model& model);
  Fault Place();
  // What was placed, where the card does not have it.
  Fault Upload();
  Fault UploadProgram(uint32_t block_tokens);
  Fault CheckBatch(const baton_llm_batch& batch) const;
  Fault CheckItem(const baton_llm_item& item, const baton_kv_layout& layout) const;
  Fault SendTables(const baton_llm_item& item, const baton_kv_layout& layout);
  Fault SendEmbedding(int32_t token);
  Fault RunToken(int32_t token, int32_t position, const Wish& wish, const baton_llm_batch& batch,
                 int64_t item);
  Fault Answer(const Wish& wish, const SamplerResult& result, uint64_t random_state,
               const baton_llm_batch& batch, int64_t item);

  const baton_host host_;
  Card& card_;
  KvPools& pools_;
  const std::string name_;
  const int32_t dim_;
  const int32_t vocabulary_;
  const int32_t layers_;
  const int32_t kv_heads_;
  const int32_t head_dim_;
  const int32_t context_tokens_;
  const float embedding_scale_;
  const baton_matrix token_embedding_;
  TokenProgram program_;

  // In each of their banks: weights; the block tables; vectors and embedding; program, sampling and
  // result; logits.
  CardMemory weights_;
  CardMemory tables_;
  CardMemory vectors_;
  CardMemory embedding_;
  CardMemory commands_;
  CardMemory sampling_;
  CardMemory result_;
  CardMemory logits_;

  uint64_t uploaded_ = 0;           // in which generation of the card
  uint32_t block_tokens_ = 0;       // of the program that is there; 0: none
  uint32_t command_count_ = 0;      // of it
  std::vector<void*> sent_blocks_;  // whose tables are there
  // Reused between calls.
  std::vector<std::vector<uint32_t>> block_tables_;  // [kv units]
  std::vector<float> row_;                           // [dim]
  std::vector<int32_t> fixed_;                       // [dim]
  std::vector<int32_t> logits_fixed_;                // [vocabulary]
  std::vector<float> logits_float_;                  // [vocabulary]
};

}  // namespace baton::fpga
