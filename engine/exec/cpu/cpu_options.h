#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

struct CpuOptions {
  int64_t llm_threads = 0;
  int64_t llm_queue_batches = 16;
  int64_t step_tokens_max = 512;  // sizes the workspace; not a key: schedule.step_tokens_max
  int64_t search_threads = 0;
  int64_t search_queue_batches = 4096;  // who must not wait is refused on arrival (Admission)
  int64_t embed_threads = 0;
  int64_t embed_queue_batches = 256;
  int64_t cluster_queue_batches = 4;
  int64_t cluster_sample_mb = 256;
  std::string simd = "auto";
  bool warm_up = true;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("llm_threads", llm_threads, Range{0, 1024},
      "threads of the language model's matrix work; 0: one per core");
    v("llm_queue_batches", llm_queue_batches, Range{1, 4096},
      "language model batches waiting or running at most");
    v("search_threads", search_threads, Range{0, 1024}, "search threads; 0: one per core");
    v("search_queue_batches", search_queue_batches, Range{1, 65536},
      "search batches waiting at most");
    v("embed_threads", embed_threads, Range{0, 1024}, "embedding threads; 0: one per core");
    v("embed_queue_batches", embed_queue_batches, Range{1, 65536},
      "embedding batches waiting at most");
    v("cluster_queue_batches", cluster_queue_batches, Range{1, 4096},
      "k-means requests waiting at most; one runs at a time");
    v("cluster_sample_mb", cluster_sample_mb, Range{1, 1 << 20},
      "points that k-means trains with take so much memory at most, MiB");
    v("simd", simd, OneOf{"auto", "baseline", "avx2", "avx512", "avx512_vnni", "amx"},
      "instruction set of the kernels; auto: the best this machine has");
    v("warm_up", warm_up, AnyValue{},
      "before a model is ready, run a short prompt, two tokens, or a text through it, so that no "
      "request waits while weights are read from the disk and threads started");
  }
};

}  // namespace baton
