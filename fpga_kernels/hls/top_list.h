#pragma once

// The best of a stream, as hardware keeps them: cells that each compare with the newcomer in the
// same cycle. The order is total: the higher score first, of equal ones the lower id.

#include <stdint.h>

namespace baton {
namespace fpga {

constexpr uint32_t kNoId = UINT32_MAX;

struct Scored {
  int32_t score;
  uint32_t id;  // kNoId: an empty cell, behind all else
};

inline bool Before(const Scored& a, const Scored& b) {
#pragma HLS inline
  if (a.id == kNoId || b.id == kNoId) return a.id != kNoId;
  return a.score != b.score ? a.score > b.score : a.id < b.id;
}

template <int cell_count>
struct TopList {
  Scored cells[cell_count];  // the best first
};

template <int cell_count>
void Clear(TopList<cell_count>& list) {
  for (int i = 0; i < cell_count; ++i) {
#pragma HLS unroll
    list.cells[i].score = INT32_MIN;
    list.cells[i].id = kNoId;
  }
}

// Keeps the best `limit`, at most cell_count. The ids of a list are distinct.
template <int cell_count>
void Insert(TopList<cell_count>& list, int limit, const Scored& item) {
#pragma HLS inline
  for (int i = cell_count - 1; i >= 0; --i) {
#pragma HLS unroll
    if (i >= limit) continue;
    if (i > 0 && Before(item, list.cells[i - 1])) {
      list.cells[i] = list.cells[i - 1];
    } else if (Before(item, list.cells[i])) {
      list.cells[i] = item;
    }
  }
}

}  // namespace fpga
}  // namespace baton
