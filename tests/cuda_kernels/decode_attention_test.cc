#include "cuda_kernels/decode_attention.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/cuda_kernels/naive_attention.h"
#include "tests/cuda_kernels/paged_fixture.h"

namespace baton::cuda {
namespace {

struct Shape {
  KvType type = KvType::kF32;
  int32_t heads = 4;
  int32_t kv_heads = 2;
  int32_t head_dim = 64;
  int32_t splits = 1;
  int32_t window = 0;
  float score_cap = 0;
  std::vector<int32_t> lengths = {1, 37, 0, 150};
  int32_t variant = -1;  // of kDecodeVariants; -1: what the launcher takes
};
constexpr int32_t kLayer = 1;

template <typename T>
std::string RunDecodeAttention(const Shape& s) {
  const auto sequences = static_cast<int64_t>(s.lengths.size());
  const int64_t q_stride = int64_t{s.heads} * s.head_dim + 16;
  const int64_t positions_max = 150;
  PagedFixture fixture({.layers = 2,
                        .kv_heads = s.kv_heads,
                        .head_dim = s.head_dim,
                        .block_tokens = 16,
                        .type = s.type},
                       sequences, positions_max);
  fixture.StoreRandom(s.lengths, kLayer, /*seed=*/100);
  const std::vector<T> q = RandomElements<T>(static_cast<size_t>(sequences * q_stride), 13);
  const float scale = 3 / std::sqrt(static_cast<float>(s.head_dim));
  std::vector<float> want;
  for (int64_t sequence = 0; sequence < sequences; ++sequence) {
    for (int32_t head = 0; head < s.heads; ++head) {
      std::vector<float> query(static_cast<size_t>(s.head_dim));
      for (int32_t d = 0; d < s.head_dim; ++d) {
        query[d] = ToFloat(q[sequence * q_stride + head * s.head_dim + d]);
      }
      const std::vector<float> out =
          NaiveAttention(fixture, query,
                         {.sequence = sequence,
                          .kv_head = head / (s.heads / s.kv_heads),
                          .layer = kLayer,
                          .begin = s.window > 0 ? std::max(0, s.lengths[sequence] - s.window) : 0,
                          .end = s.lengths[sequence],
                          .scale = scale,
                          .score_cap = s.score_cap});
      want.insert(want.end(), out.begin(), out.end());
    }
  }
  const DeviceArray<T> device_q(q);
  const DeviceArray<T> out(want.size());
  const DeviceArray<int32_t> lengths(s.lengths);
  const DeviceArray<uint8_t> pool(fixture.pool());
  const DeviceArray<int32_t> table(fixture.table());
  const int64_t workspace_bytes = DecodeAttentionWorkspaceBytes(
      {.sequences = sequences, .heads = s.heads, .head_dim = s.head_dim, .splits = s.splits});
  const DeviceArray<float> workspace(static_cast<size_t>(workspace_bytes) / sizeof(float));
  const DecodeAttentionArgs args = {
      .q = device_q.data(),
      .out = out.data(),
      .element = sizeof(T) == 4 ? ActivationElement::kF32 : ActivationElement::kBF16,
      .lengths = lengths.data(),
      .kv = fixture.Device(pool.data(), table.data(), kLayer),
      .workspace = workspace.data(),
      .sequences = sequences,
      .q_stride = q_stride,
      .heads = s.heads,
      .splits = s.splits,
      .window = s.window,
      .scale = scale,
      .score_cap = s.score_cap};
  const std::string failure =
      Failure(s.variant < 0 ? DecodeAttention(args, nullptr)
                            : DecodeAttentionVariant(args, s.variant, nullptr));
  return failure.empty() ? Difference("out", Floats(out.Read()), want, {2e-5, kRounding<T>})
                         : failure;
}

TEST_CASE("one query of each sequence attends to its keys") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({"f32 " + name, [=] { return RunDecodeAttention<float>(shape); }});
    cases.push_back({"bf16 " + name, [=] { return RunDecodeAttention<__nv_bfloat16>(shape); }});
  };
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8}) {
    const std::string name = std::to_string(static_cast<int>(type));
    with("grouped " + name, {.type = type});
    with("split " + name, {.type = type, .head_dim = 128, .splits = 3});
    with("tiny " + name, {.type = type, .heads = 3, .kv_heads = 3, .head_dim = 8});
    with("ragged " + name, {.type = type, .heads = 6, .head_dim = 72, .splits = 2, .window = 40});
  }
  with("eight to a group", {.heads = 16, .lengths = {70, 3}});
  with("eleven to a group", {.heads = 11, .kv_heads = 1, .splits = 2, .lengths = {70}});
  with("head_dim 256", {.head_dim = 256, .splits = 4, .lengths = {130}});
  with("capped scores in a window", {.splits = 2, .window = 9, .score_cap = 2});
  with("no sequences", {.lengths = {}});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("other tiles attend to the same keys") {
  std::vector<KernelCase> cases;
  for (int32_t variant = 0; variant < std::ssize(kDecodeVariants); ++variant) {
    const auto with = [&](const std::string& name, Shape shape) {
      shape.type = KvType::kBF16;
      shape.variant = variant;
      cases.push_back({std::string(kDecodeVariants[variant]) + " " + name,
                       [=] { return RunDecodeAttention<__nv_bfloat16>(shape); }});
    };
    with("split", {.head_dim = 128, .splits = 3});
    with("ragged", {.heads = 6, .head_dim = 72, .window = 40});
  }
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("attention is split by the shape of the batch") {
  const auto splits = [](int64_t sequences, int64_t positions) {
    return DecodeAttentionSplits({.sequences = sequences,
                                  .kv_heads = 8,
                                  .positions_max = positions,
                                  .multiprocessors = 132});
  };
  CHECK(splits(0, 100) == 1);
  CHECK(splits(1, 0) == 1);
  CHECK(splits(1, 512) == 4);
  CHECK(splits(1, 1 << 20) == 33);
  CHECK(splits(64, 4096) == 1);
  CHECK(splits(8, 1 << 20) == 5);
}

TEST_CASE("what attention cannot run is refused") {
  alignas(16) unsigned char pool[16];
  DecodeAttentionArgs args = {};
  args.kv = {.pool = pool, .block_bytes = 1024, .kv_heads = 2, .head_dim = 64, .block_tokens = 8};
  args.heads = 4;
  args.splits = 1;
  args.q_stride = 256;
  args.sequences = 1;
  CHECK(CanRun(args));
  const auto refused = [](DecodeAttentionArgs with, auto change) {
    change(with);
    return DecodeAttention(with, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refused(args, [](auto& a) { a.kv.head_dim = 60; }));
  CHECK(refused(args, [](auto& a) { a.kv.head_dim = 264; }));
  CHECK(refused(args, [](auto& a) { a.heads = 5; }));
  CHECK(refused(args, [](auto& a) { a.splits = 0; }));
  CHECK(refused(args, [](auto& a) { a.splits = kDecodeSplitsMax + 1; }));
  CHECK(refused(args, [](auto& a) { a.q_stride = 257; }));
  CHECK(refused(args, [](auto& a) { a.kv.pool += 8; }));
}

}  // namespace
}  // namespace baton::cuda
