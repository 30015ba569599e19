#pragma once

#include <cuda_runtime.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <map>

#include "engine/exec/gpu/plugin/device.h"

namespace baton::gpu {

// Steps of decodes as CUDA graphs, each captured once and launched again as long as what its
// kernels are given stays the same: what changes from step to step lies in memory that they read.
// So a step of hundreds of launches is one. What cannot be captured is launched as it is; why is
// logged. From one thread; the device outlives it.
class StepGraphs {
 public:
  // What the arguments of a step's kernels depend on, beside what is fixed for the model.
  struct Key {
    int64_t rows;
    int32_t positions;
    const void* pool;  // of KV blocks
    int64_t block_bytes;
    int32_t block_tokens;
    int32_t element;
    bool deterministic;
    bool chooses;  // the tokens, on the device; else its end are logits
    auto operator<=>(const Key&) const = default;
  };

  explicit StepGraphs(Device& device) : device_(device) {}
  ~StepGraphs() { Forget(); }
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // At most so many are kept: those that were launched last, each counted in what the device has
  // in use. 0: none.
  void Start(int32_t graphs_max) { graphs_max_ = graphs_max; }
  bool wanted() const { return graphs_max_ > 0; }
  int32_t graphs_max() const { return graphs_max_; }

  // Has `launches` done on `stream`: as they are when `key` is new, so that what is loaded at its
  // first use is there, then captured, and from then on by its graph.
  Fault Run(const Key& key, const Stream& stream, const std::function<Fault()>& launches);
  // Lets go of all of them: memory that they read or write is there no more.
  void Forget();

  // For a step's rows or positions: those that a graph is made for, so that few do for all.
  static int64_t RowsFor(int64_t rows);
  static int32_t PositionsFor(int32_t positions);

 private:
  enum class State { kNew, kRan, kCaptured, kRefused };
  struct Entry {
    State state = State::kNew;
    cudaGraphExec_t graph = nullptr;
    int64_t bytes = 0;  // of the device's memory
    uint64_t used = 0;
  };

  Entry& Find(const Key& key);
  Fault Capture(const Stream& stream, const std::function<Fault()>& launches, Entry& entry);
  void Free(Entry& entry);

  Device& device_;
  int32_t graphs_max_ = 0;
  uint64_t uses_ = 0;
  bool told_ = false;  // that one could not be captured
  std::map<Key, Entry> entries_;
};

}  // namespace baton::gpu
