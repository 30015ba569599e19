#include "engine/exec/plugin_embed.h"

#include <cstddef>
#include <span>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/exec/plugin_encoder.h"

namespace baton {

bool PluginEmbed::CanWork(const baton_executor_plugin& table) {
  constexpr size_t kEmbedTableBytes =
      offsetof(baton_executor_plugin, encoder_run) + sizeof(baton_executor_plugin::encoder_run);
  return PluginDevice::CanWork(table) && table.struct_size >= kEmbedTableBytes &&
         table.encoder_run != nullptr;
}

PluginEmbed::PluginEmbed(std::shared_ptr<PluginDevice> device, int64_t queue_batches,
                         const Clock& clock)
    : device_(std::move(device)),
      batches_({.device = device_->options().label,
                .queue_batches = queue_batches,
                .warm_up = device_->options().warm_up},
               clock) {}

std::string PluginEmbed::Unable(const Embedder& embedder) const {
  const std::string& label = device_->options().label;
  if (embedder.kind() == Embedder::Kind::kLexical) {
    return StrCat("lexical embedders run on the host, not on the ", label);
  }
  if (batches_.Has(embedder)) return "";
  const std::lock_guard lock(mutex_);
  const auto found = refusals_.find(&embedder);
  return found == refusals_.end() ? StrCat("model ", embedder.name(), " is not on the ", label)
                                  : found->second;
}

absl::Status PluginEmbed::LoadModel(std::shared_ptr<const TextEncoder> encoder) {
  if (batches_.Has(*encoder)) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<EncoderPass>> pass = PluginEncoder::Load(device_, encoder);
  if (!pass.ok()) {
    const std::lock_guard lock(mutex_);
    refusals_.insert_or_assign(encoder.get(), std::string(pass.status().message()));
    return pass.status();
  }
  batches_.Add(std::move(encoder), *std::move(pass));
  return absl::OkStatus();
}

void PluginEmbed::UnloadModel(const TextEncoder& encoder) {
  batches_.Remove(encoder);
  const std::lock_guard lock(mutex_);
  refusals_.erase(&encoder);
}

}  // namespace baton
