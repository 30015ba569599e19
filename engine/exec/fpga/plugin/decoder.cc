#include "engine/exec/fpga/plugin/decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/exec/fpga/plugin/sampling.h"
#include "fpga_kernels/card_args.h"
#include "fpga_kernels/kv_args.h"

namespace baton::fpga {
namespace {

constexpr int32_t kBlockTokensMin = 8;

int32_t FixedOf(double value) {
  constexpr double kLimit = std::numeric_limits<int32_t>::max();
  return static_cast<int32_t>(
      std::lround(std::clamp(std::ldexp(value, kResidualFraction), -kLimit, kLimit)));
}

}  // namespace

Decoder::Decoder(const baton_host& host, Card& card, KvPools& pools, const baton_llm_model& model)
    : host_(host),
      card_(card),
      pools_(pools),
      name_(model.name),
      dim_(model.dim),
      vocabulary_(model.vocabulary),
      layers_(model.layer_count),
      kv_heads_(model.kv_heads),
      head_dim_(model.head_dim),
      context_tokens_(std::min(model.context_tokens, kDecodePositionsMax)),
      embedding_scale_(model.embedding_scale),
      token_embedding_(model.token_embedding),
      block_tables_(card.UnitsOf(Kernel::kKvAttention)),
      row_(static_cast<size_t>(model.dim)),
      fixed_(row_.size()),
      logits_fixed_(static_cast<size_t>(model.vocabulary)),
      logits_float_(logits_fixed_.size()) {}

Fault Decoder::Load(const baton_host& host, Card& card, KvPools& pools,
                    const baton_llm_model& model, std::unique_ptr<Decoder>* decoder) {
  TokenProgram program;
  BATON_PLUGIN_TRY(TokenProgram::Make(model, card.UnitsOf(Kernel::kGemvBank), &program));
  std::unique_ptr<Decoder> loaded(new Decoder(host, card, pools, model));
  loaded->program_ = std::move(program);
  BATON_PLUGIN_TRY(loaded->Place());
  BATON_PLUGIN_TRY(loaded->Upload());
  *decoder = std::move(loaded);
  return {};
}

Decoder::~Decoder() {
  for (const CardMemory& memory :
       {weights_, tables_, vectors_, embedding_, commands_, sampling_, result_, logits_}) {
    card_.Free(memory);
  }
}

Fault Decoder::Place() {
  const std::string model = Text("model ", name_);
  const char* const what = model.c_str();
  const auto bank = [&](Kernel kernel, int argument) {
    return std::vector<int32_t>{card_.BankOf(kernel, 0, argument)};
  };
  BATON_PLUGIN_TRY(card_.Allocate(what, card_.BanksOf(Kernel::kGemvBank, kGemvBankBank),
                                  program_.bank_bytes(), &weights_));
  const auto blocks_max =
      static_cast<uint64_t>((context_tokens_ + kBlockTokensMin - 1) / kBlockTokensMin);
  BATON_PLUGIN_TRY(card_.Allocate(what, card_.BanksOf(Kernel::kKvAttention, kKvAttentionBlocks),
                                  sizeof(uint32_t) * blocks_max, &tables_));
  BATON_PLUGIN_TRY(card_.Allocate(what, bank(Kernel::kVectorUnit, kVectorUnitVectors),
                                  sizeof(int32_t) * program_.vectors().size(), &vectors_));
  BATON_PLUGIN_TRY(card_.Allocate(what, bank(Kernel::kVectorUnit, kVectorUnitEmbeddings),
                                  sizeof(int32_t) * fixed_.size(), &embedding_));
  BATON_PLUGIN_TRY(card_.Allocate(what, bank(Kernel::kSequencer, kSequencerProgram),
                                  sizeof(DecodeCommand) * program_.command_count(), &commands_));
  BATON_PLUGIN_TRY(card_.Allocate(what, bank(Kernel::kSequencer, kSequencerSampling),
                                  sizeof(SamplerArgs), &sampling_));
  BATON_PLUGIN_TRY(card_.Allocate(what, bank(Kernel::kSequencer, kSequencerResult),
                                  sizeof(SamplerResult), &result_));
  BATON_PLUGIN_TRY(card_.Allocate(what, bank(Kernel::kSampler, kSamplerLogitsOut),
                                  sizeof(int32_t) * logits_fixed_.size(), &logits_));
  const uint64_t last = std::max({tables_.at + tables_.bytes, embedding_.at + embedding_.bytes,
                                  logits_.at + logits_.bytes}) /
                        sizeof(int32_t);
  if (last > std::numeric_limits<uint32_t>::max()) {
    return {BATON_RESOURCE_EXHAUSTED, Text(what, " would lie above 16 GiB of a bank")};
  }
  return {};
}

Fault Decoder::Upload() {
  BATON_PLUGIN_TRY(card_.Enter());
  const uint64_t generation = card_.generation();
  if (uploaded_ != generation) {
    block_tokens_ = 0;
    sent_blocks_.clear();
    const std::vector<int32_t> banks = card_.BanksOf(Kernel::kGemvBank, kGemvBankBank);
    std::vector<std::vector<uint8_t>> images(banks.size());
    for (size_t i = 0; i < program_.matrices().size(); ++i) {
      const TokenProgram::Placed& placed = program_.matrices()[i];
      int32_t shift = 0;
      BATON_PLUGIN_TRY(placed.matrix.Pack(host_, images, &shift));
      program_.SetWeightShift(i, shift);
      for (size_t bank = 0; bank < banks.size(); ++bank) {
        BATON_PLUGIN_TRY(card_.Write(banks[bank], weights_.at + 64 * placed.bank_beat,
                                     images[bank].data(), images[bank].size()));
      }
    }
    BATON_PLUGIN_TRY(card_.Write(vectors_.banks.front(), vectors_.at, program_.vectors().data(),
                                 sizeof(int32_t) * program_.vectors().size()));
    uploaded_ = generation;
  }
  return card_.StartDecoder();
}

Fault Decoder::UploadProgram(uint32_t block_tokens) {
  if (block_tokens_ == block_tokens) return {};
  std::vector<DecodeCommand> commands;
  BATON_PLUGIN_TRY(program_.CommandsFor({.bank_beat = weights_.at / 64,
                                         .vector_at = vectors_.at / sizeof(int32_t),
                                         .block_tokens = block_tokens},
                                        &commands));
  BATON_PLUGIN_TRY(card_.Write(commands_.banks.front(), commands_.at, commands.data(),
                               sizeof(DecodeCommand) * commands.size()));
  command_count_ = static_cast<uint32_t>(commands.size());
  block_tokens_ = block_tokens;
  return {};
}

Fault Decoder::CheckBatch(const baton_llm_batch& batch) const {
  const baton_kv_layout& layout = batch.layout;
  if (layout.type != BATON_KV_INT8) {
    return {BATON_UNIMPLEMENTED,
            "the FPGA keeps keys and values as int8: kv.fpga_type must be int8"};
  }
  if (layout.layers != layers_ || layout.kv_heads != kv_heads_ || layout.head_dim != head_dim_) {
    return {BATON_INVALID_ARGUMENT,
            Text("KV blocks of ", layout.layers, " layers, ", layout.kv_heads, " heads of ",
                 layout.head_dim, " for model ", name_, " of ", layers_, ", ", kv_heads_, " of ",
                 head_dim_)};
  }
  const int32_t tokens = layout.block_tokens;
  if (tokens < kBlockTokensMin || tokens > kKvBlockTokensMax || (tokens & (tokens - 1)) != 0) {
    return {BATON_INVALID_ARGUMENT,
            Text("KV blocks of ", tokens, " positions, the FPGA takes powers of two from ",
                 kBlockTokensMin, " to ", kKvBlockTokensMax)};
  }
  for (int64_t i = 0; i < batch.item_count; ++i) {
    BATON_PLUGIN_TRY(CheckItem(*baton_item_at(&batch, i), layout));
  }
  return {};
}

Fault Decoder::CheckItem(const baton_llm_item& item, const baton_kv_layout& layout) const {
  const int64_t end = int64_t{item.position} + item.token_count;
  if (item.position < 0 || item.token_count < 1 || end > context_tokens_) {
    return {BATON_INVALID_ARGUMENT, Text("positions ", item.position, " to ", end, " of model ",
                                         name_, ", the limit is ", context_tokens_)};
  }
  if (int64_t{item.block_count} * layout.block_tokens < end) {
    return {BATON_INVALID_ARGUMENT, Text(item.block_count, " KV blocks of ", layout.block_tokens,
                                         " for ", end, " positions")};
  }
  if (item.logits < 0 || item.logits > item.token_count) {
    return {BATON_INVALID_ARGUMENT,
            Text(item.logits, " rows of logits of ", item.token_count, " tokens")};
  }
  for (int32_t i = 0; i < item.token_count; ++i) {
    if (item.tokens[i] < 0 || item.tokens[i] >= vocabulary_) {
      return {BATON_INVALID_ARGUMENT,
              Text("token ", item.tokens[i], ", the vocabulary of ", name_, " has ", vocabulary_)};
    }
  }
  return {};
}

Fault Decoder::Run(const baton_llm_batch& batch) {
  BATON_PLUGIN_TRY(CheckBatch(batch));
  BATON_PLUGIN_TRY(Upload());
  BATON_PLUGIN_TRY(UploadProgram(static_cast<uint32_t>(batch.layout.block_tokens)));
  for (int64_t i = 0; i < batch.item_count; ++i) {
    const baton_llm_item& item = *baton_item_at(&batch, i);
    BATON_PLUGIN_TRY(SendTables(item, batch.layout));
    for (int32_t t = 0; t < item.token_count; ++t) {
      const bool wanted = t >= item.token_count - item.logits;
      BATON_PLUGIN_TRY(RunToken(item.tokens[t], item.position + t,
                                {.logits = wanted, .sampling = wanted ? item.sampling : nullptr},
                                batch, i));
    }
  }
  return {};
}

Fault Decoder::SendTables(const baton_llm_item& item, const baton_kv_layout& layout) {
  const auto block_bytes = KvBlockBytes(
      static_cast<uint64_t>(layers_), static_cast<uint64_t>(kv_heads_),
      KvAreaBytes(static_cast<uint64_t>(layout.block_tokens), static_cast<uint64_t>(head_dim_)));
  const int32_t end = item.position + item.token_count;
  const auto count = static_cast<size_t>((end + layout.block_tokens - 1) / layout.block_tokens);
  const auto written =
      static_cast<size_t>((item.position + layout.block_tokens - 1) / layout.block_tokens);
  const std::span<void* const> blocks(item.blocks, count);
  BATON_PLUGIN_TRY(pools_.Tables(blocks, written, block_bytes, block_tables_));
  if (std::equal(blocks.begin(), blocks.end(), sent_blocks_.begin(), sent_blocks_.end())) return {};
  sent_blocks_.clear();
  for (uint32_t unit = 0; unit < block_tables_.size(); ++unit) {
    BATON_PLUGIN_TRY(card_.Write(card_.BankOf(Kernel::kKvAttention, unit, kKvAttentionBlocks),
                                 tables_.at, block_tables_[unit].data(),
                                 sizeof(uint32_t) * block_tables_[unit].size()));
  }
  sent_blocks_.assign(blocks.begin(), blocks.end());
  return {};
}

Fault Decoder::SendEmbedding(int32_t token) {
  const auto* const rows = static_cast<const char*>(token_embedding_.data);
  host_.dequantise_row(token_embedding_.type, rows + token * token_embedding_.row_bytes, dim_,
                       row_.data());
  for (size_t i = 0; i < row_.size(); ++i) {
    fixed_[i] = FixedOf(double{row_[i]} * embedding_scale_);
  }
  return card_.Write(embedding_.banks.front(), embedding_.at, fixed_.data(),
                     sizeof(int32_t) * fixed_.size());
}

Fault Decoder::RunToken(int32_t token, int32_t position, const Wish& wish,
                        const baton_llm_batch& batch, int64_t item) {
  BATON_PLUGIN_TRY(SendEmbedding(token));
  uint64_t random_state = wish.sampling != nullptr ? wish.sampling->random_state : 0;
  SamplerArgs sampling =
      SamplerArgsFor(wish.sampling, static_cast<uint32_t>(vocabulary_), &random_state);
  // The sampler keeps some of the best; where more could be chosen, the host looks at all of them.
  const bool host_may_choose =
      sampling.sharpness != 0 && (sampling.top_k == 0 || sampling.top_k > uint32_t{kSamplerKept});
  sampling.logits_wanted = wish.logits && (wish.sampling == nullptr || host_may_choose) ? 1 : 0;
  sampling.logits_at = static_cast<uint32_t>(logits_.at / sizeof(int32_t));
  if (const char* const fault = FaultOf(sampling); fault != nullptr) {
    return {BATON_INVALID_ARGUMENT, fault};
  }
  const int32_t bank = commands_.banks.front();
  BATON_PLUGIN_TRY(card_.Write(sampling_.banks.front(), sampling_.at, &sampling, sizeof(sampling)));
  // An answer that does not come is none.
  SamplerResult result = {};
  BATON_PLUGIN_TRY(card_.Write(result_.banks.front(), result_.at, &result, sizeof(result)));
  const CardArgument arguments[] = {
      {kSequencerProgram, CardBuffer{bank, commands_.at, commands_.bytes}},
      {kSequencerSampling, CardBuffer{sampling_.banks.front(), sampling_.at, sampling_.bytes}},
      {kSequencerResult, CardBuffer{result_.banks.front(), result_.at, result_.bytes}},
      {kSequencerCommandCount, command_count_},
      {kSequencerPosition, static_cast<uint32_t>(position)},
      {kSequencerEmbeddingAt, static_cast<uint32_t>(embedding_.at / sizeof(int32_t))},
      {kSequencerTableAt, static_cast<uint32_t>(tables_.at / sizeof(uint32_t))},
      {kSequencerEnds, 0u}};
  BATON_PLUGIN_TRY(card_.Run(Kernel::kSequencer, 0, arguments));
  BATON_PLUGIN_TRY(card_.Read(result_.banks.front(), result_.at, &result, sizeof(result)));
  if ((result.outcome != kTokenChosen && result.outcome != kHostChooses) ||
      result.token >= static_cast<uint32_t>(vocabulary_)) {
    return {BATON_INTERNAL, Text("the FPGA's sampler answers outcome ", result.outcome, ", token ",
                                 result.token, " of a vocabulary of ", vocabulary_)};
  }
  return wish.logits ? Answer(wish, result, random_state, batch, item) : Fault();
}

Fault Decoder::Answer(const Wish& wish, const SamplerResult& result, uint64_t random_state,
                      const baton_llm_batch& batch, int64_t item) {
  if (wish.sampling != nullptr && result.outcome == kTokenChosen) {
    batch.on_token(batch.context, item, static_cast<int32_t>(result.token), random_state);
    return {};
  }
  BATON_PLUGIN_TRY(card_.Read(logits_.banks.front(), logits_.at, logits_fixed_.data(),
                              sizeof(int32_t) * logits_fixed_.size()));
  for (size_t i = 0; i < logits_fixed_.size(); ++i) {
    logits_float_[i] = static_cast<float>(std::ldexp(logits_fixed_[i], -kResidualFraction));
  }
  batch.on_logits(batch.context, item, logits_float_.data());
  return {};
}

}  // namespace baton::fpga
