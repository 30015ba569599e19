#include "cuda_kernels/place_qkv.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/cuda_kernels/paged_fixture.h"

namespace baton::cuda {
namespace {

struct Shape {
  KvType type = KvType::kF32;
  int32_t heads = 4;
  int32_t kv_heads = 2;
  int32_t head_dim = 64;
  int32_t rope_dims = 64;
  RopeKind rope = RopeKind::kHalves;
  bool bias = false;
  bool norms = false;
  int64_t rows = 5;
  size_t skew = 0;
};
constexpr int64_t kPositions = 19;
constexpr int32_t kLayer = 1;
constexpr float kEpsilon = 1e-5f;

std::vector<float> NaiveHead(const Shape& s, std::vector<float> x, const float* bias,
                             const float* norm, const std::vector<float>& cos_sin,
                             int32_t position) {
  double squares = 0;
  for (int32_t d = 0; d < s.head_dim; ++d) {
    if (bias != nullptr) x[d] += bias[d];
    squares += double{x[d]} * x[d];
  }
  for (int32_t d = 0; d < s.head_dim && norm != nullptr; ++d) {
    x[d] = static_cast<float>(x[d] / std::sqrt(squares / s.head_dim + kEpsilon) * norm[d]);
  }
  const int32_t pairs = s.rope_dims / 2;
  for (int32_t i = 0; i < pairs && position >= 0; ++i) {
    const int32_t a = s.rope == RopeKind::kAdjacent ? 2 * i : i;
    const int32_t b = s.rope == RopeKind::kAdjacent ? 2 * i + 1 : i + pairs;
    const float cos = cos_sin[2 * (position * pairs + i)];
    const float sin = cos_sin[2 * (position * pairs + i) + 1];
    const float turned = x[a] * cos - x[b] * sin;
    x[b] = x[a] * sin + x[b] * cos;
    x[a] = turned;
  }
  return x;
}

template <typename T>
std::string RunPlaceQkv(const Shape& s) {
  constexpr int64_t kSequences = 3;
  const int32_t all_heads = s.heads + 2 * s.kv_heads;
  const int64_t stride = int64_t{all_heads} * s.head_dim;
  const std::vector<T> qkv = RandomElements<T>(static_cast<size_t>(s.rows * stride), 8);
  const std::vector<float> bias = RandomFloats(static_cast<size_t>(stride), 9);
  const std::vector<float> query_norm = RandomFloats(static_cast<size_t>(s.head_dim), 10);
  const std::vector<float> key_norm = RandomFloats(static_cast<size_t>(s.head_dim), 11);
  std::vector<float> cos_sin;
  std::vector<float2> rotations;
  for (int64_t position = 0; position < kPositions; ++position) {
    for (int32_t i = 0; i < s.rope_dims / 2; ++i) {
      const double angle = static_cast<double>(position) * std::pow(100.0, -2.0 * i / s.rope_dims);
      rotations.push_back(
          {static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))});
      cos_sin.push_back(rotations.back().x);
      cos_sin.push_back(rotations.back().y);
    }
  }
  std::vector<int32_t> positions;
  std::vector<int32_t> sequences;
  for (int64_t row = 0; row < s.rows; ++row) {
    positions.push_back(row == 3 ? -1 : static_cast<int32_t>((row * 5 + 7) % kPositions));
    sequences.push_back(static_cast<int32_t>(row % kSequences));
  }
  const PagedFixture fixture({.layers = 2,
                              .kv_heads = s.kv_heads,
                              .head_dim = s.head_dim,
                              .block_tokens = 8,
                              .type = s.type},
                             kSequences, kPositions);
  const DeviceArray<T> device_qkv(qkv, s.skew);
  const DeviceArray<float> device_bias(bias, s.skew);
  const DeviceArray<float> device_query_norm(query_norm, s.skew);
  const DeviceArray<float> device_key_norm(key_norm, s.skew);
  const DeviceArray<float2> device_rotations(rotations);
  const DeviceArray<int32_t> device_positions(positions);
  const DeviceArray<int32_t> device_sequences(sequences);
  const DeviceArray<uint8_t> pool(fixture.pool());
  const DeviceArray<int32_t> table(fixture.table());
  const int64_t q_stride = int64_t{s.heads} * s.head_dim;
  const std::vector<T> q_before = RandomElements<T>(static_cast<size_t>(s.rows * q_stride), 12);
  const DeviceArray<T> q(q_before, s.skew);
  const std::string failure =
      Failure(PlaceQkv<T>({.qkv = device_qkv.data(),
                           .bias = s.bias ? device_bias.data() : nullptr,
                           .query_norm = s.norms ? device_query_norm.data() : nullptr,
                           .key_norm = s.norms ? device_key_norm.data() : nullptr,
                           .rotations = device_rotations.data(),
                           .positions = device_positions.data(),
                           .sequences = device_sequences.data(),
                           .q = q.data(),
                           .kv = fixture.Device(pool.data(), table.data(), kLayer),
                           .rows = s.rows,
                           .stride = stride,
                           .q_stride = q_stride,
                           .heads = s.heads,
                           .rope_dims = s.rope_dims,
                           .rope = s.rope,
                           .epsilon = kEpsilon},
                          nullptr));
  if (!failure.empty()) return failure;

