#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/exec/executor.h"
#include "engine/exec/forward_item.h"
#include "engine/exec/plugin_device.h"
#include "engine/kv/kv_layout.h"
#include "engine/model/language_model.h"
#include "engine/model/logit_changes.h"

namespace baton {

// A model on a plug-in's device, and its forward pass there. Not thread safe.
class PluginForward {
 public:
  // Blocks. UNIMPLEMENTED: the device cannot run such a model. RESOURCE_EXHAUSTED: it has no room.
  static absl::StatusOr<std::unique_ptr<PluginForward>> Load(
      std::shared_ptr<PluginDevice> device, std::shared_ptr<const LanguageModel> model);

  // As LlmSkill's.
  std::vector<DecodeShape> WarmUpShapes() const;

  // Of the item: the logits, [vocabulary] f32, valid during the call; or in their place, where the
  // item allows it, the token chosen.
  using OnLogits = absl::FunctionRef<void(size_t item, std::span<const float> logits)>;
  using OnToken = absl::FunctionRef<void(size_t item, ChosenToken chosen)>;
  // Keys and values of so many first layers are in the blocks; from any thread. Nothing: nobody
  // asks.
  using OnLayers = std::optional<absl::FunctionRef<void(int32_t layers)>>;

  // Blocks. UNAVAILABLE: the device is lost.
  absl::Status Run(const KvLayout& layout, std::span<const ForwardItem> items, OnLogits on_logits,
                   OnToken on_token, OnLayers on_layers = std::nullopt);

 private:
  struct Unload {
    std::shared_ptr<PluginDevice> device;
    void operator()(baton_loaded_model* loaded) const {
      device->table().model_unload(device->handle(), loaded);
    }
  };
  PluginForward(std::shared_ptr<PluginDevice> device, std::shared_ptr<const LanguageModel> model)
      : device_(std::move(device)), model_(std::move(model)) {}

  const std::shared_ptr<PluginDevice> device_;
  const std::shared_ptr<const LanguageModel> model_;  // whose file the plug-in may read
  std::unique_ptr<baton_loaded_model, Unload> loaded_;
  // An item's changes of logits as the plug-in reads them.
  struct Changes {
    std::vector<baton_token_value> biases;
    std::vector<int32_t> repeated;
    std::vector<baton_token_value> penalties;
    baton_logit_changes lists;
  };
  // Whether the plug-in can choose as the item allows.
  bool Chooses(const ForwardItem& item) const;
  static void Describe(const LogitChanges& from, Changes* to);
  // Reused between calls.
  std::vector<baton_llm_item> items_;
  std::vector<baton_sampling> samplings_;
  std::vector<Changes> changes_;  // the first so many in use
};

}  // namespace baton
