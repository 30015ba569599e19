#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "engine/exec/fpga/plugin/kv_banks.h"
#include "engine/exec/fpga/plugin/token_program.h"
#include "engine/exec/plugin_loader.h"
#include "engine/exec/plugin_model.h"
#include "engine/kv/kv_layout.h"
#include "fpga_kernels/hls/sampler.h"
#include "fpga_kernels/hls/sequencer.h"
#include "fpga_kernels/hls/vector_unit.h"
#include "tests/fpga_kernels/unit_chains.h"
#include "tests/support/status_matchers.h"

namespace baton::fpga {

// The C models of a card's kernels on what the plug-in's host side makes of a model: no XRT, and
// nothing beside the images that the plug-in would write.
class ImageCard {
 public:
  static constexpr uint32_t kBanks = 24;
  // Nothing lies at the beginning of a memory.
  static constexpr TokenProgram::Setting kSetting = {.bank_beat = 3, .vector_at = 7};

  ImageCard(const LanguageModel& model, const KvLayout& layout, int64_t blocks)
      : model_(model), layout_(layout) {
    const PluginModel described(model);
    const Fault made = TokenProgram::Make(described.get(), kBanks, &program_);
    INFO(made.message());
    REQUIRE_FALSE(made.failed());
    banks_.resize(kBanks);
    for (auto& bank : banks_) bank.resize(kSetting.bank_beat + program_.bank_bytes() / kBeatBytes);
    for (size_t i = 0; i < program_.matrices().size(); ++i) {
      const TokenProgram::Placed& placed = program_.matrices()[i];
      std::vector<std::vector<uint8_t>> images(kBanks);
      int32_t shift = 0;
      REQUIRE_FALSE(placed.matrix.Pack(PluginHost(), images, &shift).failed());
      program_.SetWeightShift(i, shift);
      for (uint32_t bank = 0; bank < kBanks; ++bank) {
        REQUIRE(images[bank].size() == placed.matrix.BankBeats(bank, kBanks) * kBeatBytes);
        if (images[bank].empty()) continue;
        std::memcpy(banks_[bank].data() + kSetting.bank_beat + placed.bank_beat,
                    images[bank].data(), images[bank].size());
      }
    }
    vectors_.assign(kSetting.vector_at, INT32_MIN);
    vectors_.insert(vectors_.end(), program_.vectors().begin(), program_.vectors().end());
    TokenProgram::Setting setting = kSetting;
    setting.block_tokens = static_cast<uint32_t>(layout.block_tokens);
    REQUIRE_FALSE(program_.CommandsFor(setting, &commands_).failed());

    const auto block_bytes = static_cast<uint64_t>(layout.block_bytes());
    REQUIRE_FALSE(KvBanks::Reserve({.blocks = static_cast<uint64_t>(blocks),
                                    .block_bytes = block_bytes,
                                    .units = kKvUnits},
                                   &kv_banks_)
                      .failed());
    kv_banks_.SetBankOffset(4096);
    kv_.resize(kKvUnits);
    for (KvBank& bank : kv_) {
      bank.bytes.assign(kv_banks_.bank_offset() + kv_banks_.bank_bytes(), 0xa5);
    }
  }

  // Block `index` of the pool.
  void* Block(int64_t index) const {
    return static_cast<std::byte*>(kv_banks_.data()) + index * layout_.block_bytes();
  }
  // Where it lies.
  uint8_t* Memory(const void* block) {
    KvBanks::Place place;
    const auto bytes = static_cast<uint64_t>(layout_.block_bytes());
    REQUIRE_FALSE(kv_banks_.Find(block, bytes, &place).failed());
    return kv_[place.unit].bytes.data() + place.at;
  }

  // The logits after a token at `position`, Q16 as f32.
  std::vector<float> Step(TokenId token, int32_t position, std::span<void* const> blocks) {
    std::vector<std::vector<uint32_t>> tables(kKvUnits);
    REQUIRE_FALSE(
        kv_banks_.Tables(blocks, static_cast<uint64_t>(layout_.block_bytes()), tables).failed());
    for (int unit = 0; unit < kKvUnits; ++unit) kv_[unit].blocks = tables[unit];
    const LlmShape& shape = model_.shape();
    const MatrixView& embeddings = model_.weights().token_embedding;
    std::vector<float> row(static_cast<size_t>(shape.dim));
    DequantizeRow(embeddings.type, embeddings.data + token * RowBytes(embeddings.type, shape.dim),
                  shape.dim, row.data());
    std::vector<int32_t> embedding;
    for (const float value : row) {
      embedding.push_back(static_cast<int32_t>(
          std::lround(std::ldexp(double{value} * shape.embedding_scale, kResidualFraction))));
    }
    const SamplerArgs args = {.vocabulary = static_cast<uint32_t>(shape.vocabulary),
                              .logits_wanted = 1};
    std::vector<int32_t> logits(static_cast<size_t>(shape.vocabulary));
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
      BATON_PROCESS(region, sequencer(commands_.data(), &args, &result,
                                      static_cast<uint32_t>(commands_.size()),
                                      static_cast<uint32_t>(position), 0, 0, 1, commands,
                                      banks.commands(), kv.commands(), sampling, results));
      BATON_PROCESS(region, vector_unit(vectors_.data(), embedding.data(), commands, banks.x(),
                                        banks.sums(), kv.heads(), kv.partials(), logit_stream));
      BATON_PROCESS(region, sampler(logits.data(), sampling, logit_stream, results));
    }
    REQUIRE(TakeDataflowFailure() == "");
    std::vector<float> as_floats;
    for (const int32_t logit : logits) {
      as_floats.push_back(static_cast<float>(std::ldexp(logit, -kResidualFraction)));
    }
    CHECK(result.token ==
          static_cast<uint32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    return as_floats;
  }

 private:
  const LanguageModel& model_;
  const KvLayout layout_;
  TokenProgram program_;
  std::vector<DecodeCommand> commands_;
  std::vector<int32_t> vectors_;
  std::vector<std::vector<Beat>> banks_;
  KvBanks kv_banks_;
  std::vector<KvBank> kv_;
};

}  // namespace baton::fpga
