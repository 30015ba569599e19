// Any bytes as a segment's graph: refused with a status, or searched inside the rows. The bytes are
// also laid over those of a good graph, which gets further than the checks of sizes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "engine/vector/sealed_graph.h"

namespace baton {
namespace {

constexpr int64_t kRows = 60;
constexpr int32_t kDimension = 20;

std::vector<float> MakeVectors() {
  std::vector<float> vectors(kRows * kDimension);
  uint32_t state = 1;
  for (float& value : vectors) {
    state = state * 1664525 + 1013904223;
    value = static_cast<float>(state >> 8);
  }
  return vectors;
}

void TryLoad(const GraphRows& rows, HugeBuffer bytes) {
  const auto graph = SealedGraph::Load(rows, std::move(bytes));
  if (!graph.ok()) return;
  std::vector<GraphNeighbor> found;
  for (const int64_t ef : {1, 20, 2000}) {
    (*graph)->Search(
        rows.vectors, ef, 10, [](int64_t row) { return row % 3 != 0; }, &found);
    for (const GraphNeighbor& neighbor : found) {
      if (neighbor.row < 0 || neighbor.row >= kRows) std::abort();
    }
  }
}

}  // namespace
}  // namespace baton

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton;
  static const std::vector<float> vectors = MakeVectors();
  static const GraphRows rows{.vectors = vectors.data(),
                              .rows = kRows,
                              .dimension = kDimension,
                              .metric = Metric::kL2,
                              .m = 4,
                              .ef_construction = 20};
  static const auto good = SealedGraph::Build(rows, [] { return false; });
  if (!good.ok()) std::abort();
  const auto* const bytes = reinterpret_cast<const std::byte*>(data);
  HugeBuffer raw(size);
  std::copy_n(bytes, size, raw.data());
  TryLoad(rows, std::move(raw));

  const std::span<const std::byte> base = (*good)->bytes();
  if (size < 2) return 0;
  HugeBuffer laid_over(base.size());
  std::copy(base.begin(), base.end(), laid_over.data());
  const size_t at = (data[0] + size_t{256} * data[1]) % base.size();
  std::copy_n(bytes + 2, std::min(size - 2, base.size() - at), laid_over.data() + at);
  TryLoad(rows, std::move(laid_over));
  return 0;
}
