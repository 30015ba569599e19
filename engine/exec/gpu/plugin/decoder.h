#pragma once

#include <memory>

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"
#include "engine/exec/gpu/plugin/fault.h"

namespace baton::gpu {

// A language model on the device: its weights, and the workspace of a step of the device's
// step_tokens_max tokens, both taken when it is loaded. The device outlives it.
class Decoder {
 public:
  virtual ~Decoder() = default;

  // UNIMPLEMENTED: what of the model it has no kernel for. RESOURCE_EXHAUSTED: the bytes it needs
  // and those there are.
  static Fault Load(Device& device, const baton_llm_model& model,
                    std::unique_ptr<Decoder>* decoder);

  // The forward pass over a step's tokens, as baton_executor_plugin::llm_run. From one thread at a
  // time; blocks. INVALID_ARGUMENT: the step does not fit the model; nothing was written then.
  // RESOURCE_EXHAUSTED: of this step.
  virtual Fault Run(const baton_llm_batch& batch) = 0;

  // As baton_executor_plugin::warm_up_step: those that become graphs, shortest sequences first, and
  // without graphs the numbers of sequences whose products cuBLAS looks for a way to compute.
  virtual bool WarmUpStep(uint32_t index, int32_t* sequences, int32_t* positions) const = 0;
};

}  // namespace baton::gpu
