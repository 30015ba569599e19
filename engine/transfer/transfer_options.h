#pragma once

#include <cstdint>

#include "engine/base/options.h"

namespace baton {

struct TransferOptions {
  int64_t lease_ms = 30000;
  int64_t handoffs_max = 4096;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("lease_ms", lease_ms, Range{100, 3600000},
      "a handoff that nobody renews for this long is released; renewed each sixth of it");
    v("handoffs_max", handoffs_max, Range{1, 1000000}, "handoffs prepared and not yet released");
  }
};

}  // namespace baton
