#include "engine/vector/view_ivf.h"

#include <cstddef>

#include "engine/vector/segment.h"

namespace baton {

ViewIvf::ViewIvf(const CollectionView& view, const CollectionView::SegmentPart& part)
    : view_(&view), part_(&part), index_(part.segment->index().ivf()) {}

std::vector<ViewIvf> ViewIvf::AllOf(const CollectionView& view) {
  std::vector<ViewIvf> files;
  for (const CollectionView::SegmentPart& part : view.segments()) {
    if (part.segment->index().ivf() != nullptr) files.emplace_back(view, part);
  }
  return files;
}

std::shared_ptr<const void> ViewIvf::owner() const { return part_->segment; }
int64_t ViewIvf::rows() const { return part_->segment->rows(); }

std::vector<uint32_t> ViewIvf::FindLive() const {
  std::vector<uint32_t> words(static_cast<size_t>((rows() + 31) / 32));
  for (int64_t row = 0; row < rows(); ++row) {
    if (part_->segment->LiveAt(view_->sequence(), row)) {
      words[static_cast<size_t>(row / 32)] |= uint32_t{1} << row % 32;
    }
  }
  return words;
}

}  // namespace baton
