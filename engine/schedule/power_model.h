#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/clock.h"
#include "engine/request/work.h"
#include "engine/schedule/power_options.h"

namespace baton {

enum class PowerMode : uint8_t { kStandby, kNormal, kPeak };
std::string_view Name(PowerMode mode);
bool Parse(std::string_view name, PowerMode* mode);

// What one device draws.
struct PowerFigures {
  double idle_w = 0;
  double max_w = 0;
};

// An amount of energy, and whether it was measured or follows from figures.
struct Energy {
  double joules = 0;
  bool measured = false;
};

// What the devices of this node draw, and what that rules out. A device's power is its idle power
// and its load's share of the rest, unless it measures its own. Pure, not thread safe.
class PowerModel {
 public:
  // `devices`: their platforms and figures; where these are 0, the options' of the platform.
  struct Device {
    Platform platform = Platform::kCpu;
    PowerFigures figures;
  };
  PowerModel(const PowerOptions& options, const std::vector<Device>& devices);

  // How a device is now; `measured_w` where it tells. Calls a while apart.
  void Look(int device, double load, std::optional<double> measured_w);

  PowerMode mode() const { return mode_; }
  void set_mode(PowerMode mode) { mode_ = mode; }

  double Watts(int device) const;      // now
  bool Measured(int device) const;     // whether Watts is
  double BusyWatts(int device) const;  // with work on it
  double NodeWatts() const;            // of all devices now
  // Why the mode rules a device out; empty where it does not.
  std::string Refusal(int device) const;
  // Why work should rather go elsewhere, by its own budget and the node's; empty: no reason.
  std::string OverBudget(int device, std::optional<double> request_budget_w) const;
  // What work that ran so long drew, one of `sharing` that ran at once.
  Energy Of(int device, TimeUs run_us, int sharing) const;

 private:
  struct State {
    Device device;
    double load = 0;
    std::optional<double> measured_w;
  };
  const double node_budget_w_;
  PowerMode mode_ = PowerMode::kNormal;
  std::vector<State> states_;
};

}  // namespace baton
