#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

struct FpgaOptions {
  std::string enabled = "auto";
  std::string plugin;
  std::string xclbin;
  int64_t devices = 1;
  int64_t bank_memory_mb = 0;
  int64_t run_timeout_ms = 10000;
  int64_t llm_queue_batches = 16;
  int64_t search_memory_mb = 1024;
  int64_t search_threads = 4;
  int64_t search_queue_batches = 256;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("enabled", enabled, OneOf{"auto", "emulate", "off"},
      "auto: use the FPGA plug-in where it finds a card; emulate: use it with a card that is not "
      "there but computed, which is for rehearsals and says emulated everywhere; off: never load "
      "it");
    v("plugin", plugin, AnyValue{},
      "path of libbaton_fpga.so; empty: beside the program, then in ../lib/baton");
    v("xclbin", xclbin, AnyValue{},
      "path of what the card is to be loaded with; empty: with emulate, the emulation's own");
    v("devices", devices, Range{0, 64}, "use so many of the cards there are; 0: all");
    v("bank_memory_mb", bank_memory_mb, Range{0, 1 << 20},
      "memory of each bank of a card that is used, MiB, of which this machine's memory has a copy; "
      "0: all");
    v("run_timeout_ms", run_timeout_ms, Range{1, 3600000},
      "a token or search that takes longer on a card has failed, and the card is reset, ms");
    v("llm_queue_batches", llm_queue_batches, Range{1, 4096},
      "language model batches waiting or running at most");
    v("search_memory_mb", search_memory_mb, Range{0, 1 << 20},
      "card memory that graphs of segments may take, MiB, an equal part of each search unit's "
      "bank, "
      "as searches ask for them: what was not searched for the longest makes room; segments that "
      "are larger are searched elsewhere; 0: the FPGA does not search");
    v("search_threads", search_threads, Range{1, 64},
      "threads that wait for the card's search units and score what these found; graphs come by "
      "a thread of their own");
    v("search_queue_batches", search_queue_batches, Range{1, 1 << 16},
      "search batches waiting at most");
  }
};

}  // namespace baton
