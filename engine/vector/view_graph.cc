#include "engine/vector/view_graph.h"

#include "engine/vector/segment.h"

namespace baton {

ViewGraph::ViewGraph(const CollectionView& view, const CollectionView::SegmentPart& part)
    : view_(&view), part_(&part), graph_(part.segment->index().graph()) {}

std::vector<ViewGraph> ViewGraph::AllOf(const CollectionView& view) {
  std::vector<ViewGraph> graphs;
  for (const CollectionView::SegmentPart& part : view.segments()) {
    if (part.segment->index().graph() != nullptr) graphs.emplace_back(view, part);
  }
  return graphs;
}

std::shared_ptr<const void> ViewGraph::owner() const { return part_->segment; }

uint64_t ViewGraph::segment() const { return part_->segment->number(); }

int64_t ViewGraph::rows() const { return part_->segment->rows(); }

void ViewGraph::ReadVectors(uint32_t first, int64_t count, float* vectors) const {
  for (int64_t i = 0; i < count; ++i) {
    part_->segment->ReadVectors(graph_->FirstRow(first + static_cast<uint32_t>(i)), 1,
                                vectors + i * view_->spec().dimension);
  }
}

std::vector<uint32_t> ViewGraph::FindLiveNodes() const {
  return graph_->LiveNodes(
      [&](int64_t row) { return part_->segment->LiveAt(view_->sequence(), row); });
}

}  // namespace baton
