#include "engine/vector/view_rescore.h"

#include <algorithm>
#include <cstddef>

#include "engine/vector/top_k.h"
#include "engine/vector/vector_format.h"
#include "engine/vector/view_search.h"

namespace baton {

ViewRescorer::ViewRescorer(const CollectionView& view, const SearchParams& params,
                           std::span<const ViewPart> parts)
    : view_(view),
      parts_(parts),
      wanted_(params.k + params.offset),
      farthest_(FarthestAllowed(view, params)),
      dimension_(view.spec().dimension),
      distance_(DistanceFor(view.spec().metric)),
      stored_distance_(StoredDistanceFor(FormatOf(view.spec()))),
      vector_(static_cast<size_t>(dimension_)) {
  int64_t rows = 0;
  for (const ViewPart& part : parts_) {
    bases_.push_back(rows);
    rows += part.rows();
  }
}

ViewRescorer::Place ViewRescorer::Find(uint32_t row) const {
  const auto after = std::upper_bound(bases_.begin(), bases_.end(), int64_t{row});
  const auto part = static_cast<size_t>(after - bases_.begin() - 1);
  return {.part = &parts_[part], .row = row - bases_[part]};
}

ViewRescorer::Scored ViewRescorer::Score(std::span<const float> query,
                                         std::span<const uint32_t> rows) {
  TopK top(wanted_, view_.points(), farthest_);
  constexpr size_t kAhead = 4;
  constexpr int64_t kLineBytes = 64;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i + kAhead < rows.size()) {
      const Place next = Find(rows[i + kAhead]);
      const StoredRows stored = next.part->Row(next.row).vectors;
      const int64_t bytes = stored.bytes == nullptr ? 0 : stored.format.row_bytes();
      for (int64_t byte = 0; byte < bytes; byte += kLineBytes) {
        __builtin_prefetch(stored.bytes + byte);
      }
    }
    const Place place = Find(rows[i]);
    const RowBlock block = place.part->Row(place.row);
    if (!block.LiveAt(view_.sequence(), 0)) continue;
    float distance = 0;
    if (block.vectors.bytes != nullptr) {
      stored_distance_(query.data(), block.vectors.bytes, 1, dimension_, &distance);
    } else {
      place.part->ReadVectors(place.row, 1, vector_.data());
      distance_(query.data(), vector_.data(), 1, dimension_, &distance);
    }
    top.Add({distance, block.ids[0]});
  }
  const Neighbor* const last = top.last();
  const float worst = last != nullptr ? last->distance : farthest_;
  return {.neighbors = top.Take(), .worst = worst};
}

}  // namespace baton
