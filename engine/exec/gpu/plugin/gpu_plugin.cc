// libbaton_gpu.so: the GPU executor's side of executor_abi.h. It links the CUDA runtime statically,
// so that it loads on a machine without driver or CUDA libraries and can say so.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdio>

#include "engine/exec/executor_abi.h"

namespace {

// CUDA counts versions as 1000 * major + 10 * minor.
constexpr int Major(int cuda_version) { return cuda_version / 1000; }
constexpr int Minor(int cuda_version) { return cuda_version % 1000 / 10; }

// Says why there is no usable GPU, and what to do about it. Returns what the probe returns.
int32_t Fail(cudaError_t error, int driver_version, baton_probe* probe) {
  const char* const name = cudaGetErrorName(error);
  char* const out = probe->reason;
  constexpr size_t kSize = sizeof(probe->reason);
  if (error == cudaErrorInsufficientDriver && driver_version == 0) {
    std::snprintf(out, kSize,
                  "no NVIDIA driver (CUDA error %d %s); install one that supports CUDA %d.%d",
                  error, name, Major(CUDART_VERSION), Minor(CUDART_VERSION));
  } else if (error == cudaErrorInsufficientDriver) {
    std::snprintf(out, kSize,
                  "the NVIDIA driver supports CUDA %d.%d, the plug-in needs %d.%d (CUDA error %d "
                  "%s); update the driver",
                  Major(driver_version), Minor(driver_version), Major(CUDART_VERSION),
                  Minor(CUDART_VERSION), error, name);
  } else {
    std::snprintf(out, kSize, "%s (CUDA error %d %s)", cudaGetErrorString(error), error, name);
  }
  return error;
}

// Creates no CUDA context: asking for properties needs none.
int32_t Probe(const baton_host* host, baton_probe* probe) {
  int driver_version = 0;  // stays 0 where there is no driver
  cudaDriverGetVersion(&driver_version);
  int cuda_count = 0;
  cudaError_t error = cudaGetDeviceCount(&cuda_count);
  if (error != cudaSuccess) return Fail(error, driver_version, probe);

  for (int i = 0; i < cuda_count; ++i) {
    cudaDeviceProp properties;
    if (const cudaError_t failed = cudaGetDeviceProperties(&properties, i); failed != cudaSuccess) {
      error = failed;
      char line[256];
      std::snprintf(line, sizeof(line), "CUDA device %d left out: %s (CUDA error %d %s)", i,
                    cudaGetErrorString(failed), failed, cudaGetErrorName(failed));
      host->log(BATON_LOG_WARN, line);
      continue;
    }
    const uint32_t index = probe->device_count++;
    if (index >= probe->device_capacity) continue;
    baton_device* const device = baton_probe_device(probe, index);
    std::snprintf(device->name, sizeof(device->name), "%s", properties.name);
    std::snprintf(device->detail, sizeof(device->detail),
                  "compute capability %d.%d, %d multiprocessors, driver for CUDA %d.%d",
                  properties.major, properties.minor, properties.multiProcessorCount,
                  Major(driver_version), Minor(driver_version));
    device->memory_bytes_total = properties.totalGlobalMem;
    if (BATON_DEVICE_HAS(probe, pci_address)) {
      std::snprintf(device->pci_address, sizeof(device->pci_address), "%04x:%02x:%02x.0",
                    static_cast<unsigned>(properties.pciDomainID),
                    static_cast<unsigned>(properties.pciBusID),
                    static_cast<unsigned>(properties.pciDeviceID));
    }
  }
  if (probe->device_count == 0 && error != cudaSuccess) return Fail(error, driver_version, probe);
  return 0;
}

constexpr baton_executor_plugin kPlugin = {
    .struct_size = sizeof(baton_executor_plugin),
    .abi_version = BATON_EXECUTOR_ABI_VERSION,
    .platform = BATON_PLATFORM_GPU,
    .reserved = 0,
    .version = BATON_PLUGIN_VERSION,
    .probe = Probe,
};

}  // namespace

const baton_executor_plugin* baton_executor_plugin_v1() { return &kPlugin; }
