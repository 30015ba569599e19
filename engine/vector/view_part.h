#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/view_filter.h"

namespace baton {

// Rows of a view that lie together, and that a device may hold as one: a growing buffer's or a
// segment's. A value; the view outlives it.
class ViewPart {
 public:
  // Those of a view that have rows.
  static std::vector<ViewPart> AllOf(const CollectionView& view);

  int64_t rows() const { return rows_; }
  // Whether later views may have more rows here.
  bool grows() const { return buffer_ != nullptr; }
  // What the rows live as long as, and are known by from view to view.
  const std::shared_ptr<const void>& owner() const { return owner_; }
  // How many are live in the view, where it tells.
  std::optional<int64_t> live() const;
  // Whether what is read of a file may be wrong.
  bool unreadable() const;

  // vectors: [count, dimension], row-major
  void ReadVectors(int64_t first, int64_t count, float* vectors) const;
  // A row by itself. There may be no vectors: then ReadVectors tells them.
  RowBlock Row(int64_t row) const;

  // Bit row % 32 of word row / 32: whether the row is live in the view; and how many are.
  struct LiveRows {
    std::vector<uint32_t> words;  // [(rows + 31) / 32]
    int64_t count = 0;
  };
  LiveRows FindLive() const;
  // Those of them that match. `poll` is asked about once per millisecond of work.
  absl::StatusOr<LiveRows> FindMatching(const ViewFilter& filter,
                                        absl::FunctionRef<absl::Status()> poll) const;

 private:
  ViewPart(const CollectionView& view, const CollectionView::BufferPart& part);
  ViewPart(const CollectionView& view, const CollectionView::SegmentPart& part);
  template <class Visit>
  void ForEachBlock(int64_t first, int64_t end, Visit visit) const;

  const CollectionView* view_;
  const CollectionView::BufferPart* buffer_ = nullptr;  // one of the two
  const CollectionView::SegmentPart* segment_ = nullptr;
  std::shared_ptr<const void> owner_;
  int64_t rows_ = 0;
};

}  // namespace baton
