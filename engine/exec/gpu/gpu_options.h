#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

struct GpuOptions {
  std::string enabled = "auto";
  std::string plugin;
  int64_t devices = 0;
  std::string activations = "bf16";
  int64_t llm_queue_batches = 16;
  int64_t embed_queue_batches = 256;
  int64_t decode_graphs = 64;
  bool programmatic_launches = false;
  bool warm_up = true;
  int64_t search_memory_mb = 8192;
  int64_t search_threads = 2;
  int64_t search_queue_batches = 256;
  bool build_graphs = true;
  bool build_inverted_files = true;
  int64_t cluster_sample_mb = 256;
  int64_t step_tokens_max = 512;  // sizes the workspace; not a key: schedule.step_tokens_max

  template <class Visitor>
  void Describe(Visitor& v) {
    v("enabled", enabled, OneOf{"auto", "off"},
      "auto: use the GPU plug-in where it finds a device; off: never load it");
    v("plugin", plugin, AnyValue{},
      "path of libbaton_gpu.so; empty: beside the program, then in ../lib/baton");
    v("devices", devices, Range{0, 16},
      "GPUs that are used, the first so many, each with models and vectors of its own; 0: all");
    v("activations", activations, OneOf{"bf16", "f32"},
      "what language models and encoders are computed in, and weights that are not quantised kept "
      "in: bf16 on "
      "tensor cores; f32 as exactly as on the CPU, in twice the memory and many times as long");
    v("llm_queue_batches", llm_queue_batches, Range{1, 4096},
      "language model batches waiting or running at most");
    v("embed_queue_batches", embed_queue_batches, Range{1, 1 << 16},
      "batches of texts to embed or score, waiting or running at most");
    v("decode_graphs", decode_graphs, Range{0, 1024},
      "steps of decodes kept as CUDA graphs, of each model: one for each number of sequences and "
      "of positions, both rounded up, that was launched lately; 0: every step is launched kernel "
      "by kernel");
    v("programmatic_launches", programmatic_launches, AnyValue{},
      "kernels of a step that is a CUDA graph may begin while those before them end (programmatic "
      "dependent launch, compute capability 9.0 and later); decode_graphs must not be 0");
    v("warm_up", warm_up, AnyValue{},
      "before a model is ready, run steps of the numbers of sequences and positions that decodes "
      "will have, so that no request waits while kernels are loaded and graphs captured");
    v("search_memory_mb", search_memory_mb, Range{0, 1 << 24},
      "device memory that vectors and inverted files may take, MiB, as searches ask for them: what "
      "was not searched "
      "for the longest makes room; larger collections are searched elsewhere; 0: the GPU does not "
      "search");
    v("search_threads", search_threads, Range{1, 64},
      "threads that score what the GPU found: while it is at one batch, others are scored");
    v("search_queue_batches", search_queue_batches, Range{1, 1 << 16},
      "search batches waiting at most");
    v("build_graphs", build_graphs, AnyValue{},
      "link the graphs of segments on the GPU; where it cannot, and with false, the CPU does");
    v("build_inverted_files", build_inverted_files, AnyValue{},
      "train the lists of inverted files and make product codes on the GPU; where it cannot, and "
      "with false, the CPU does");
    v("cluster_sample_mb", cluster_sample_mb, Range{0, 1 << 20},
      "what k-means may train with at most, MiB, on the host and on the GPU; 0: the GPU does not "
      "cluster");
  }
};

}  // namespace baton
