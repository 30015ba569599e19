#include "engine/vector/buffer_scan.h"

#include <algorithm>
#include <cmath>
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
      nibble_screen_(NibbleScreenFor(view.spec().metric)),
      queries_(queries),
      coded_(queries.size()) {
  for (size_t query = 0; query < queries_.size(); ++query) {
    coded_[query].code.Encode(view.spec().metric, queries_[query].data(), dimension_);
    coded_[query].nibbles.Encode(view.spec().metric, queries_[query].data(), dimension_);
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

bool BufferScan::ScreenByNibbles(const ScanCodes& codes, int64_t first, int64_t count, Query& query,
                                 float farthest) {
  const int64_t blocks = count / kNibbleBlockRows;
  if (codes.nibbles == nullptr || blocks == 0 || !std::isfinite(farthest)) return false;
  if (query.tiles_without_nibbles > 0) {
    --query.tiles_without_nibbles;
    return false;
  }
  int64_t kept = nibble_screen_(
      query.nibbles.LimitsFor(farthest),
      {.query = query.nibbles.values(),
       .lines = NibbleLines(dimension_),
       .blocks = codes.nibbles + first / kNibbleBlockRows * NibbleBlockBytes(dimension_),
       .block_count = blocks},
      places_);
  if (kept * kNibbleShareMin > count) {
    query.tiles_without_nibbles = kTilesWithoutNibbles;
    return false;
  }
  for (int64_t row = blocks * kNibbleBlockRows; row < count; ++row) {
    places_[kept++] = static_cast<uint32_t>(row);
  }
  const uint8_t* const tile = codes.codes + first * stride_;
  const ScanRows rows = RowsFrom(codes.rows, first);
  for (int64_t i = 0; i < kept; ++i) {
    for (const float* const terms : {rows.low, rows.step, rows.error, rows.size}) {
      __builtin_prefetch(terms + places_[i]);
    }
    for (int64_t byte = 0; byte < stride_; byte += kScanLineBytes) {
      __builtin_prefetch(tile + places_[i] * stride_ + byte);
    }
  }
  products_of_(query.code.code(), tile, stride_, stride_, places_, kept, products_, nullptr);
  const ScanLimits limits = query.code.LimitsFor(farthest);
  for (int64_t i = 0; i < kept; ++i) {
    uint32_t again = 0;
    float key = 0;
    if (screen_(limits, RowsFrom(rows, places_[i]), products_ + i, 1, &again, &key) != 0) {
      candidates_.push_back({key, products_[i], places_[i]});
    }
  }
  return true;
}

void BufferScan::ScreenByBytes(const ScanCodes& codes, int64_t first, int64_t count,
                               const ScanLimits& limits, const ScanQuery& query) {
  // In strips, the one after the next on its way from memory meanwhile: more lines of it than the
  // processor fetches by itself.
  const int64_t strip = std::max<int64_t>(kStripBytes / stride_, 1);
  const uint8_t* const tile = codes.codes + first * stride_;
  for (int64_t row = 0; row < count; row += strip) {
    const int64_t ahead_end = std::min(row + 3 * strip, count) * stride_;
    for (int64_t byte = (row + 2 * strip) * stride_; byte < ahead_end; byte += kScanLineBytes) {
      __builtin_prefetch(tile + byte, 0, 2);
    }
    products_of_(query.code(), tile + row * stride_, stride_, stride_, numbers_,
                 std::min(strip, count - row), products_ + row, nullptr);
  }
  const int64_t kept =
      screen_(limits, RowsFrom(codes.rows, first), products_, count, places_, keys_);
  for (int64_t i = 0; i < kept; ++i) {
    candidates_.push_back({keys_[i], products_[places_[i]], places_[i]});
  }
}

void BufferScan::ScanTile(const RowBlock& block, const ScanCodes& codes, int64_t first,
                          int64_t count, size_t query, absl::FunctionRef<bool(int64_t row)> matches,
                          TopK& top) {
  const ScanQuery& code = coded_[query].code;
  float farthest = top.farthest();
  ScanLimits limits = code.LimitsFor(farthest);
  candidates_.clear();
  if (!ScreenByNibbles(codes, first, count, coded_[query], farthest)) {
    ScreenByBytes(codes, first, count, limits, code);
  }
  std::erase_if(candidates_, [&](const Candidate& candidate) {
    const int64_t row = first + candidate.place;
    return !block.LiveAt(sequence_, row) || !matches(row);
  });
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
    const Candidate& candidate = candidates_[i];
    if (top.farthest() != farthest) {
      farthest = top.farthest();
      limits = code.LimitsFor(farthest);
    }
    uint32_t again = 0;
    float key = 0;
    if (screen_(limits, RowsFrom(codes.rows, first + candidate.place), &candidate.product, 1,
                &again, &key) == 0) {
      continue;
    }
    const int64_t row = first + candidate.place;
    float distance = 0;
    distance_(queries_[query].data(), block.vectors.At(row), 1, dimension_, &distance);
    ++scored_;
    top.Add({distance, block.ids[row]});
  }
}

}  // namespace baton
