#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

struct GpuOptions {
  std::string enabled = "auto";
  std::string plugin;
  std::string activations = "bf16";
  int64_t llm_queue_batches = 16;
  int64_t step_tokens_max = 512;  // sizes the workspace; not a key: schedule.step_tokens_max

  template <class Visitor>
  void Describe(Visitor& v) {
    v("enabled", enabled, OneOf{"auto", "off"},
      "auto: use the GPU plug-in where it finds a device; off: never load it");
    v("plugin", plugin, AnyValue{},
      "path of libbaton_gpu.so; empty: beside the program, then in ../lib/baton");
    v("activations", activations, OneOf{"bf16", "f32"},
      "what language models are computed in, and weights that are not quantised kept in: bf16 on "
      "tensor cores; f32 as exactly as on the CPU, in twice the memory and many times as long");
    v("llm_queue_batches", llm_queue_batches, Range{1, 4096},
      "language model batches waiting or running at most");
  }
};

}  // namespace baton
