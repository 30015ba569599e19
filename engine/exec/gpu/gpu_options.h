#pragma once

#include <string>

#include "engine/base/options.h"

namespace baton {

struct GpuOptions {
  std::string enabled = "auto";
  std::string plugin;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("enabled", enabled, OneOf{"auto", "off"},
      "auto: use the GPU plug-in where it finds a device; off: never load it");
    v("plugin", plugin, AnyValue{},
      "path of libbaton_gpu.so; empty: beside the program, then in ../lib/baton");
  }
};

}  // namespace baton
