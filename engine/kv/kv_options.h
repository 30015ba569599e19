#pragma once

#include <cstdint>

#include "engine/base/options.h"

namespace baton {

struct KvOptions {
  int64_t memory_mb = 1024;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("memory_mb", memory_mb, Range{1, 1 << 20},
      "host memory for the KV blocks of each model, MiB");
  }
};

}  // namespace baton
