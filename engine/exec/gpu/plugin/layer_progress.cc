#include "engine/exec/gpu/plugin/layer_progress.h"

#include <utility>

namespace baton::gpu {

LayerProgress::~LayerProgress() {
  if (done_ != nullptr) cudaEventDestroy(done_);
}

Fault LayerProgress::Begin(const baton_llm_batch& batch, size_t layers) {
  on_layers_ = BATON_BATCH_HAS(&batch, on_layers) ? batch.on_layers : nullptr;
  if (on_layers_ == nullptr) return {};
  context_ = batch.context;
  calls_.clear();
  calls_.reserve(layers);
  if (done_ != nullptr) return {};
  BATON_GPU_TRY(stream_.Create(device_));
  return device_.Check(cudaEventCreateWithFlags(&done_, cudaEventDisableTiming), "cudaEventCreate");
}

Fault LayerProgress::Follow(cudaStream_t stream, int32_t layers) {
  if (on_layers_ == nullptr) return {};
  calls_.push_back({.of = this, .layers = layers});
  BATON_GPU_TRY(device_.Check(cudaEventRecord(done_, stream), "cudaEventRecord"));
  // Waits for what the event stands for now, so that it may be recorded again.
  BATON_GPU_TRY(device_.Check(cudaStreamWaitEvent(stream_.get(), done_, 0), "cudaStreamWaitEvent"));
  return device_.Check(cudaLaunchHostFunc(
                           stream_.get(),
                           [](void* call) {
                             const Call& told = *static_cast<const Call*>(call);
                             told.of->on_layers_(told.of->context_, told.layers);
                           },
                           &calls_.back()),
                       "cudaLaunchHostFunc");
}

Fault LayerProgress::End() {
  if (std::exchange(on_layers_, nullptr) == nullptr || calls_.empty()) return {};
  return stream_.Wait();
}

}  // namespace baton::gpu
