#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "engine/exec/executor_abi.h"

namespace baton::gpu {

// What NVIDIA's management library tells of one device: temperature, power, utilisation, errors of
// its memory. Opened at run time, and asked once a second by a thread of its own, for it takes
// milliseconds to answer. What it does not tell is left out, which is logged once. Thread safe.
class Nvml {
 public:
  // "libnvidia-ml.so.1", which comes with the driver.
  static const char* Library();

  // `pci_address`: "0000:3b:00.0". Null, and the reason logged, where the library is not there or
  // does not know the device.
  static std::unique_ptr<Nvml> Start(const char* library, const std::string& pci_address,
                                     const baton_host& host);
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  // Below 0: not told.
  struct Reading {
    double temperature_c = -1;
    double power_w = -1;
    double utilisation = -1;
    int64_t memory_errors = -1;
  };
  Reading Latest() const;

 private:
  struct Functions;
  Nvml(const baton_host& host, std::string pci_address);
  std::string Open(const char* library);  // why it failed; empty: it did not
  Reading Ask();
  void Run();

  const baton_host host_;
  const std::string pci_address_;
  std::unique_ptr<Functions> nvml_;
  void* device_ = nullptr;
  bool told_ = false;  // what the device does not tell

  mutable std::mutex mutex_;
  std::condition_variable stop_asked_;
  bool stopping_ = false;
  Reading latest_;
  std::thread thread_;
};

}  // namespace baton::gpu
