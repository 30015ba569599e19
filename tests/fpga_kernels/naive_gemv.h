#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "fpga_kernels/gemv_args.h"

namespace baton::fpga {

// A matrix as integers, before it is cut into banks: what kernels are compared with knows no beat.
struct NaiveMatrix {
  int64_t rows = 0;
  int64_t blocks = 0;
  std::vector<int8_t> weights;   // [rows, blocks * 64]
  std::vector<uint16_t> scales;  // [rows, blocks]

  int64_t cols() const { return blocks * kGemvLanes; }
};

inline std::vector<int64_t> NaiveGemv(const NaiveMatrix& m, const std::vector<int16_t>& x) {
  std::vector<int64_t> sums(m.rows);
  for (int64_t row = 0; row < m.rows; ++row) {
    __int128 sum = 0;
    for (int64_t col = 0; col < m.cols(); ++col) {
      const uint16_t bits = m.scales[row * m.blocks + col / kGemvLanes];
      const __int128 scale = static_cast<__int128>(bits % 8192) << (bits / 8192);
      sum += scale * m.weights[row * m.cols() + col] * x[col];
    }
    sums[row] = static_cast<int64_t>(sum);
    if (sums[row] != sum) return {};  // 64 bits were to be enough
  }
  return sums;
}

// [bank][beat bytes], as gemv_args.h says.
inline std::vector<std::vector<uint8_t>> BankImages(const NaiveMatrix& m, int64_t banks) {
  std::vector<std::vector<uint8_t>> images(banks);
  for (int64_t bank = 0; bank < banks; ++bank) {
    int64_t in_tile = kGemvTileBlocks;
    size_t scales_at = 0;
    for (int64_t row = bank; row < m.rows; row += banks) {
      for (int64_t block = 0; block < m.blocks; ++block) {
        std::vector<uint8_t>& image = images[bank];
        if (in_tile == kGemvTileBlocks) {
          in_tile = 0;
          scales_at = image.size();
          image.resize(image.size() + 64);
        }
        const uint16_t scale = m.scales[row * m.blocks + block];
        image[scales_at + 2 * in_tile] = static_cast<uint8_t>(scale % 256);
        image[scales_at + 2 * in_tile + 1] = static_cast<uint8_t>(scale / 256);
        ++in_tile;
        for (int64_t i = 0; i < kGemvLanes; ++i) {
          image.push_back(
              static_cast<uint8_t>(m.weights[(row * m.blocks + block) * kGemvLanes + i]));
        }
      }
    }
  }
  return images;
}

struct NaiveMatrixShape {
  int64_t rows;
  int64_t blocks;
};
enum class Values { kRandom, kLowest, kHighest, kZero };

template <class Random>
NaiveMatrix MakeMatrix(NaiveMatrixShape shape, Values values, Random& random) {
  NaiveMatrix m;
  m.rows = shape.rows;
  m.blocks = shape.blocks;
  m.weights.resize(m.rows * m.cols());
  m.scales.resize(m.rows * m.blocks);
  for (int8_t& weight : m.weights) {
    weight = values == Values::kRandom    ? static_cast<int8_t>(random())
             : values == Values::kLowest  ? -128
             : values == Values::kHighest ? 127
                                          : 0;
  }
  for (uint16_t& scale : m.scales) {
    scale = values == Values::kRandom ? static_cast<uint16_t>(random())
            : values == Values::kZero ? 0
                                      : 65535;
  }
  return m;
}

template <class Random>
std::vector<int16_t> MakeX(int64_t count, Values values, Random& random) {
  std::vector<int16_t> x(count);
  for (int16_t& value : x) {
    value = values == Values::kRandom    ? static_cast<int16_t>(random())
            : values == Values::kLowest  ? INT16_MIN
            : values == Values::kHighest ? INT16_MAX
                                         : 0;
  }
  return x;
}

}  // namespace baton::fpga
