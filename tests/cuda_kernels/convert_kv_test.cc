#include "cuda_kernels/convert_kv.h"

#include <catch2/catch.hpp>

#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/cuda_kernels/paged_fixture.h"

namespace baton::cuda {
namespace {

struct Shape {
  KvType from = KvType::kBF16;
  KvType to = KvType::kInt8;
  int32_t head_dim = 64;
  int64_t tokens = 37;
  int32_t from_block_tokens = 16;
  int32_t to_block_tokens = 8;
};
constexpr int32_t kLayers = 3;
constexpr int32_t kHeads = 2;

// Layers 1 and 2 of three. The twin converts vector by vector; the bytes must be the same.
std::string RunConvert(const Shape& s) {
  const KvLayout from = {.layers = kLayers,
                         .kv_heads = kHeads,
                         .head_dim = s.head_dim,
                         .block_tokens = s.from_block_tokens,
                         .type = s.from};
  KvLayout to = from;
  to.block_tokens = s.to_block_tokens;
  to.type = s.to;
  PagedFixture source(from, 1, s.tokens);
  PagedFixture want(to, 1, s.tokens);
  const std::vector<uint8_t> before = want.pool();
  uint64_t seed = 300;
  for (int64_t position = 0; position < s.tokens; ++position) {
    for (int32_t layer = 0; layer < kLayers; ++layer) {
      for (int32_t head = 0; head < kHeads; ++head) {
        for (const KvPlane plane : {KvPlane::kKeys, KvPlane::kValues}) {
          const PagedFixture::Place place = {0, position, layer, head, plane};
          source.Store(place, RandomFloats(static_cast<size_t>(s.head_dim), ++seed));
          if (layer > 0) want.Copy(source, place);
        }
      }
    }
  }
  const DeviceArray<uint8_t> source_pool(source.pool());
  const DeviceArray<int32_t> source_table(source.table());
  const DeviceArray<uint8_t> pool(before);
  const DeviceArray<int32_t> table(want.table());
  const std::string failure =
      Failure(ConvertKv({.source = source.Device(source_pool.data(), source_table.data(), 1),
                         .destination = want.Device(pool.data(), table.data(), 1),
                         .tokens = s.tokens,
                         .layers = kLayers - 1},
                        nullptr));
  return failure.empty() ? DifferenceExact("pool", pool.Read(), want.pool()) : failure;
}

TEST_CASE("blocks of one layout become blocks of another") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({name, [=] { return RunConvert(shape); }});
  };
  const KvType types[] = {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8};
  for (const KvType from : types) {
    for (const KvType to : types) {
      const std::string name = std::string(Name(from)) + " to " + std::string(Name(to));
      with(name, {.from = from, .to = to});
      with(name + " ragged", {.from = from, .to = to, .head_dim = 10, .tokens = 9});
    }
  }
  with("one position", {.tokens = 1});
  with("none", {.tokens = 0});
  with("head_dim 200", {.head_dim = 200, .to_block_tokens = 32});
  with("head_dim 512", {.to = KvType::kF16, .head_dim = 512, .tokens = 5});
  CheckKernel(cases, Barriers::kNone);
}

TEST_CASE("layouts that do not go together are refused") {
  ConvertKvArgs args = {};
  args.tokens = args.layers = 1;
  args.source = args.destination = {.kv_heads = 2, .head_dim = 64, .block_tokens = 8};
  const auto refused = [](ConvertKvArgs with, auto change) {
    change(with);
    return ConvertKv(with, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refused(args, [](auto& a) { a.destination.head_dim = 32; }));
  CHECK(refused(args, [](auto& a) { a.destination.kv_heads = 3; }));
  CHECK(refused(args, [](auto& a) { a.source.head_dim = a.destination.head_dim = 520; }));
}

}  // namespace
}  // namespace baton::cuda
