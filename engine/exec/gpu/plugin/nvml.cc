#include "engine/exec/gpu/plugin/nvml.h"

#include <dlfcn.h>

#include <chrono>
#include <type_traits>
#include <utility>

#include "engine/exec/gpu/plugin/fault.h"

namespace baton::gpu {
namespace {

constexpr std::chrono::seconds kPeriod{1};

// Of nvml.h, whose ABI is stable: a result of 0 is success.
constexpr int kTemperatureGpu = 0;
constexpr int kErrorUncorrected = 1;
constexpr int kCounterVolatile = 0;  // since the driver was loaded
struct Utilisation {
  unsigned gpu_percent;
  unsigned memory_percent;
};

}  // namespace

struct Nvml::Functions {
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_text)(int) = nullptr;
  int (*find)(const char* pci_bus_id, void** device) = nullptr;
  int (*temperature)(void* device, int sensor, unsigned* celsius) = nullptr;
  int (*power)(void* device, unsigned* milliwatts) = nullptr;
  int (*utilisation)(void* device, Utilisation* rates) = nullptr;
  int (*ecc_errors)(void* device, int kind, int counter, unsigned long long* count) = nullptr;
  bool ready = false;  // to be shut down
};

const char* Nvml::Library() { return "libnvidia-ml.so.1"; }

Nvml::Nvml(const baton_host& host, std::string pci_address)
    : host_(host), pci_address_(std::move(pci_address)), nvml_(std::make_unique<Functions>()) {}

std::unique_ptr<Nvml> Nvml::Start(const char* library, const std::string& pci_address,
                                  const baton_host& host) {
  std::unique_ptr<Nvml> started(new Nvml(host, pci_address));
  if (const std::string why = started->Open(library); !why.empty()) {
    host.log(BATON_LOG_INFO,
             Text("GPU ", pci_address, ": temperature, power and utilisation are not known: ", why)
                 .c_str());
    return nullptr;
  }
  started->latest_ = started->Ask();
  started->thread_ = std::thread([of = started.get()] { of->Run(); });
  return started;
}

std::string Nvml::Open(const char* library) {
  void* const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);  // never closed, as all drivers'
  if (handle == nullptr) return dlerror();
  const char* missing = nullptr;
  const auto load = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (function == nullptr) missing = name;
  };
  load(nvml_->init, "nvmlInit_v2");
  load(nvml_->shutdown, "nvmlShutdown");
  load(nvml_->error_text, "nvmlErrorString");
  load(nvml_->find, "nvmlDeviceGetHandleByPciBusId_v2");
  load(nvml_->temperature, "nvmlDeviceGetTemperature");
  load(nvml_->power, "nvmlDeviceGetPowerUsage");
  load(nvml_->utilisation, "nvmlDeviceGetUtilizationRates");
  load(nvml_->ecc_errors, "nvmlDeviceGetTotalEccErrors");
  if (missing != nullptr) return Text(library, " lacks ", missing);
  if (const int error = nvml_->init(); error != 0) {
    return Text("nvmlInit: ", nvml_->error_text(error));
  }
  nvml_->ready = true;
  if (const int error = nvml_->find(pci_address_.c_str(), &device_); error != 0) {
    return Text("nvmlDeviceGetHandleByPciBusId: ", nvml_->error_text(error));
  }
  return "";
}

Nvml::~Nvml() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_asked_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (nvml_->ready) nvml_->shutdown();
}

Nvml::Reading Nvml::Ask() {
  Reading reading;
  std::string refused;
  const auto ask = [&](const char* what, int error) {
    if (error != 0)
      refused += Text(refused.empty() ? "" : "; ", what, ": ", nvml_->error_text(error));
    return error == 0;
  };
  unsigned value = 0;
  if (ask("temperature", nvml_->temperature(device_, kTemperatureGpu, &value))) {
    reading.temperature_c = value;
  }
  if (ask("power", nvml_->power(device_, &value))) reading.power_w = value / 1000.0;
  Utilisation rates = {};
  if (ask("utilisation", nvml_->utilisation(device_, &rates))) {
    reading.utilisation = rates.gpu_percent / 100.0;
  }
  unsigned long long errors = 0;
  if (ask("memory errors",
          nvml_->ecc_errors(device_, kErrorUncorrected, kCounterVolatile, &errors))) {
    reading.memory_errors = static_cast<int64_t>(errors);
  }
  if (!refused.empty() && !std::exchange(told_, true)) {
    host_.log(BATON_LOG_INFO, Text("GPU ", pci_address_, " does not tell ", refused).c_str());
  }
  return reading;
}

void Nvml::Run() {
  std::unique_lock lock(mutex_);
  while (!stop_asked_.wait_for(lock, kPeriod, [this] { return stopping_; })) {
    lock.unlock();
    const Reading reading = Ask();
    lock.lock();
    latest_ = reading;
  }
}

Nvml::Reading Nvml::Latest() const {
  const std::lock_guard lock(mutex_);
  return latest_;
}

}  // namespace baton::gpu
