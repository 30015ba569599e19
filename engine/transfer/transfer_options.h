#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

struct TransferOptions {
  int64_t lease_ms = 30000;
  int64_t handoffs_max = 4096;
  int64_t transfer_threshold_bytes = 65536;
  int64_t host_copies_max = 1024;
  int64_t staging_mb = 64;
  int64_t staging_timeout_ms = 10000;
  int64_t ahead_kb_min = 1024;
  std::string on_failure = "recompute";

  template <class Visitor>
  void Describe(Visitor& v) {
    v("lease_ms", lease_ms, Range{100, 3600000},
      "a handoff that nobody renews for this long is released; renewed each sixth of it");
    v("handoffs_max", handoffs_max, Range{1, 1000000}, "handoffs prepared and not yet released");
    v("transfer_threshold_bytes", transfer_threshold_bytes, Range{0, 1 << 20},
      "copies between host spaces of fewer bytes are made at once, by the engine's loop, rather "
      "than handed to the copying thread");
    v("host_copies_max", host_copies_max, Range{1, 1000000},
      "copies between host spaces that wait for the copying thread");
    v("staging_mb", staging_mb, Range{0, 1 << 20},
      "host memory, MiB, through which KV goes between devices that have no other path, and to or "
      "from one whose KV is of another type or block size; 0: it does not");
    v("staging_timeout_ms", staging_timeout_ms, Range{1, 3600000},
      "a copy into that memory or out of it that takes longer is given up, and the handoff fails");
    v("ahead_kb_min", ahead_kb_min, Range{-1, 1 << 20},
      "KV blocks of a prompt that decodes in another memory are copied there while the rest of it "
      "is computed, so many KiB at a time; 0: each block as it is full; -1: none before all is "
      "computed");
    v("on_failure", on_failure, OneOf{"fail", "recompute", "local"},
      "what becomes of a text that has begun when its handoff or an executor fails: it ends with "
      "UNAVAILABLE, is computed again where route.fallback allows and goes on, or decodes where it "
      "was prefilled");
  }
};

}  // namespace baton
