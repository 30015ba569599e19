#pragma once

#include <string>

#include "engine/base/options.h"

namespace baton {

struct FpgaOptions {
  std::string enabled = "auto";
  std::string plugin;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("enabled", enabled, OneOf{"auto", "off"},
      "auto: use the FPGA plug-in where it finds a device; off: never load it");
    v("plugin", plugin, AnyValue{},
      "path of libbaton_fpga.so; empty: beside the program, then in ../lib/baton");
  }
};

}  // namespace baton
