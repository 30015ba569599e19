#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/exec/encoder_pass.h"
#include "engine/exec/plugin_device.h"
#include "engine/model/text_encoder.h"

namespace baton {

// An encoder on a plug-in's device, and its forward pass there. Not thread safe.
class PluginEncoder final : public EncoderPass {
 public:
  // Blocks. UNIMPLEMENTED: the device cannot run such a model. RESOURCE_EXHAUSTED: it has no room.
  static absl::StatusOr<std::unique_ptr<EncoderPass>> Load(
      std::shared_ptr<PluginDevice> device, std::shared_ptr<const TextEncoder> encoder);

  int32_t step_tokens_max() const override { return tokens_max_; }
  // UNAVAILABLE, too: the device is lost.
  absl::Status Run(std::span<const EncoderText> texts,
                   std::vector<std::vector<float>>* embeddings) override;

 private:
  struct Unload {
    std::shared_ptr<PluginDevice> device;
    void operator()(baton_loaded_encoder* loaded) const {
      device->table().encoder_unload(device->handle(), loaded);
    }
  };
  PluginEncoder(std::shared_ptr<PluginDevice> device, std::shared_ptr<const TextEncoder> encoder)
      : device_(std::move(device)), encoder_(std::move(encoder)) {}

  const std::shared_ptr<PluginDevice> device_;
  const std::shared_ptr<const TextEncoder> encoder_;  // whose file the plug-in may read
  std::unique_ptr<baton_loaded_encoder, Unload> loaded_;
  int32_t tokens_max_ = 0;
};

}  // namespace baton
