#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/growing_buffer.h"
#include "engine/vector/nibble_screen.h"
#include "engine/vector/scan_code.h"
#include "engine/vector/scan_screen.h"
#include "engine/vector/top_k.h"

namespace baton {

// Compares queries with the rows of growing buffers, by their codes first: those of 4 bits a value,
// then, where these do not say that a row is too far, its code of bytes, then its vector
// (scan_code.h). What is found is what comparing all vectors finds, bit for bit. One thread.
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

  // After a tile of which nibbles left more than this share, so many tiles are compared by bytes at
  // once: of data where all rows are about as far, nibbles only cost.
  static constexpr int64_t kNibbleShareMin = 4;
  static constexpr int64_t kTilesWithoutNibbles = 7;

  struct Candidate {
    float key;
    int32_t product;
    uint32_t place;
  };
  // What is known of a query.
  struct Query {
    ScanQuery code;
    NibbleQuery nibbles;
    int64_t tiles_without_nibbles = 0;  // to come
  };

  void ScanTile(const RowBlock& block, const ScanCodes& codes, int64_t first, int64_t count,
                size_t query, absl::FunctionRef<bool(int64_t row)> matches, TopK& top);
  // Candidates of a tile: the rows that codes do not exclude. By nibbles is false where there are
  // none, or they exclude too few rows.
  bool ScreenByNibbles(const ScanCodes& codes, int64_t first, int64_t count, Query& query,
                       float farthest);
  void ScreenByBytes(const ScanCodes& codes, int64_t first, int64_t count, const ScanLimits& limits,
                     const ScanQuery& query);

  const WriteSequence sequence_;
  const int64_t dimension_;
  const int64_t stride_;
  const StoredDistanceFn distance_;
  const CodeProductsFn products_of_;
  const ScanScreenFn screen_;
  const NibbleScreenFn nibble_screen_;
  const std::span<const std::vector<float>> queries_;
  std::vector<Query> coded_;  // [queries]
  int64_t scored_ = 0;

  uint32_t numbers_[kTileRows];  // 0, 1, 2 ...
  int32_t products_[kTileRows];
  uint32_t places_[kTileRows];
  float keys_[kTileRows];
  std::vector<Candidate> candidates_;
};

}  // namespace baton
