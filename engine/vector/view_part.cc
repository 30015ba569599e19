#include "engine/vector/view_part.h"

#include <bit>
#include <cstddef>

#include "engine/base/status_macros.h"
#include "engine/vector/growing_buffer.h"
#include "engine/vector/segment.h"

namespace baton {

ViewPart::ViewPart(const CollectionView& view, const CollectionView::BufferPart& part)
    : view_(&view), buffer_(&part), owner_(part.buffer), rows_(part.rows) {}

ViewPart::ViewPart(const CollectionView& view, const CollectionView::SegmentPart& part)
    : view_(&view), segment_(&part), owner_(part.segment), rows_(part.segment->rows()) {}

std::vector<ViewPart> ViewPart::AllOf(const CollectionView& view) {
  std::vector<ViewPart> parts;
  for (const CollectionView::BufferPart& part : view.buffers()) {
    if (part.rows > 0) parts.push_back(ViewPart(view, part));
  }
  for (const CollectionView::SegmentPart& part : view.segments()) {
    if (part.segment->rows() > 0) parts.push_back(ViewPart(view, part));
  }
  return parts;
}

std::optional<int64_t> ViewPart::live() const {
  return segment_ == nullptr ? std::nullopt : std::optional(segment_->live);
}

bool ViewPart::unreadable() const { return segment_ != nullptr && segment_->segment->unreadable(); }

// `visit(block, first)` with the blocks that make up rows [first, end).
template <class Visit>
void ViewPart::ForEachBlock(int64_t first, int64_t end, Visit visit) const {
  if (segment_ != nullptr) {
    if (first < end) visit(segment_->segment->Block(first, end - first), first);
    return;
  }
  while (first < end) {
    const RowBlock block = buffer_->buffer->Block(first, end);
    visit(block, first);
    first += block.count;
  }
}

RowBlock ViewPart::Row(int64_t row) const {
  return segment_ != nullptr ? segment_->segment->Block(row, 1)
                             : buffer_->buffer->Block(row, row + 1);
}

void ViewPart::ReadVectors(int64_t first, int64_t count, float* vectors) const {
  if (segment_ != nullptr) return segment_->segment->ReadVectors(first, count, vectors);
  ForEachBlock(first, first + count, [&](const RowBlock& block, int64_t) {
    block.vectors.format.Decode(block.vectors.bytes, block.count, vectors);
    vectors += block.count * block.vectors.format.dimension();
  });
}

ViewPart::LiveRows ViewPart::FindLive() const {
  LiveRows live;
  live.words.resize(static_cast<size_t>((rows_ + 31) / 32));
  ForEachBlock(0, rows_, [&](const RowBlock& block, int64_t first) {
    for (int64_t i = 0; i < block.count; ++i) {
      if (!block.LiveAt(view_->sequence(), i)) continue;
      const int64_t row = first + i;
      live.words[static_cast<size_t>(row / 32)] |= uint32_t{1} << row % 32;
      ++live.count;
    }
  });
  return live;
}

absl::StatusOr<ViewPart::LiveRows> ViewPart::FindMatching(
    const ViewFilter& filter, absl::FunctionRef<absl::Status()> poll) const {
  const PartFilter matches = segment_ != nullptr ? PartFilter(filter, *view_, *segment_)
                                                 : PartFilter(filter, *view_, *buffer_);
  LiveRows found = FindLive();
  constexpr size_t kPollWords = 256;  // a condition or two on 32 rows each: about a millisecond
  for (size_t i = 0; i < found.words.size(); ++i) {
    if (i % kPollWords == 0) RETURN_IF_ERROR(poll());
    for (uint32_t left = found.words[i]; left != 0; left &= left - 1) {
      const int bit = std::countr_zero(left);
      if (matches.Accepts(static_cast<int64_t>(i) * 32 + bit)) continue;
      found.words[i] &= ~(uint32_t{1} << bit);
      --found.count;
    }
  }
  RETURN_IF_ERROR(filter.status());
  return found;
}

}  // namespace baton
