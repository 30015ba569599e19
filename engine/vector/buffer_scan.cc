#include "engine/vector/buffer_scan.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "engine/vector/vector_format.h"

namespace baton {
namespace {

constexpr int64_t kScanLineBytes = 64;
constexpr int64_t kStripBytes = 4096;

ScanRows RowsFrom(const ScanRows& rows, int64_t first) {
  return {.low = rows.low + first,
          .step = rows.step + first,
          .error = rows.error + first,
          .size = rows.size + first};
}

}  // namespace

BufferScan::BufferScan(const CollectionView& view, std::span<const std::vector<float>> queries)
    : sequence_(view.sequence()),
      dimension_(view.spec().dimension),
      stride_(CodeStride(dimension_)),
      distance_(StoredDistanceFor(FormatOf(view.spec()))),
      products_of_(CodeProductsFor()),
      screen_(ScanScreenFor(view.spec().metric)),
      queries_(queries),
      codes_(queries.size()) {
  for (size_t query = 0; query < queries_.size(); ++query) {
    codes_[query].Encode(view.spec().metric, queries_[query].data(), dimension_);
  }
  std::iota(std::begin(numbers_), std::end(numbers_), 0u);
}

void BufferScan::Scan(const RowBlock& block, const ScanCodes& codes,
                      absl::FunctionRef<bool(int64_t row)> matches, std::span<TopK> tops) {
  for (int64_t first = 0; first < block.count; first += kTileRows) {
    const int64_t count = std::min(kTileRows, block.count - first);
    for (size_t query = 0; query < queries_.size(); ++query) {
      ScanTile(block, codes, first, count, query, matches, tops[query]);
    }
  }
}

void BufferScan::ScanTile(const RowBlock& block, const ScanCodes& codes, int64_t first,
                          int64_t count, size_t query, absl::FunctionRef<bool(int64_t row)> matches,
                          TopK& top) {
  const ScanQuery& code = codes_[query];
  const ScanRows rows = RowsFrom(codes.rows, first);
  // In strips, the one after the next on its way from memory meanwhile: more lines of it than the
  // processor fetches by itself.
  const int64_t strip = std::max<int64_t>(kStripBytes / stride_, 1);
  const uint8_t* const tile = codes.codes + first * stride_;
  for (int64_t row = 0; row < count; row += strip) {
    const int64_t ahead_end = std::min(row + 3 * strip, count) * stride_;
    for (int64_t byte = (row + 2 * strip) * stride_; byte < ahead_end; byte += kScanLineBytes) {
      __builtin_prefetch(tile + byte, 0, 2);
    }
    products_of_(code.code(), tile + row * stride_, stride_, numbers_, std::min(strip, count - row),
                 products_ + row, nullptr);
  }
  float farthest = top.farthest();
  ScanLimits limits = code.LimitsFor(farthest);
  const int64_t kept = screen_(limits, rows, products_, count, places_, keys_);
  candidates_.clear();
  for (int64_t i = 0; i < kept; ++i) {
    const int64_t row = first + places_[i];
    if (block.LiveAt(sequence_, row) && matches(row)) candidates_.push_back({keys_[i], places_[i]});
  }
  // Some of the nearest by code before the others, most of which are too far then.
  const auto some = std::min<int64_t>(top.k(), std::ssize(candidates_));
  if (some < std::ssize(candidates_)) {
    std::nth_element(candidates_.begin(), candidates_.begin() + some, candidates_.end(),
                     [](const Candidate& a, const Candidate& b) { return a.key < b.key; });
  }
  constexpr size_t kAhead = 4;
  const int64_t row_bytes = block.vectors.format.row_bytes();
  for (size_t i = 0; i < candidates_.size(); ++i) {
    if (i + kAhead < candidates_.size()) {
      const std::byte* const next = block.vectors.At(first + candidates_[i + kAhead].place);
      for (int64_t byte = 0; byte < row_bytes; byte += kScanLineBytes)
        __builtin_prefetch(next + byte);
    }
    const int64_t place = candidates_[i].place;
    if (top.farthest() != farthest) {
      farthest = top.farthest();
      limits = code.LimitsFor(farthest);
    }
    uint32_t again = 0;
    float key = 0;
    if (screen_(limits, RowsFrom(rows, place), products_ + place, 1, &again, &key) == 0) continue;
    float distance = 0;
    distance_(queries_[query].data(), block.vectors.At(first + place), 1, dimension_, &distance);
    ++scored_;
    top.Add({distance, block.ids[first + place]});
  }
}

}  // namespace baton
