#include "cuda_kernels/repack_weights.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/cuda_kernels/quant_fixture.h"

namespace baton::cuda {
namespace {

float HalfAt(const uint8_t* bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, sizeof(half));
  return F16ToF32(half);
}

// A weight as the comment of quant_planes.h says it.
float WeightOf(const QuantPlanes& planes, QuantFormat format, int64_t unit, int i) {
  const uint8_t* const scales = planes.scales + unit * 2;
  if (format == QuantFormat::kQ8_0) {
    return HalfAt(scales) * static_cast<float>(static_cast<int8_t>(planes.quants[unit * 32 + i]));
  }
  const int nibble = planes.quants[unit * 16 + i % 16] >> (i / 16 * 4) & 15;
  if (format == QuantFormat::kQ4_0) return HalfAt(scales) * static_cast<float>(nibble - 8);
  const int64_t super = unit / kSuperUnits;
  if (format == QuantFormat::kQ4K) {
    return HalfAt(planes.supers + super * 4) * scales[0] * static_cast<float>(nibble) -
           HalfAt(planes.supers + super * 4 + 2) * scales[1];
  }
  const int high = planes.high[unit * 8 + i / 16 * 4 + i % 4] >> (i % 16 / 4 * 2) & 3;
  return HalfAt(planes.supers + super * 2) * static_cast<int8_t>(scales[i / 16]) *
         static_cast<float>((nibble | high << 4) - 32);
}

std::string RunRepack(const QuantShape& shape, size_t skew) {
  const QuantMatrix matrix(shape, 14);
  const DeviceArray<uint8_t> blocks(matrix.Bytes(), skew);
  const DeviceArray<uint8_t> memory(static_cast<size_t>(LayOut(shape).bytes));
  const std::string failure = Failure(RepackWeights(
      {.blocks = blocks.data(), .planes = PlanesOf(shape, memory.data()), .shape = shape},
      nullptr));
  if (!failure.empty()) return failure;
  std::vector<uint8_t> bytes = memory.Read();
  const QuantPlanes planes = PlanesOf(shape, bytes.data());
  std::vector<float> got(matrix.weights.size());
  for (size_t i = 0; i < got.size(); ++i) {
    got[i] = WeightOf(planes, shape.format, static_cast<int64_t>(i) / kUnitWeights,
                      static_cast<int>(i % kUnitWeights));
  }
  return Difference("weights", got, matrix.weights, {1e-6, 1e-6});
}

TEST_CASE("blocks of quantised weights become planes") {
  std::vector<KernelCase> cases;
  for (const QuantFormat format : kQuantFormats) {
    const int64_t columns = QuantColumns(format);
    for (const int64_t rows : {0, 1, 5}) {
      for (const int64_t cols : {columns, 3 * columns}) {
        for (const size_t skew : {0, 1}) {
          cases.push_back({"format " + std::to_string(static_cast<int>(format)) + " rows " +
                               std::to_string(rows) + " cols " + std::to_string(cols),
                           [=] {
                             return RunRepack({format, rows, cols}, skew);
                           }});
        }
      }
    }
  }
  CheckKernel(cases, Barriers::kNone);
}

TEST_CASE("planes are hardly larger than the blocks and a ragged row is refused") {
  const auto bytes = [](QuantFormat format) { return LayOut({format, 64, 4096}).bytes; };
  CHECK(bytes(QuantFormat::kQ8_0) == 64 * 4096 / 32 * 34);
  CHECK(bytes(QuantFormat::kQ4_0) == 64 * 4096 / 32 * 18);
  CHECK(bytes(QuantFormat::kQ4K) == 64 * 4096 / 256 * 148);
  CHECK(bytes(QuantFormat::kQ6K) == 64 * 4096 / 256 * 210);
  CHECK(RepackWeights({.shape = {QuantFormat::kQ4K, 1, 128}}, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