  std::vector<float> want_q = Floats(q_before);
  std::vector<uint8_t> got_pool = pool.Read();
  for (int64_t row = 0; row < s.rows; ++row) {
    if (positions[row] < 0) continue;
    for (int32_t head = 0; head < all_heads; ++head) {
      const int64_t first = row * stride + head * s.head_dim;
      const bool is_query = head < s.heads;
      const bool is_value = head >= s.heads + s.kv_heads;
      std::vector<float> in(static_cast<size_t>(s.head_dim));
      for (int32_t d = 0; d < s.head_dim; ++d) in[d] = ToFloat(qkv[first + d]);
      const std::vector<float> want =
          NaiveHead(s, in, s.bias ? bias.data() + head * s.head_dim : nullptr,
                    !s.norms || is_value ? nullptr
                    : is_query           ? query_norm.data()
                                         : key_norm.data(),
                    cos_sin, is_value ? -1 : positions[row]);
      if (is_query) {
        std::copy(want.begin(), want.end(), want_q.begin() + row * q_stride + head * s.head_dim);
        continue;
      }
      const PagedFixture::Place place = {.sequence = sequences[row],
                                         .position = positions[row],
                                         .layer = kLayer,
                                         .head = head - s.heads - (is_value ? s.kv_heads : 0),
                                         .plane = is_value ? KvPlane::kValues : KvPlane::kKeys};
      const std::string difference =
          Difference("head " + std::to_string(head), fixture.LoadFrom(got_pool, place), want,
                     {fixture.Rounding(want), 1e-5});
      if (!difference.empty()) return difference;
      fixture.Erase(got_pool, place);
    }
  }
  const std::string elsewhere = DifferenceExact("pool", got_pool, fixture.pool());
  if (!elsewhere.empty()) return elsewhere;
  return Difference("q", Floats(q.Read()), want_q, {1e-5, kRounding<T>});
}

TEST_CASE("queries keys and values go where they belong") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({"f32 " + name, [=] { return RunPlaceQkv<float>(shape); }});
    cases.push_back({"bf16 " + name, [=] { return RunPlaceQkv<__nv_bfloat16>(shape); }});
  };
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8}) {
    const std::string name = std::to_string(static_cast<int>(type));
    with("halves " + name, {.type = type});
    with("adjacent with biases and norms " + name,
         {.type = type, .rope = RopeKind::kAdjacent, .bias = true, .norms = true});
    with("partly rotated " + name, {.type = type, .head_dim = 80, .rope_dims = 32, .skew = 1});
    with("tiny " + name, {.type = type, .heads = 3, .kv_heads = 3, .head_dim = 8, .rope_dims = 8});
  }
  with("no rotation", {.rope_dims = 0});
  with("no rows", {.rows = 0});
  with("head_dim 128", {.head_dim = 128, .rope_dims = 128, .bias = true});
  with("head_dim 256", {.head_dim = 256, .rope_dims = 64, .norms = true});
  with("head_dim 512", {.head_dim = 512, .rope_dims = 512});
  CheckKernel(cases, Barriers::kNone);
}

TEST_CASE("heads of an odd size are refused") {
  PlaceQkvArgs<float> args = {};
  args.rows = 1;
  args.kv.head_dim = 7;
  CHECK(PlaceQkv(args, nullptr) == cudaErrorInvalidValue);
  args.kv.head_dim = 514;
  CHECK(PlaceQkv(args, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
