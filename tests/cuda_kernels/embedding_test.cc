#include "cuda_kernels/embedding.h"

#include <catch2/catch.hpp>

#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

template <typename T>
std::string RunEmbedding(int64_t rows, int64_t dim, size_t skew, bool offsets = false) {
  constexpr int64_t kVocabulary = 11;
  const std::vector<T> table = RandomElements<T>(static_cast<size_t>(kVocabulary * dim), 1);
  std::vector<int32_t> tokens(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row) {
    tokens[row] = static_cast<int32_t>((row * 7 + 10) % (kVocabulary + 2)) - 1;
  }
  constexpr int64_t kOffsets = 5;
  const std::vector<float> added = RandomFloats(static_cast<size_t>(kOffsets * dim), 2);
  std::vector<int32_t> offset;
  for (int64_t row = 0; row < rows; ++row) offset.push_back(static_cast<int32_t>(row % kOffsets));
  std::vector<float> want(static_cast<size_t>(rows * dim));
  for (int64_t row = 0; row < rows; ++row) {
    if (tokens[row] < 0 || tokens[row] >= kVocabulary) continue;
    for (int64_t i = 0; i < dim; ++i) {
      want[row * dim + i] = ToFloat(table[tokens[row] * dim + i]) * 1.5f;
      if (offsets) want[row * dim + i] += added[offset[row] * dim + i];
    }
  }
  const DeviceArray<T> device_table(table, skew);
  const DeviceArray<int32_t> device_tokens(tokens);
  const DeviceArray<float> device_added(added, skew);
  const DeviceArray<int32_t> device_offset(offset);
  const DeviceArray<float> y(want.size(), skew);
  const std::string failure =
      Failure(Embedding<T>({.tokens = device_tokens.data(),
                            .table = device_table.data(),
                            .offsets = offsets ? device_added.data() : nullptr,
                            .offset = device_offset.data(),
                            .y = y.data(),
                            .rows = rows,
                            .dim = dim,
                            .vocabulary = kVocabulary,
                            .scale = 1.5f},
                           nullptr));
  return failure.empty() ? Difference("y", y.Read(), want, {1e-6, 1e-6}) : failure;
}

template <typename T>
void AddCases(const std::string& type, std::vector<KernelCase>& cases) {
  for (const int64_t rows : {0, 1, 5, 26}) {
    for (const int64_t dim : {0, 1, 8, 31, 288, 1056}) {
      for (const size_t skew : {0, 1}) {
        const std::string name = type + " rows " + std::to_string(rows) + " dim " +
                                 std::to_string(dim) + " skew " + std::to_string(skew);
        cases.push_back({name, [=] { return RunEmbedding<T>(rows, dim, skew); }});
        cases.push_back({name + " and offsets",
                         [=] { return RunEmbedding<T>(rows, dim, skew, /*offsets=*/true); }});
      }
    }
  }
}

TEST_CASE("rows of the embedding come as f32") {
  std::vector<KernelCase> cases;
  AddCases<float>("f32", cases);
  AddCases<__half>("f16", cases);
  AddCases<__nv_bfloat16>("bf16", cases);
  CheckKernel(cases, Barriers::kNone);
}

}  // namespace
}  // namespace baton::cuda
