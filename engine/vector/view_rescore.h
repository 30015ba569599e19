#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/request/vector_request.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/distance.h"
#include "engine/vector/stored_kernels.h"
#include "engine/vector/view_part.h"

namespace baton {

// Scores what others have found: the distances that SearchView gives, bit for bit. From one thread
// at a time; the view, the parameters and the parts outlive it.
class ViewRescorer {
 public:
  // `parts`: of the view; rows are numbered through them, one part's after another's.
  ViewRescorer(const CollectionView& view, const SearchParams& params,
               std::span<const ViewPart> parts);

  // Of the candidates those that are live in the view and within params.score_threshold, the
  // nearest params.k + params.offset of them, nearest first. query: [dimension], prepared.
  // `rows`: candidates, each once.
  struct Scored {
    std::vector<Neighbor> neighbors;
    float worst = 0;  // what is farther cannot be among them, however many more are looked at
  };
  Scored Score(std::span<const float> query, std::span<const uint32_t> rows);

 private:
  struct Place {
    const ViewPart* part;
    int64_t row;
  };
  Place Find(uint32_t row) const;

  const CollectionView& view_;
  const std::span<const ViewPart> parts_;
  std::vector<int64_t> bases_;  // [parts]: rows before each
  const int32_t wanted_;
  const float farthest_;
  const int32_t dimension_;
  const DistanceFn distance_;
  const StoredDistanceFn stored_distance_;
  std::vector<float> vector_;  // [dimension]: scratch
};

}  // namespace baton
