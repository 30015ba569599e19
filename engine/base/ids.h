#pragma once

#include <compare>
#include <cstdint>
#include <functional>

#include "absl/numeric/int128.h"

namespace baton {

// An integer that cannot be mixed up with another kind of integer.
template <class Tag, class T>
class StrongId {
 public:
  using Value = T;
  constexpr StrongId() = default;
  constexpr explicit StrongId(T value) : value_(value) {}
  constexpr T value() const { return value_; }
  friend constexpr auto operator<=>(StrongId, StrongId) = default;

 private:
  T value_{};
};

using RequestId = StrongId<struct RequestIdTag, uint64_t>;    // one per submitted request
using SequenceId = StrongId<struct SequenceIdTag, uint64_t>;  // one per generated sequence
using SlotId = StrongId<struct SlotIdTag, int32_t>;    // an executor's per-sequence registers
using BlockId = StrongId<struct BlockIdTag, int32_t>;  // a KV block within its pool
using TokenId = int32_t;                               // index into a vocabulary

// Chosen by the client: a number of 64 bits, or a UUID, whose 16 bytes are a big-endian number that
// is larger. So one order has both, numbers first. See point_id.h.
using PointId = absl::uint128;

}  // namespace baton

template <class Tag, class T>
struct std::hash<baton::StrongId<Tag, T>> {
  size_t operator()(baton::StrongId<Tag, T> id) const { return std::hash<T>()(id.value()); }
};
