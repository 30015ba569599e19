#include "engine/exec/fpga/plugin/bank_matrix.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <thread>

#include "fpga_kernels/gemv_args.h"

namespace baton::fpga {
namespace {

constexpr int kCodeMax = 127;
constexpr int64_t kMantissaMax = (1 << kGemvScaleMantissaBits) - 1;
constexpr int kExponentMax = 16 - kGemvScaleMantissaBits == 3 ? 7 : 0;
static_assert(kExponentMax == 7, "a scale is 13 bits of mantissa and 3 of exponent");
constexpr size_t kBeat = 64;

// The largest shift with which the scale of a block whose largest weight is `largest` still fits.
int ShiftFor(float largest) {
  if (largest == 0) return 0;
  const double scale = double{largest} / kCodeMax;
  int shift = kGemvScaleMantissaBits + kExponentMax - 1 - std::ilogb(scale);
  if (std::ldexp(scale, shift - kExponentMax) > static_cast<double>(kMantissaMax)) --shift;
  return shift;
}

// The least scale that is at least `wanted`, so that no weight is cut.
uint16_t ScaleOf(double wanted) {
  int exponent = 0;
  while (exponent < kExponentMax &&
         std::ldexp(wanted, -exponent) > static_cast<double>(kMantissaMax)) {
    ++exponent;
  }
  const auto mantissa = static_cast<int64_t>(std::ceil(std::ldexp(wanted, -exponent)));
  return static_cast<uint16_t>(std::min(mantissa, kMantissaMax) | exponent
                                                                      << kGemvScaleMantissaBits);
}

// One block: its codes, and its scale.
uint16_t PackBlock(const float* weights, int64_t count, int shift, uint8_t* codes) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(weights[i]));
  const uint16_t bits = ScaleOf(std::ldexp(double{largest} / kCodeMax, shift));
  const int64_t scale = static_cast<int64_t>(bits & kMantissaMax)
                        << (bits >> kGemvScaleMantissaBits);
  if (scale == 0) return 0;
  const double inverse = std::ldexp(1.0 / static_cast<double>(scale), shift);
  for (int64_t i = 0; i < count; ++i) {
    const auto code = std::clamp<int64_t>(std::lround(weights[i] * inverse), -kCodeMax, kCodeMax);
    codes[i] = static_cast<uint8_t>(static_cast<int8_t>(code));
  }
  return bits;
}

// work(i) for each i below `count`, on a few threads.
void ForEach(uint32_t count, const std::function<void(uint32_t)>& work) {
  std::atomic<uint32_t> next{0};
  const auto run = [&] {
    for (uint32_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::thread> threads;
  const uint32_t helpers = std::min(count, std::max(1u, std::thread::hardware_concurrency()));
  for (uint32_t i = 1; i < helpers; ++i) threads.emplace_back(run);
  run();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

Fault BankMatrix::Make(const char* name, std::span<const baton_matrix> parts, BankMatrix* matrix) {
  matrix->name_ = name;
  matrix->parts_.assign(parts.begin(), parts.end());
  matrix->rows_ = 0;
  matrix->cols_ = parts.empty() ? 0 : parts.front().cols;
  for (const baton_matrix& part : parts) {
    if (part.rows <= 0 || part.cols <= 0 || part.cols != matrix->cols_) {
      return {BATON_INVALID_ARGUMENT,
              Text("the weights of ", name, " are [", part.rows, ", ", part.cols,
                   "]; they need rows, and ", matrix->cols_, " columns each")};
    }
    matrix->rows_ += part.rows;
  }
  if (matrix->rows_ == 0 || matrix->rows_ > std::numeric_limits<int32_t>::max()) {
    return {BATON_INVALID_ARGUMENT, Text("the weights of ", name, " have ", matrix->rows_,
                                         " rows, the limit is 1 to 2147483647")};
  }
  return {};
}

uint64_t BankMatrix::BankBeats(uint32_t index, uint32_t banks) const {
  const auto blocks = static_cast<uint64_t>((cols_ + kGemvLanes - 1) / kGemvLanes);
  return GemvBankBeats(GemvBankRows(static_cast<uint32_t>(rows_), index, banks), blocks);
}

void BankMatrix::ReadRow(const baton_host& host, int64_t row, float* values) const {
  size_t part = 0;
  while (row >= parts_[part].rows) row -= parts_[part++].rows;
  const baton_matrix& of = parts_[part];
  host.dequantise_row(of.type, static_cast<const char*>(of.data) + row * of.row_bytes, of.cols,
                      values);
}

Fault BankMatrix::Pack(const baton_host& host, std::span<std::vector<uint8_t>> images,
                       int32_t* weight_shift) const {
  const auto banks = static_cast<uint32_t>(images.size());
  std::vector<float> largest_of(banks);
  std::atomic<int64_t> not_finite{-1};
  ForEach(banks, [&](uint32_t bank) {
    std::vector<float> row(static_cast<size_t>(cols_));
    float largest = 0;
    for (int64_t r = bank; r < rows_; r += banks) {
      ReadRow(host, r, row.data());
      for (const float weight : row) {
        if (!std::isfinite(weight)) not_finite = r;
        largest = std::max(largest, std::abs(weight));
      }
    }
    largest_of[bank] = largest;
  });
  if (not_finite >= 0) {
    return {BATON_INVALID_ARGUMENT,
            Text("row ", not_finite, " of the weights of ", name_, " is not finite")};
  }
  const int shift = ShiftFor(*std::max_element(largest_of.begin(), largest_of.end()));
  *weight_shift = shift;

  ForEach(banks, [&](uint32_t bank) {
    std::vector<uint8_t>& image = images[bank];
    image.assign(static_cast<size_t>(BankBeats(bank, banks)) * kBeat, 0);
    std::vector<float> row(static_cast<size_t>(cols_));
    size_t beat = 0;  // of the tile's scales
    int in_tile = 0;
    for (int64_t r = bank; r < rows_; r += banks) {
      ReadRow(host, r, row.data());
      for (int64_t col = 0; col < cols_; col += kGemvLanes) {
        uint8_t* const scales = image.data() + beat * kBeat;
        const uint16_t scale =
            PackBlock(row.data() + col, std::min<int64_t>(kGemvLanes, cols_ - col), shift,
                      scales + kBeat * static_cast<size_t>(1 + in_tile));
        scales[2 * in_tile] = static_cast<uint8_t>(scale);
        scales[2 * in_tile + 1] = static_cast<uint8_t>(scale >> 8);
        if (++in_tile < kGemvTileBlocks) continue;
        in_tile = 0;
        beat += 1 + kGemvTileBlocks;
      }
    }
  });
  return {};
}

}  // namespace baton::fpga
