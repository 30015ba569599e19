#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "fpga_kernels/decode_args.h"
#include "tests/fpga_kernels/naive_decoder.h"
#include "tests/fpga_kernels/naive_gemv.h"

namespace baton::fpga {

// A decoder as it lies on a card: banks of weights, the vector memory and the program.
struct DecoderImage {
  std::vector<std::vector<uint8_t>> banks;
  std::vector<int32_t> vectors;
  std::vector<DecodeCommand> program;
};

// int8 blocks of the matrix, each as precise as its largest weight allows; weights stand for
// scale * q * 2^-shift.
inline NaiveMatrix QuantiseMatrix(const std::vector<float>& weights, int64_t cols, int* shift) {
  NaiveMatrix m;
  m.rows = static_cast<int64_t>(weights.size()) / cols;
  m.blocks = (cols + kGemvLanes - 1) / kGemvLanes;
  m.weights.resize(m.rows * m.cols());
  m.scales.resize(m.rows * m.blocks);
  float largest = 0;
  for (const float weight : weights) largest = std::max(largest, std::abs(weight));
  // The largest scale is below 8192 * 2^7.
  *shift = largest == 0 ? 0 : 19 - std::ilogb(largest / 127);
  for (int64_t row = 0; row < m.rows; ++row) {
    for (int64_t block = 0; block < m.blocks; ++block) {
      const int64_t begin = block * kGemvLanes;
      const int64_t end = std::min(cols, begin + kGemvLanes);
      float block_largest = 0;
      for (int64_t col = begin; col < end; ++col) {
        block_largest = std::max(block_largest, std::abs(weights[row * cols + col]));
      }
      const double wanted = std::ldexp(block_largest / 127, *shift);
      int exponent = 0;
      while (std::ldexp(wanted, -exponent) > 8191) ++exponent;
      const auto mantissa = static_cast<int64_t>(std::ceil(std::ldexp(wanted, -exponent)));
      m.scales[row * m.blocks + block] =
          static_cast<uint16_t>(std::min<int64_t>(mantissa, 8191) + exponent * 8192);
      const double scale = std::ldexp(std::ldexp(mantissa, exponent), -*shift);
      for (int64_t col = begin; col < end && scale > 0; ++col) {
        m.weights[row * m.cols() + col] = static_cast<int8_t>(
            std::clamp<int64_t>(std::lround(weights[row * cols + col] / scale), -127, 127));
      }
    }
  }
  return m;
}

class DecoderImageWriter {
 public:
  DecoderImageWriter(const NaiveDecoder& decoder, int64_t banks, int positions, int block_tokens)
      : block_tokens_(block_tokens) {
    const DecoderShape& s = decoder.s;
    image_.banks.resize(banks);
    DecodeCommand embed = {};
    embed.op = kOpEmbed;
    embed.rows = static_cast<uint32_t>(s.dim);
    image_.program.push_back(embed);
    const uint32_t turns = Add({}, 0);
    for (int position = 0; position < positions; ++position) {
      for (int i = 0; i < s.head_dim / 2; ++i) {
        const double angle = position * NaiveDecoder::Frequency(i, s.head_dim);
        Add({static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))},
            kRopeFraction);
      }
    }
    for (int layer = 0; layer < s.layers; ++layer) {
      const NaiveDecoder::Layer& from = decoder.layers[layer];
      Norm(from.attention_norm);
      Gemv(from.qkv, s.dim, kToScratch,
           s.biases ? Add(from.qkv_bias, kResidualFraction) : kNoVector);
      Attend(s, static_cast<uint32_t>(layer), turns);
      Gemv(from.output, int64_t{s.heads} * s.head_dim, kToResidual, kNoVector);
      Norm(from.ffn_norm);
      Gemv(from.gate_up, s.dim, kToScratch, kNoVector);
      DecodeCommand gate = {};
      gate.op = kOpGate;
      gate.rows = static_cast<uint32_t>(s.ffn_dim);
      image_.program.push_back(gate);
      Gemv(from.down, s.ffn_dim, kToResidual, kNoVector);
    }
    Norm(decoder.output_norm);
    Gemv(decoder.logits, s.dim, kToLogits, kNoVector);
  }
  const DecoderImage& image() const { return image_; }

 private:
  uint32_t Add(const std::vector<float>& values, int fraction) {
    const auto at = static_cast<uint32_t>(image_.vectors.size());
    for (const float value : values) {
      image_.vectors.push_back(
          static_cast<int32_t>(std::lround(std::ldexp(double{value}, fraction))));
    }
    return at;
  }
  void Norm(const std::vector<float>& weights) {
    DecodeCommand command = {};
    command.op = kOpNorm;
    command.rows = static_cast<uint32_t>(weights.size());
    command.vector_at = Add(weights, kNormWeightFraction);
    command.norm_epsilon =
        static_cast<uint32_t>(std::lround(std::ldexp(NaiveDecoder::kEpsilon, 32)));
    image_.program.push_back(command);
  }
  void Gemv(const std::vector<float>& weights, int64_t cols, GemvDestination destination,
            uint32_t bias_at) {
    DecodeCommand command = {};
    command.op = kOpGemv;
    command.destination = destination;
    const NaiveMatrix matrix = QuantiseMatrix(weights, cols, &command.weight_shift);
    command.rows = static_cast<uint32_t>(matrix.rows);
    command.cols = static_cast<uint32_t>(cols);
    command.bias_at = bias_at;
    size_t at = 0;
    for (const auto& bank : image_.banks) at = std::max(at, bank.size());
    command.bank_beat = at / 64;
    const auto images = BankImages(matrix, static_cast<int64_t>(image_.banks.size()));
    for (size_t i = 0; i < images.size(); ++i) {
      image_.banks[i].resize(at);
      image_.banks[i].insert(image_.banks[i].end(), images[i].begin(), images[i].end());
    }
    image_.program.push_back(command);
  }
  void Attend(const DecoderShape& s, uint32_t layer, uint32_t turns) {
    DecodeCommand command = {};
    command.op = kOpAttend;
    command.vector_at = turns;
    command.heads = static_cast<uint32_t>(s.heads);
    command.kv_heads = static_cast<uint32_t>(s.kv_heads);
    command.head_dim = static_cast<uint32_t>(s.head_dim);
    command.rope_dims = static_cast<uint32_t>(s.head_dim);
    command.rope_halves = s.rope_halves ? 1 : 0;
    command.layer = layer;
    command.layers = static_cast<uint32_t>(s.layers);
    command.block_tokens = static_cast<uint32_t>(block_tokens_);
    const double factor = std::log2(std::exp(1.0)) / std::sqrt(s.head_dim);
    command.score_shift = 30 - std::ilogb(factor);
    command.score_mantissa = static_cast<uint32_t>(std::ldexp(factor, command.score_shift));
    image_.program.push_back(command);
  }

  const int block_tokens_;
  DecoderImage image_;
};

}  // namespace baton::fpga
