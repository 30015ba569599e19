#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

struct TransferOptions {
  int64_t lease_ms = 30000;
  int64_t handoffs_max = 4096;
  std::string on_failure = "recompute";

  template <class Visitor>
  void Describe(Visitor& v) {
    v("lease_ms", lease_ms, Range{100, 3600000},
      "a handoff that nobody renews for this long is released; renewed each sixth of it");
    v("handoffs_max", handoffs_max, Range{1, 1000000}, "handoffs prepared and not yet released");
    v("on_failure", on_failure, OneOf{"fail", "recompute", "local"},
      "what becomes of a text that has begun when its handoff or an executor fails: it ends with "
      "UNAVAILABLE, is computed again elsewhere and goes on, or decodes where it was prefilled");
  }
};

}  // namespace baton
