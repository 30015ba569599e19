#include "cuda_kernels/prefill_attention.h"

#include <catch2/catch.hpp>

#include "cuda_kernels/launch.h"
#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/cuda_kernels/prefill_fixture.h"

namespace baton::cuda {
namespace {

using Shape = PrefillShape;

// variant: of kPrefillVariants; -1: what the launcher takes.
std::string RunPrefillAttention(const Shape& s, int32_t variant = -1) {
  // Weights, keys and values are rounded to bf16: 2^-9 of values below 1, averaged.
  return RunPrefill<__nv_bfloat16, PrefillAttentionArgs>(
      s,
      [=](const PrefillAttentionArgs& args) {
        return variant < 0 ? PrefillAttention(args, nullptr)
                           : PrefillAttentionVariant(args, variant, nullptr);
      },
      {6e-3, kRounding<__nv_bfloat16>});
}

TEST_CASE("rows of prompts attend to what stands before them") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({name, [=] { return RunPrefillAttention(shape); }});
  };
  with("bf16", {});
  with("f16", {.type = KvType::kF16});
  with("int8", {.type = KvType::kInt8});
  with("head_dim 128, several tiles", {.head_dim = 128, .parts = {{0, 130}, {67, 1}}});
  with("tiny heads", {.heads = 3, .kv_heads = 3, .head_dim = 8});
  with("ragged heads", {.head_dim = 72, .parts = {{60, 9}}});
  with("head_dim 256", {.heads = 1, .head_dim = 256, .parts = {{1, 66}}});
  with("a window", {.window = 10, .parts = {{90, 80}}});
  with("capped scores", {.score_cap = 2, .parts = {{0, 20}}});
  with("what stands behind, too", {.sees_all = true, .parts = {{0, 150}, {0, 1}, {0, 70}}});
  with("no rows", {.parts = {}});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("other tiles of keys attend to the same") {
  std::vector<KernelCase> cases;
  for (int32_t variant = 0; variant < std::ssize(kPrefillVariants); ++variant) {
    const std::string name = kPrefillVariants[variant];
    cases.push_back(
        {name, [=] {
           return RunPrefillAttention({.head_dim = 128, .parts = {{0, 130}, {67, 1}}}, variant);
         }});
    cases.push_back(
        {name + " in a window", [=] {
           return RunPrefillAttention({.head_dim = 72, .window = 10, .parts = {{90, 80}}}, variant);
         }});
  }
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("what prefill cannot run is refused") {
  alignas(16) unsigned char pool[16];
  PrefillAttentionArgs args = {};
  args.kv = {.pool = pool,
             .block_bytes = 1024,
             .kv_heads = 2,
             .head_dim = 64,
             .block_tokens = 8,
             .element = KvElement::kBF16};
  args.heads = 4;
  args.q_stride = 256;
  args.tile_count = 1;
  CHECK(CanRun(args));
  const auto refused = [](PrefillAttentionArgs with, auto change) {
    change(with);
    return PrefillAttention(with, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refused(args, [](auto& a) { a.kv.element = KvElement::kF32; }));
  CHECK(refused(args, [](auto& a) { a.kv.head_dim = 60; }));
  CHECK(refused(args, [](auto& a) { a.kv.head_dim = 264; }));
  CHECK(refused(args, [](auto& a) { a.heads = 5; }));
  CHECK(refused(args, [](auto& a) { a.q_stride = 257; }));
  CHECK(refused(args, [](auto& a) { a.tile_count = kGridYMax + 1; }));
}

}  // namespace
}  // namespace baton::cuda
