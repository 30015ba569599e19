// Any bytes as a segment's inverted file: refused with a status, or searched inside the rows. The
// bytes are also laid over those of good ones, which gets further than the checks of sizes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "engine/vector/ivf_index.h"

namespace baton {
namespace {

constexpr int64_t kRows = 60;
constexpr int32_t kDimension = 10;

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
  const auto index = IvfIndex::Load(rows, std::move(bytes));
  if (!index.ok()) return;
  std::vector<GraphNeighbor> found;
  for (const int nprobe : {1, 3, 2000}) {
    (*index)->Search(
        {.vector = rows.vectors, .nprobe = nprobe, .candidates = 7, .wanted = 20},
        [](int64_t row) { return row % 3 != 0; }, &found);
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
  static const GraphRows rows{
      .vectors = vectors.data(), .rows = kRows, .dimension = kDimension, .metric = Metric::kL2};
  static const auto pq = IvfIndex::Build(rows, {.codes = IvfCodes::kPq, .lists = 5, .pq_bytes = 2},
                                         [] { return false; });
  static const auto pq8 = IvfIndex::Build(
      rows, {.codes = IvfCodes::kPq8, .lists = 5, .pq_bytes = 2}, [] { return false; });
  static const auto bytes =
      IvfIndex::Build(rows, {.codes = IvfCodes::kBytes, .lists = 5}, [] { return false; });
  if (!pq.ok() || !pq8.ok() || !bytes.ok()) std::abort();
  HugeBuffer raw(size);
  std::copy_n(reinterpret_cast<const std::byte*>(data), size, raw.data());
  TryLoad(rows, std::move(raw));

  if (size < 3) return 0;
  const IvfIndex* const indexes[] = {pq->get(), bytes->get(), pq8->get()};
  const std::span<const std::byte> base = indexes[data[2] % 3]->bytes();
  HugeBuffer laid_over(base.size());
  std::copy(base.begin(), base.end(), laid_over.data());
  const size_t at = (data[0] + size_t{256} * data[1]) % base.size();
  std::copy_n(reinterpret_cast<const std::byte*>(data) + 3, std::min(size - 3, base.size() - at),
              laid_over.data() + at);
  TryLoad(rows, std::move(laid_over));
  return 0;
}
