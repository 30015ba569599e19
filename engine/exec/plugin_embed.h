#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "engine/base/clock.h"
#include "engine/exec/encoder_batches.h"
#include "engine/exec/executor.h"
#include "engine/exec/plugin_device.h"

namespace baton {

// Embedding by encoders on a plug-in's device: batches and steps are EncoderBatches', the forward
// pass is the plug-in's. Lexical embedders are the host's. Thread safe.
class PluginEmbed final : public EmbedSkill {
 public:
  // Whether the plug-in's devices embed.
  static bool CanWork(const baton_executor_plugin& table);
  // `clock` outlives it.
  PluginEmbed(std::shared_ptr<PluginDevice> device, int64_t queue_batches, const Clock& clock);

  std::string Unable(const Embedder& embedder) const override;
  // What is on the device is the device's own account.
  int64_t ModelBytes(const TextEncoder&) const override { return 0; }
  // An encoder that fails is not embedded by here; Unable says why.
  absl::Status LoadModel(std::shared_ptr<const TextEncoder> encoder) override;
  void UnloadModel(const TextEncoder& encoder) override;
  void Execute(EmbedBatch batch, absl::AnyInvocable<void(EmbedBatchResult)> done) override {
    batches_.Execute(std::move(batch), std::move(done));
  }

  int32_t queue_depth() const { return batches_.queue_depth(); }

 private:
  const std::shared_ptr<PluginDevice> device_;
  mutable std::mutex mutex_;
  std::map<const Embedder*, std::string> refusals_;  // mutex_

  EncoderBatches batches_;  // last: its thread uses everything above
};

}  // namespace baton
