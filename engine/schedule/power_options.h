#pragma once

#include <string>

#include "engine/base/options.h"

namespace baton {

// What devices draw, and may draw. The figures of a platform stand in for what a device does not
// tell of itself, and make estimates.
struct PowerOptions {
  std::string mode = "normal";
  double node_budget_w = 0;
  double cpu_idle_w = 40;
  double cpu_max_w = 150;
  double gpu_idle_w = 75;
  double gpu_max_w = 400;
  double fpga_idle_w = 20;
  double fpga_max_w = 60;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("mode", mode, OneOf{"standby", "normal", "peak"},
      "standby: work runs on the FPGA or the CPU only; normal: within node_budget_w; peak: without "
      "regard to it. SetPowerMode changes it until the next start");
    v("node_budget_w", node_budget_w, Range{0, 1e6},
      "watts that all devices together should draw: work that would exceed them goes to a device "
      "where it does not, if one may take it; 0: no bound");
    v("cpu_idle_w", cpu_idle_w, Range{0, 1e5}, "watts of an idle CPU that does not tell");
    v("cpu_max_w", cpu_max_w, Range{0, 1e5}, "watts of a busy one");
    v("gpu_idle_w", gpu_idle_w, Range{0, 1e5}, "watts of an idle GPU that does not tell");
    v("gpu_max_w", gpu_max_w, Range{0, 1e5}, "watts of a busy one");
    v("fpga_idle_w", fpga_idle_w, Range{0, 1e5}, "watts of an idle FPGA that does not tell");
    v("fpga_max_w", fpga_max_w, Range{0, 1e5}, "watts of a busy one");
  }
};

}  // namespace baton
