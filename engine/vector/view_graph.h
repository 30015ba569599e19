#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/vector/collection_view.h"
#include "engine/vector/sealed_graph.h"

namespace baton {

// A segment's graph in a view, as it is walked elsewhere. A value; the view outlives it.
class ViewGraph {
 public:
  // The segment has a graph.
  ViewGraph(const CollectionView& view, const CollectionView::SegmentPart& part);
  // Of a view's segments those that have one.
  static std::vector<ViewGraph> AllOf(const CollectionView& view);

  const CollectionView& view() const { return *view_; }
  const CollectionView::SegmentPart& part() const { return *part_; }
  // What it lives as long as, and is known by from view to view; and its number.
  std::shared_ptr<const void> owner() const;
  uint64_t segment() const;
  int64_t rows() const;
  int64_t live() const { return part_->live; }  // rows of them, in the view

  uint32_t nodes() const { return graph_->nodes(); }
  SealedGraph::Arrays arrays() const { return graph_->arrays(); }
  // vectors: [count, dimension], of consecutive nodes
  void ReadVectors(uint32_t first, int64_t count, float* vectors) const;
  // SealedGraph::LiveNodes, of rows that are live in the view.
  std::vector<uint32_t> FindLiveNodes() const;

 private:
  const CollectionView* view_;
  const CollectionView::SegmentPart* part_;
  const SealedGraph* graph_;
};

}  // namespace baton
