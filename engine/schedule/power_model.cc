#include "engine/schedule/power_model.h"

#include <algorithm>
#include <array>

#include "engine/base/check.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr std::array<std::string_view, 3> kModes = {"standby", "normal", "peak"};

PowerFigures Configured(const PowerOptions& options, Platform platform) {
  switch (platform) {
    case Platform::kGpu:
      return {options.gpu_idle_w, options.gpu_max_w};
    case Platform::kFpga:
      return {options.fpga_idle_w, options.fpga_max_w};
    case Platform::kCpu:
      break;
  }
  return {options.cpu_idle_w, options.cpu_max_w};
}

}  // namespace

std::string_view Name(PowerMode mode) { return kModes[static_cast<size_t>(mode)]; }

bool Parse(std::string_view name, PowerMode* mode) {
  const auto found = std::find(kModes.begin(), kModes.end(), name);
  if (found == kModes.end()) return false;
  *mode = static_cast<PowerMode>(found - kModes.begin());
  return true;
}

PowerModel::PowerModel(const PowerOptions& options, const std::vector<Device>& devices)
    : node_budget_w_(options.node_budget_w) {
  BATON_CHECK(Parse(options.mode, &mode_));  // the options' OneOf
  for (const Device& device : devices) {
    State& state = states_.emplace_back(State{.device = device, .measured_w = {}});
    PowerFigures& figures = state.device.figures;
    const PowerFigures configured = Configured(options, device.platform);
    if (figures.max_w <= 0) figures = configured;
    figures.max_w = std::max(figures.max_w, figures.idle_w);
  }
}

void PowerModel::Look(int device, double load, std::optional<double> measured_w) {
  State& state = states_[static_cast<size_t>(device)];
  state.load = std::clamp(load, 0.0, 1.0);
  state.measured_w = measured_w;
}

double PowerModel::Watts(int device) const {
  const State& state = states_[static_cast<size_t>(device)];
  const PowerFigures& figures = state.device.figures;
  return state.measured_w.value_or(figures.idle_w + state.load * (figures.max_w - figures.idle_w));
}

bool PowerModel::Measured(int device) const {
  return states_[static_cast<size_t>(device)].measured_w.has_value();
}

double PowerModel::BusyWatts(int device) const {
  return std::max(Watts(device), states_[static_cast<size_t>(device)].device.figures.max_w);
}

double PowerModel::NodeWatts() const {
  double watts = 0;
  for (int i = 0; i < static_cast<int>(states_.size()); ++i) watts += Watts(i);
  return watts;
}

std::string PowerModel::Refusal(int device) const {
  const bool gpu = states_[static_cast<size_t>(device)].device.platform == Platform::kGpu;
  return gpu && mode_ == PowerMode::kStandby ? "the power mode is standby" : "";
}

std::string PowerModel::OverBudget(int device, std::optional<double> request_budget_w) const {
  const double busy_w = BusyWatts(device);
  if (request_budget_w && busy_w > *request_budget_w) {
    return StrCat("it draws ", busy_w, " W, more than the request's ", *request_budget_w, " W");
  }
  if (node_budget_w_ <= 0 || mode_ == PowerMode::kPeak) return "";
  const double node_w = NodeWatts() - Watts(device) + busy_w;
  if (node_w <= node_budget_w_) return "";
  return StrCat("with work on it all devices would draw ", node_w,
                " W, more than power.node_budget_w, ", node_budget_w_);
}

Energy PowerModel::Of(int device, TimeUs run_us, int sharing) const {
  const double watts = Measured(device) ? Watts(device) : BusyWatts(device);
  return {.joules = watts * static_cast<double>(run_us) * 1e-6 / std::max(1, sharing),
          .measured = Measured(device)};
}

}  // namespace baton
