#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

struct ThreadPlacementOptions {
  std::string mode = "auto";
  int64_t device_cores = 1;
  std::string cpus;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("mode", mode, OneOf{"auto", "off"},
      "auto: where the machine has several NUMA nodes, each device's threads run near it, and the "
      "CPU executor's are spread over the nodes; off: threads run where the system puts them");
    v("device_cores", device_cores, Range{0, 64},
      "cores near a GPU or FPGA that are for its threads alone; 0: they share with all others");
    v("cpus", cpus, AnyValue{},
      "where threads run instead, such as \"gpu=0-1;cpu=2-15;application=16-19\": processors, as "
      "Linux numbers them, of a platform or device by name, or of all other threads");
  }
};

}  // namespace baton
