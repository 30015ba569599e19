#pragma once

#include <cstdint>

#include "engine/base/options.h"

namespace baton {

// When a device is spared, and when it is believed again.
struct HealthOptions {
  double temperature_c_max = 85;
  double temperature_c_cool = 80;
  double memory_percent_max = 95;
  double memory_percent_free = 90;
  double error_percent_max = 10;
  int64_t error_batches_min = 10;
  int64_t error_window_ms = 10000;
  int64_t probe_ms = 1000;
  int64_t probe_ms_max = 60000;
  int64_t probe_batches = 3;
  double cpu_share_capacity_percent = 50;
  double cpu_share_capacity_percent_off = 60;
  int64_t suspect_ms = 1000;
  int64_t stall_ms = 10000;
  int64_t cpu_stall_ms = 0;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("temperature_c_max", temperature_c_max, Range{0, 200},
      "a device hotter than this, in degrees Celsius, gets half of its work");
    v("temperature_c_cool", temperature_c_cool, Range{0, 200},
      "until it is as cool as this; at most temperature_c_max");
    v("memory_percent_max", memory_percent_max, Range{1, 100},
      "a device with more of its memory used than this gets no new work");
    v("memory_percent_free", memory_percent_free, Range{0, 100},
      "until so little is used; at most memory_percent_max");
    v("error_percent_max", error_percent_max, Range{0, 100},
      "a device that fails at more of its batches than this is left alone, and then probed");
    v("error_batches_min", error_batches_min, Range{1, 1e6},
      "batches within error_window_ms that this needs");
    v("error_window_ms", error_window_ms, Range{100, 3600000}, "for error_percent_max");
    v("probe_ms", probe_ms, Range{1, 3600000},
      "a failing device is tried again after so long, twice as long each time it fails again");
    v("probe_ms_max", probe_ms_max, Range{1, 86400000}, "but not longer than this");
    v("probe_batches", probe_batches, Range{1, 1000},
      "batches, one at a time, that it must complete then before it gets all of its work");
    v("cpu_share_capacity_percent", cpu_share_capacity_percent, Range{0, 100},
      "where a device has less of its capacity than this, the CPU gets what it lacks");
    v("cpu_share_capacity_percent_off", cpu_share_capacity_percent_off, Range{0, 100},
      "until it has so much; at least cpu_share_capacity_percent");
    v("suspect_ms", suspect_ms, Range{0, 86400000},
      "a device that completes nothing for so long, and for 20 times what the longest of its "
      "batches was expected to take, gets no new work that another may take, and texts that wait "
      "for its memory go elsewhere, too, as the fallback allows; 0: never");
    v("stall_ms", stall_ms, Range{0, 86400000},
      "a device that completes nothing for so long, and for 20 times what the longest of its "
      "batches was expected to take, is fenced: its work is done elsewhere where the fallback "
      "allows that; 0: never");
    v("cpu_stall_ms", cpu_stall_ms, Range{0, 86400000},
      "as stall_ms, of the CPU executor, which turns readiness off but is not fenced; 0: never");
  }
};

}  // namespace baton
