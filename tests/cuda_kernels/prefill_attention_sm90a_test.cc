#include "cuda_kernels/prefill_attention_sm90a.h"

#include <catch2/catch.hpp>
#include <iostream>

#include "cuda_kernels/tile_map_sm90a.h"
#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/cuda_kernels/prefill_fixture.h"

namespace baton::cuda {
namespace {

TEST_CASE("rows of prompts attend by warpgroups to what stands before them") {
  if (!IsSm90()) {
    std::cout << "SKIPPED: the device is not of compute capability 9.0\n";
    return;
  }
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const PrefillShape& shape) {
    cases.push_back({name, [=] {
                       return RunPrefill<__nv_bfloat16, PrefillAttentionArgs>(
                           shape,
                           [](const PrefillAttentionArgs& args) {
                             return PrefillAttentionSm90a(args, nullptr);
                           },
                           {6e-3, kRounding<__nv_bfloat16>});
                     }});
  };
  with("one tile", {.head_dim = 128});
  with("several tiles", {.head_dim = 128, .parts = {{0, 130}, {67, 1}, {5, 300}}});
  with("a long text", {.heads = 8, .kv_heads = 2, .head_dim = 128, .parts = {{1000, 200}}});
  with("ragged heads", {.head_dim = 72, .parts = {{60, 9}}});
  with("a window", {.head_dim = 128, .window = 10, .parts = {{390, 80}}});
  with("capped scores", {.head_dim = 128, .score_cap = 2, .parts = {{0, 20}}});
  with("no rows", {.head_dim = 128, .parts = {}});
  CheckKernel(cases, Barriers::kAll);
}

}  // namespace
}  // namespace baton::cuda
