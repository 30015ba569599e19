#pragma once

#include <cstdint>
#include <memory>

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"
#include "engine/exec/gpu/plugin/fault.h"

namespace baton::gpu {

// An encoder of texts on the device: its weights, and the workspace of a step, both taken when it
// is loaded. The device outlives it.
class Encoder {
 public:
  virtual ~Encoder() = default;

  // UNIMPLEMENTED: what of the model it has no kernel for. RESOURCE_EXHAUSTED: the bytes it needs
  // and those there are.
  static Fault Load(Device& device, const baton_encoder_model& model,
                    std::unique_ptr<Encoder>* encoder);

  // Of a step: as many as the device's, or the context's, whichever is more.
  virtual int32_t tokens_max() const = 0;
  // As baton_executor_plugin::encoder_run. From one thread at a time; blocks. INVALID_ARGUMENT: a
  // text or the step does not fit the model.
  virtual Fault Run(const baton_encoder_batch& batch) = 0;
};

}  // namespace baton::gpu
