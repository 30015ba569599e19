#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "fpga_kernels/card_args.h"
#include "fpga_kernels/sampler_args.h"
#include "tests/fpga_emulation/xrt_card.h"
#include "tests/fpga_kernels/decoder_image.h"

namespace baton::fpga {

// A decoder on a card, as a host runs it: units started once, a run of the sequencer per token.
// Several sequences, each with its own blocks.
class XrtDecoder {
 public:
  struct Size {
    int banks = 24;
    int kv_units = 8;
    int sequences = 1;
    int positions = 0;  // of each
    int block_tokens = 8;
  };
  XrtDecoder(const XrtCard& card, const DecoderImage& image, const DecoderShape& shape,
             const Size& size)
      : shape_(shape), size_(size), sequencer_(card.Kernel("sequencer", 0)) {
    for (int i = 0; i < size.banks; ++i) {
      const xrt::kernel kernel = card.Kernel("gemv_bank", i);
      buffers_.push_back(card.Buffer(kernel, kGemvBankBank, image.banks[i]));
      xrt::run run(kernel);
      run.set_arg(kGemvBankBank, buffers_.back());
      run.set_arg(kGemvBankIndex, static_cast<uint32_t>(i));
      run.set_arg(kGemvBankUnits, static_cast<uint32_t>(size.banks));
      Start(std::move(run));
    }
    const uint64_t block_bytes =
        KvBlockBytes(shape.layers, shape.kv_heads, KvAreaBytes(size.block_tokens, shape.head_dim));
    const int blocks = (size.positions + size.block_tokens - 1) / size.block_tokens;
    table_entries_ = blocks;
    const int own = (blocks + size.kv_units - 1) / size.kv_units;
    for (int i = 0; i < size.kv_units; ++i) {
      const xrt::kernel kernel = card.Kernel("kv_attention", i);
      // Sequences' slots take turns, the last one first.
      std::vector<uint32_t> tables;
      const int slots = own * size.sequences;
      for (int sequence = 0; sequence < size.sequences; ++sequence) {
        for (int block = 0; block < blocks; ++block) {
          const int slot = slots - 1 - block / size.kv_units * size.sequences - sequence;
          tables.push_back(block % size.kv_units == i ? static_cast<uint32_t>(slot) : kKvElsewhere);
        }
      }
      buffers_.push_back(card.Buffer(kernel, kKvAttentionKv, slots * block_bytes));
      xrt::run run(kernel);
      run.set_arg(kKvAttentionKv, buffers_.back());
      buffers_.push_back(card.Buffer(kernel, kKvAttentionBlocks, tables));
      run.set_arg(kKvAttentionBlocks, buffers_.back());
      run.set_arg(kKvAttentionIndex, static_cast<uint32_t>(i));
      run.set_arg(kKvAttentionUnits, static_cast<uint32_t>(size.kv_units));
      Start(std::move(run));
    }
    const xrt::kernel vector_unit = card.Kernel("vector_unit", 0);
    buffers_.push_back(card.Buffer(vector_unit, kVectorUnitVectors, image.vectors));
    embeddings_ = card.Buffer(vector_unit, kVectorUnitEmbeddings,
                              std::vector<int32_t>(shape.dim * size.sequences));
    xrt::run vector_run(vector_unit);
    vector_run.set_arg(kVectorUnitVectors, buffers_.back());
    vector_run.set_arg(kVectorUnitEmbeddings, embeddings_);
    Start(std::move(vector_run));
    const xrt::kernel sampler = card.Kernel("sampler", 0);
    logits_ = card.Buffer(sampler, kSamplerLogitsOut,
                          sizeof(int32_t) * shape.vocabulary * size.sequences);
    xrt::run sampler_run(sampler);
    sampler_run.set_arg(kSamplerLogitsOut, logits_);
    Start(std::move(sampler_run));
    program_ = card.Buffer(sequencer_, kSequencerProgram, image.program);
    commands_ = static_cast<uint32_t>(image.program.size());
    sampling_ = card.Buffer(sequencer_, kSequencerSampling, 4096);
    results_ = card.Buffer(sequencer_, kSequencerResult, 4096);
  }
  // Ends the units' runs, in order.
  ~XrtDecoder() {
    if (ended_) return;
    Run(0, 0, 0, true);
    for (xrt::run& run : runs_) run.wait(std::chrono::seconds(20));
  }

  struct Token {
    ert_cmd_state state = ERT_CMD_STATE_NEW;
    SamplerResult result = {};
    std::vector<int32_t> logits;
  };
  Token Step(int sequence, const std::vector<int32_t>& embedding, uint32_t position,
             std::chrono::milliseconds timeout = std::chrono::seconds(60)) {
    std::memcpy(embeddings_.map<int32_t*>() + sequence * shape_.dim, embedding.data(),
                embedding.size() * 4);
    embeddings_.sync(XCL_BO_SYNC_BO_TO_DEVICE);
    const SamplerArgs args = {.vocabulary = static_cast<uint32_t>(shape_.vocabulary),
                              .logits_wanted = 1,
                              .logits_at = static_cast<uint32_t>(sequence * shape_.vocabulary)};
    std::memcpy(sampling_.map<char*>(), &args, sizeof(args));
    sampling_.sync(XCL_BO_SYNC_BO_TO_DEVICE);
    Token token;
    token.state = Run(commands_, sequence, position, false, timeout);
    if (token.state != ERT_CMD_STATE_COMPLETED) return token;
    token.result = ReadBuffer<SamplerResult>(results_, 1)[0];
    const auto all = ReadBuffer<int32_t>(logits_, shape_.vocabulary * size_.sequences);
    token.logits.assign(all.begin() + sequence * shape_.vocabulary,
                        all.begin() + (sequence + 1) * shape_.vocabulary);
    return token;
  }
  // Leaves the units running, as a host does that gives a hung card up.
  void Abandon() { ended_ = true; }
  std::vector<xrt::run>& unit_runs() { return runs_; }

 private:
  void Start(xrt::run run) {
    run.start();
    runs_.push_back(std::move(run));
  }
  ert_cmd_state Run(uint32_t commands, int sequence, uint32_t position, bool ends,
                    std::chrono::milliseconds timeout = std::chrono::seconds(60)) {
    xrt::run run(sequencer_);
    run.set_arg(kSequencerProgram, program_);
    run.set_arg(kSequencerSampling, sampling_);
    run.set_arg(kSequencerResult, results_);
    run.set_arg(kSequencerCommandCount, commands);
    run.set_arg(kSequencerPosition, position);
    run.set_arg(kSequencerEmbeddingAt, static_cast<uint32_t>(sequence * shape_.dim));
    run.set_arg(kSequencerTableAt, static_cast<uint32_t>(sequence * table_entries_));
    run.set_arg(kSequencerEnds, static_cast<uint32_t>(ends ? 1 : 0));
    run.start();
    return run.wait(timeout);
  }

  const DecoderShape shape_;
  const Size size_;
  xrt::kernel sequencer_;
  std::vector<xrt::bo> buffers_;
  std::vector<xrt::run> runs_;
  xrt::bo embeddings_;
  xrt::bo logits_;
  xrt::bo program_;
  xrt::bo sampling_;
  xrt::bo results_;
  uint32_t commands_ = 0;
  int table_entries_ = 0;
  bool ended_ = false;
};

}  // namespace baton::fpga
