#pragma once

#include <cstdint>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"

namespace baton::gpu {

// Tells of a batch whose layers are done while those behind them still run: on a stream of its own,
// so that what computes waits for nobody. One thread's.
class LayerProgress {
 public:
  explicit LayerProgress(Device& device) : device_(device) {}
  ~LayerProgress();
  LayerProgress(const LayerProgress&) = delete;
  LayerProgress& operator=(const LayerProgress&) = delete;

  // Before a batch of a model with so many layers; nothing is told where nobody asks.
  Fault Begin(const baton_llm_batch& batch, size_t layers);
  // `layers` of them are asked for on `stream`: tells of it when they are done.
  Fault Follow(cudaStream_t stream, int32_t layers);
  // Whether somebody asks, of the batch at hand.
  bool asked() const { return on_layers_ != nullptr; }
  // Until all has been told, however the batch went: what Begin was given is used no more.
  Fault End();

 private:
  struct Call {
    const LayerProgress* of = nullptr;
    int32_t layers = 0;
  };

  Device& device_;
  Stream stream_;
  cudaEvent_t done_ = nullptr;
  void* context_ = nullptr;
  void (*on_layers_)(void* context, int32_t layers) = nullptr;  // null: nobody asks
  std::vector<Call> calls_;                                     // what the device's calls point to
};

}  // namespace baton::gpu
