#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/cuda_host/block.h"
#include "tests/support/cuda_host/capture.h"
#include "tests/support/cuda_host/cuda_host.h"

namespace baton::cuda_host {
namespace {

constexpr int64_t kDeviceMemoryDefault = int64_t{8} << 30;

std::mutex api_mutex;
std::vector<InjectedFailure> failures;
cudaError_t sticky_error = cudaSuccess;
std::atomic<int64_t> device_memory_bytes{kDeviceMemoryDefault};
std::atomic<uintptr_t> handles{0};
std::atomic<int> device_count{1};
std::atomic<int> driver_version{CUDART_VERSION};
std::atomic<int> capability_major{9};
std::map<const std::byte*, size_t, std::less<>> registered;  // host memory: bytes; api_mutex
int64_t registered_copies = 0;                               // api_mutex

// A call that the calling thread must not make while it captures a stream.
cudaError_t EnterUncaptured(const char* call) {
  if (const cudaError_t error = Enter(call); error != cudaSuccess) return error;
  return RefuseWhileCapturing();
}

template <typename Handle>
cudaError_t NewHandle(const char* call, Handle* handle) {
  if (const cudaError_t error = Enter(call); error != cudaSuccess) return error;
  *handle = reinterpret_cast<Handle>(++handles);  // never followed
  return cudaSuccess;
}

// With api_mutex held.
bool IsRegistered(const void* memory, size_t bytes) {
  const auto* const at = static_cast<const std::byte*>(memory);
  auto found = registered.upper_bound(at);
  if (found == registered.begin()) return false;
  --found;
  return at + bytes <= found->first + found->second;
}

cudaError_t Copy(void* to, const void* from, size_t bytes) {
  {
    const std::lock_guard lock(api_mutex);
    registered_copies += IsRegistered(from, bytes) || IsRegistered(to, bytes) ? 1 : 0;
  }
  if (bytes > 0) std::memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t Fill(void* to, int value, size_t bytes) {
  if (bytes > 0) std::memset(to, value, bytes);
  return cudaSuccess;
}

}  // namespace

cudaError_t Enter(const char* call) {
  const std::lock_guard lock(api_mutex);
  if (sticky_error != cudaSuccess) return sticky_error;
  for (auto it = failures.begin(); it != failures.end(); ++it) {
    if (it->call != call || it->after-- > 0) continue;
    const InjectedFailure failure = *it;
    failures.erase(it);
    if (failure.sticky) sticky_error = static_cast<cudaError_t>(failure.error);
    return static_cast<cudaError_t>(failure.error);
  }
  return cudaSuccess;
}

void InjectFailure(InjectedFailure failure) {
  const std::lock_guard lock(api_mutex);
  failures.push_back(std::move(failure));
}

void ForgetFailures() {
  const std::lock_guard lock(api_mutex);
  failures.clear();
  sticky_error = cudaSuccess;
}

int64_t RegisteredCopies() {
  const std::lock_guard lock(api_mutex);
  return registered_copies;
}

void SetDeviceCount(int count) { device_count = count; }
void SetDriverVersion(int cuda_version) { driver_version = cuda_version; }
void SetComputeCapabilityMajor(int major) { capability_major = major; }
void SetDeviceMemory(int64_t bytes) {
  device_memory_bytes = bytes == 0 ? kDeviceMemoryDefault : bytes;
}

}  // namespace baton::cuda_host

using namespace baton::cuda_host;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorDevicesUnavailable:
      return "cudaErrorDevicesUnavailable";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorECCUncorrectable:
      return "cudaErrorECCUncorrectable";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorHostMemoryAlreadyRegistered:
      return "cudaErrorHostMemoryAlreadyRegistered";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorIllegalState:
      return "cudaErrorIllegalState";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureWrongThread:
      return "cudaErrorStreamCaptureWrongThread";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorDevicesUnavailable:
      return "CUDA-capable device(s) is/are busy or unavailable";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorECCUncorrectable:
      return "uncorrectable ECC error encountered";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorHostMemoryAlreadyRegistered:
      return "part or all of the requested memory range is already mapped";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    case cudaErrorIllegalState:
      return "the operation cannot be performed in the present state";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureWrongThread:
      return "attempt to terminate a thread-local capture sequence from another thread";
  }
  return "unrecognized error code";
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = driver_version;
  return Enter("cudaDriverGetVersion");
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (const cudaError_t error = Enter("cudaGetDeviceCount"); error != cudaSuccess) return error;
  if (driver_version < CUDART_VERSION) return cudaErrorInsufficientDriver;
  *count = device_count;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= device_count) return cudaErrorInvalidDevice;
  *properties = {};
  std::snprintf(properties->name, sizeof(properties->name), "host runtime");
  properties->totalGlobalMem = static_cast<size_t>(device_memory_bytes.load());
  properties->major = capability_major;
  properties->multiProcessorCount = 4;
  return Enter("cudaGetDeviceProperties");
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= device_count) return cudaErrorInvalidDevice;
  return Enter("cudaSetDevice");
}
cudaError_t cudaGetLastError() { return Enter("cudaGetLastError"); }
cudaError_t cudaDeviceSynchronize() { return EnterUncaptured("cudaDeviceSynchronize"); }

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const int64_t bytes = device_memory_bytes;
  *total = static_cast<size_t>(bytes);
  *free = static_cast<size_t>(std::max<int64_t>(0, bytes - DeviceBytes()));
  return Enter("cudaMemGetInfo");
}
cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  *pointer = nullptr;
  if (const cudaError_t error = EnterUncaptured("cudaMalloc"); error != cudaSuccess) return error;
  if (static_cast<int64_t>(bytes) > device_memory_bytes - DeviceBytes()) {
    return cudaErrorMemoryAllocation;
  }
  *pointer = AllocateDevice(bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* pointer) {  // memory is given back even where the call is to fail
  const bool intact = FreeDevice(pointer);
  const cudaError_t error = EnterUncaptured("cudaFree");
  return intact ? error : cudaErrorIllegalAddress;
}
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  *pointer = nullptr;
  if (const cudaError_t error = EnterUncaptured("cudaHostAlloc"); error != cudaSuccess)
    return error;
  constexpr size_t kAlignment = 4096;
  *pointer = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  return *pointer == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  std::free(pointer);
  return Enter("cudaFreeHost");
}
cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned) {
  if (const cudaError_t error = Enter("cudaHostRegister"); error != cudaSuccess) return error;
  const std::lock_guard lock(api_mutex);
  const bool added = registered.emplace(static_cast<const std::byte*>(pointer), bytes).second;
  return added ? cudaSuccess : cudaErrorHostMemoryAlreadyRegistered;
}
cudaError_t cudaHostUnregister(void* pointer) {
  if (const cudaError_t error = Enter("cudaHostUnregister"); error != cudaSuccess) return error;
  const std::lock_guard lock(api_mutex);
  const bool known = registered.erase(static_cast<const std::byte*>(pointer)) == 1;
  return known ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (const cudaError_t error = EnterUncaptured("cudaMemcpy"); error != cudaSuccess) return error;
  return Copy(to, from, bytes);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return Submit("cudaMemcpyAsync", stream, [=] { return Copy(to, from, bytes); });
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  if (const cudaError_t error = EnterUncaptured("cudaMemset"); error != cudaSuccess) return error;
  return Fill(to, value, bytes);
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return Submit("cudaMemsetAsync", stream, [=] { return Fill(to, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return NewHandle("cudaStreamCreateWithFlags", stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return Enter("cudaStreamDestroy"); }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t error = Enter("cudaStreamSynchronize"); error != cudaSuccess) return error;
  return RefuseCaptured(stream);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t, unsigned) {
  if (const cudaError_t error = Enter("cudaStreamWaitEvent"); error != cudaSuccess) return error;
  return RefuseCaptured(stream);
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return Submit("cudaLaunchHostFunc", stream, [=] {
    function(data);  // all that was asked for before is done
    return cudaSuccess;
  });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return NewHandle("cudaEventCreateWithFlags", event);
}
cudaError_t cudaEventDestroy(cudaEvent_t) { return Enter("cudaEventDestroy"); }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t stream) {
  if (const cudaError_t error = Enter("cudaEventRecord"); error != cudaSuccess) return error;
  return RefuseCaptured(stream);
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return Enter("cudaEventSynchronize"); }
