#include "cuda_kernels/prefill_attention_f32.h"

#include <catch2/catch.hpp>

#include "cuda_kernels/launch.h"
#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/cuda_kernels/prefill_fixture.h"

namespace baton::cuda {
namespace {

std::string RunF32(const PrefillShape& s) {
  return RunPrefill<float, PrefillAttentionF32Args>(
      s, [](const PrefillAttentionF32Args& args) { return PrefillAttentionF32(args, nullptr); },
      {2e-6, 1e-5});
}

TEST_CASE("rows of prompts attend in f32 to what stands before them") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, PrefillShape shape) {
    shape.type = KvType::kF32;
    cases.push_back({name, [=] { return RunF32(shape); }});
  };
  with("several keys' tiles", {.heads = 1, .head_dim = 16, .parts = {{0, 70}}});
  with("two sequences", {});
  with("head_dim 128, several tiles", {.heads = 1, .head_dim = 128, .parts = {{0, 130}, {67, 1}}});
  with("tiny heads", {.heads = 3, .kv_heads = 3, .head_dim = 8});
  with("ragged heads", {.head_dim = 72, .parts = {{60, 9}}});
  with("head_dim 256", {.heads = 1, .head_dim = 256, .parts = {{1, 40}}});
  with("a window", {.window = 10, .parts = {{90, 80}}});
  with("capped scores", {.score_cap = 2, .parts = {{0, 20}}});
  with("what stands behind, too", {.sees_all = true, .parts = {{0, 150}, {0, 1}, {0, 70}}});
  with("no rows", {.parts = {}});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("what prefill in f32 cannot run is refused") {
  alignas(16) unsigned char pool[16];
  PrefillAttentionF32Args args = {};
  args.kv = {.pool = pool,
             .block_bytes = 1024,
             .kv_heads = 2,
             .head_dim = 64,
             .block_tokens = 8,
             .element = KvElement::kF32};
  args.heads = 4;
  args.q_stride = 256;
  args.tile_count = 1;
  CHECK(CanRun(args));
  const auto refused = [](PrefillAttentionF32Args with, auto change) {
    change(with);
    return PrefillAttentionF32(with, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refused(args, [](auto& a) { a.kv.element = KvElement::kBF16; }));
  CHECK(refused(args, [](auto& a) { a.kv.head_dim = 60; }));
  CHECK(refused(args, [](auto& a) { a.kv.head_dim = 264; }));
  CHECK(refused(args, [](auto& a) { a.heads = 5; }));
  CHECK(refused(args, [](auto& a) { a.tile_count = kGridYMax + 1; }));
}

}  // namespace
}  // namespace baton::cuda
