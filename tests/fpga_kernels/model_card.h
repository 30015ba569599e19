#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "fpga_kernels/hls/sampler.h"
#include "fpga_kernels/hls/sequencer.h"
#include "fpga_kernels/hls/vector_unit.h"
#include "tests/fpga_kernels/decoder_image.h"
#include "tests/fpga_kernels/unit_chains.h"

namespace baton::fpga {

// All units of a card as C models, joined as a link configuration would; one sequence.
class ModelCard {
 public:
  ModelCard(const DecoderImage& image, const DecoderShape& shape, int positions, int block_tokens,
            int kv_units = kKvUnits)
      : image_(image), shape_(shape) {
    for (const auto& bytes : image.banks) {
      banks_.emplace_back(bytes.size() / kBeatBytes);
      if (!bytes.empty()) std::memcpy(banks_.back().data(), bytes.data(), bytes.size());
    }
    const int blocks = (positions + block_tokens - 1) / block_tokens;
    const uint64_t block_bytes =
        KvBlockBytes(shape.layers, shape.kv_heads, KvAreaBytes(block_tokens, shape.head_dim));
    kv_.resize(kv_units);
    for (int block = 0; block < blocks; ++block) {
      const auto slot = static_cast<uint32_t>(block / kv_units);
      for (KvBank& bank : kv_) bank.blocks.push_back(kKvElsewhere);
      KvBank& bank = kv_[block % kv_units];
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
    failure_ = TakeDataflowFailure();
    return result;
  }

  // Of the last step; empty: none.
  const std::string& failure() const { return failure_; }

 private:
  const DecoderImage& image_;
  const DecoderShape shape_;
  std::vector<std::vector<Beat>> banks_;
  std::vector<KvBank> kv_;
  std::string failure_;
};

// Q16, as the host places it.
inline std::vector<int32_t> EmbeddingOf(const NaiveDecoder& decoder, int token) {
  std::vector<int32_t> embedding;
  for (int d = 0; d < decoder.s.dim; ++d) {
    embedding.push_back(static_cast<int32_t>(
        std::lround(std::ldexp(decoder.embedding[int64_t{token} * decoder.s.dim + d], 16))));
  }
  return embedding;
}

}  // namespace baton::fpga
