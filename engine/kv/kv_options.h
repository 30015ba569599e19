#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

struct KvOptions {
  int64_t memory_mb = 1024;
  std::string type = "f16";
  bool prefix_cache = true;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("memory_mb", memory_mb, Range{1, 1 << 20},
      "host memory for the KV blocks of each model, MiB");
    v("type", type, OneOf{"f32", "f16", "bf16", "int8"},
      "what keys and values are kept as: f32 exactly, f16 in half the memory, bf16 in half with "
      "f32's range, int8 in about a quarter, each a step less accurate");
    v("prefix_cache", prefix_cache, AnyValue{},
      "keep the blocks of finished texts, for those that begin alike, until memory is wanted");
  }
};

}  // namespace baton
