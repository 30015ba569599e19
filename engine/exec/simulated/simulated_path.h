#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "engine/exec/simulated/fault_script.h"
#include "engine/exec/simulated/simulated_device.h"
#include "engine/exec/simulated/simulation_options.h"
#include "engine/transfer/copy_path.h"

namespace baton {

// Copies between two simulated spaces, or one and the host, as fast as configured, one copy after
// another. It is as well as the devices at its ends, and as its own script has it. The bytes are
// copied when the time is over, by the timeline's thread.
class SimulatedPath final : public CopyPath {
 public:
  // `source` and `destination` are the devices whose spaces it connects; null: the host. The
  // timeline outlives it.
  SimulatedPath(SimulatedPathOptions options, std::shared_ptr<SimulatedDevice> source,
                std::shared_ptr<SimulatedDevice> destination, Timeline& timeline);
  ~SimulatedPath() override;

  const std::string& name() const override { return options_.name; }
  bool Connects(const MemorySpace& source, const MemorySpace& destination) const override;
  bool Converts() const override { return true; }
  // UNAVAILABLE: an end is lost. INTERNAL: the script fails it.
  absl::StatusOr<Ticket> Post(const Job& job) override;
  absl::StatusOr<bool> Poll(Ticket ticket) override;
  void Cancel(Ticket ticket) override;

  void Inject(SimulatedFault fault, double factor);
  size_t open_count() const;

 private:
  struct State;
  const SimulatedPathOptions options_;
  const std::shared_ptr<State> state_;  // the timeline may hold it longer
};

}  // namespace baton
