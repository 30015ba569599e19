#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/vector/collection_view.h"
#include "engine/vector/ivf_index.h"

namespace baton {

// A segment's inverted file in a view, as it is scanned elsewhere. A value; the view outlives it.
class ViewIvf {
 public:
  // The segment has one.
  ViewIvf(const CollectionView& view, const CollectionView::SegmentPart& part);
  // Of a view's segments those that have one.
  static std::vector<ViewIvf> AllOf(const CollectionView& view);

  const CollectionView& view() const { return *view_; }
  const IvfIndex& index() const { return *index_; }
  // What it lives as long as, and is known by from view to view.
  std::shared_ptr<const void> owner() const;
  int64_t rows() const;
  int64_t live() const { return part_->live; }  // of them, in the view
  // Bit row % 32 of word row / 32: whether the row is live in the view.
  std::vector<uint32_t> FindLive() const;

 private:
  const CollectionView* view_;
  const CollectionView::SegmentPart* part_;
  const IvfIndex* index_;
};

}  // namespace baton
