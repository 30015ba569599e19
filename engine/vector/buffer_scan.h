#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/growing_buffer.h"
#include "engine/vector/scan_code.h"
#include "engine/vector/scan_screen.h"
#include "engine/vector/top_k.h"

namespace baton {

// Compares queries with the rows of growing buffers, by their codes first: vectors are looked at
// only where a code does not say that the row is too far (scan_code.h). What is found is what
// comparing all vectors finds, bit for bit. One thread.
class BufferScan {
 public:
  // `queries`, prepared, outlive it.
  BufferScan(const CollectionView& view, std::span<const std::vector<float>> queries);

  // Whether a view's buffers have codes.
  static bool HasCodes(const CollectionView& view) {
    return view.spec().dimension >= kScanCodeDimensionMin;
  }

  // Adds to tops[query] the live rows of a block that `matches` takes, by their place in it.
  void Scan(const RowBlock& block, const ScanCodes& codes,
            absl::FunctionRef<bool(int64_t row)> matches, std::span<TopK> tops);

  // Rows whose vectors were looked at.
  int64_t scored() const { return scored_; }

 private:
  // Rows that are compared by code before any is by vector.
  static constexpr int64_t kTileRows = 512;

  void ScanTile(const RowBlock& block, const ScanCodes& codes, int64_t first, int64_t count,
                size_t query, absl::FunctionRef<bool(int64_t row)> matches, TopK& top);

  const WriteSequence sequence_;
  const int64_t dimension_;
  const int64_t stride_;
  const StoredDistanceFn distance_;
  const CodeProductsFn products_of_;
  const ScanScreenFn screen_;
  const std::span<const std::vector<float>> queries_;
  std::vector<ScanQuery> codes_;  // [queries]
  int64_t scored_ = 0;

  struct Candidate {
    float key;
    uint32_t place;
  };
  uint32_t numbers_[kTileRows];  // 0, 1, 2 ...
  int32_t products_[kTileRows];
  uint32_t places_[kTileRows];
  float keys_[kTileRows];
  std::vector<Candidate> candidates_;
};

}  // namespace baton
