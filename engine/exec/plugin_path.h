#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/exec/plugin_device.h"
#include "engine/transfer/copy_path.h"

namespace baton {

// Copies of blocks between the host's memory and a plug-in's device, one way, by the plug-in.
class PluginPath final : public CopyPath {
 public:
  enum class Direction { kToDevice, kFromDevice };
  PluginPath(std::shared_ptr<PluginDevice> device, Direction direction);

  const std::string& name() const override { return name_; }
  bool Connects(const MemorySpace& source, const MemorySpace& destination) const override;
  bool Packs(const KvConversion& conversion) const override;
  absl::StatusOr<Ticket> Post(const Job& job) override;
  absl::StatusOr<bool> Poll(Ticket ticket) override;
  std::optional<TimeUs> CopyUs(Ticket ticket) const override;
  void Cancel(Ticket ticket) override;

 private:
  absl::StatusOr<Ticket> PostPacked(const Job& job);

  const std::shared_ptr<PluginDevice> device_;
  const Direction direction_;
  const std::string name_;
  Ticket completed_ = 0;  // the last one that Poll said to be complete
  TimeUs completed_us_ = 0;
};

}  // namespace baton
