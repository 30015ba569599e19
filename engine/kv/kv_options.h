#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

struct KvOptions {
  int64_t memory_mb = 1024;
  std::string type = "f16";
  std::string gpu_type = "same";
  std::string fpga_type = "same";
  std::string block_tokens = "auto";
  std::string gpu_block_tokens = "auto";
  std::string fpga_block_tokens = "auto";
  bool prefix_cache = true;
  int64_t offload_memory_mb = 0;
  int64_t offload_numa_node = -1;
  std::string offload_reload = "auto";

  template <class Visitor>
  void Describe(Visitor& v) {
    v("memory_mb", memory_mb, Range{1, 1 << 20},
      "memory for the KV blocks of each model in each space that its executors work in, such as "
      "the host's and a device's, MiB");
    v("type", type, OneOf{"f32", "f16", "bf16", "int8"},
      "what keys and values are kept as: f32 exactly, f16 in half the memory, bf16 in half with "
      "f32's range, int8 in about a quarter, each a step less accurate");
    v("gpu_type", gpu_type, OneOf{"same", "f32", "f16", "bf16", "int8"},
      "what those in a GPU's memory are kept as, where that is not type: they are converted as "
      "they are handed over");
    v("fpga_type", fpga_type, OneOf{"same", "f32", "f16", "bf16", "int8"},
      "as gpu_type, of an FPGA's memory; a card takes int8 alone, which is what same means there");
    v("block_tokens", block_tokens, OneOf{"auto", "8", "16", "32", "64"},
      "positions in a block of keys and values; auto: as many as fit 2 MiB");
    v("gpu_block_tokens", gpu_block_tokens, OneOf{"auto", "8", "16", "32", "64"},
      "as block_tokens, in a GPU's memory: where that differs they are cut anew as they are handed "
      "over");
    v("fpga_block_tokens", fpga_block_tokens, OneOf{"auto", "8", "16", "32", "64"},
      "as gpu_block_tokens, in an FPGA's memory");
    v("prefix_cache", prefix_cache, AnyValue{},
      "keep the blocks of finished texts, for those that begin alike, until memory is wanted");
    v("offload_memory_mb", offload_memory_mb, Range{0, 1 << 24},
      "host memory for copies of each model's KV blocks, from which texts whose blocks have made "
      "room for others are brought back instead of computed again, MiB; 0: none");
    v("offload_numa_node", offload_numa_node, Range{-1, 1023},
      "the NUMA node that this memory is to be on, such as that of a CXL expander; -1: any");
    v("offload_reload", offload_reload, OneOf{"auto", "always"},
      "auto: a text is computed again where that is known to be sooner than bringing its blocks "
      "back, by what copies and prompts have taken; always: its blocks are brought back");
  }
};

}  // namespace baton
