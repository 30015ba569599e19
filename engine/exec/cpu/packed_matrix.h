#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/base/huge_arena.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/thread_team.h"
#include "engine/model/matrix_view.h"

namespace baton {

// A quantised matrix rearranged for integer dot products: sixteen rows side by side, so that one
// register holds four columns of each. Same weights, same scales; see kernels.h for the layout.
// Immutable; movable.
class PackedMatrix {
 public:
  // Empty: no packed form.
  PackedMatrix() = default;
  // Empty where the type has no packed form. Uses the team and the arena while it runs.
  PackedMatrix(const MatrixView& w, ThreadTeam& team, HugeArena& arena);
  // What the packed form of `w` takes; 0: it has none.
  static int64_t Bytes(const MatrixView& w);

  bool empty() const { return data_ == nullptr; }
  PackedWeights weights() const { return weights_; }

 private:
  std::shared_ptr<const std::byte[]> data_;
  PackedWeights weights_ = {};
};

}  // namespace baton
