#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/fault.h"
#include "engine/exec/gpu/plugin/nvml.h"

namespace baton::gpu {

class Device;
class Gemm;

// Memory of the device, freed in the end; the device outlives it. Movable.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(DeviceMemory&& other) noexcept { *this = std::move(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;
  ~DeviceMemory() { Free(); }

  std::byte* data() const { return data_; }  // aligned to 256 bytes
  int64_t bytes() const { return bytes_; }

 private:
  friend class Device;
  void Free();
  Device* device_ = nullptr;
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

// The host's memory that the device copies from and to; as above.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  PinnedMemory(PinnedMemory&& other) noexcept { *this = std::move(other); }
  PinnedMemory& operator=(PinnedMemory&& other) noexcept;
  ~PinnedMemory();

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  friend class Device;
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

// A stream of the device's work.
class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();
  Fault Create(Device& device);
  Fault Wait() const;  // until all that was asked for is done
  cudaStream_t get() const { return stream_; }

 private:
  Device* device_ = nullptr;
  cudaStream_t stream_ = nullptr;
};

// One device in use. An error that ruins its context, as a kernel's fault does, fences it: from
// then on everything is refused, for the life of the process. Thread safe.
class Device {
 public:
  static Fault Open(const baton_host& host, const baton_device_options& options,
                    std::unique_ptr<Device>* device);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // Before any use on a thread. UNAVAILABLE: the device is lost.
  Fault Enter();
  // RESOURCE_EXHAUSTED: out of memory. INTERNAL: a call that the runtime refuses, or
  // that cannot be captured. UNAVAILABLE: another process has the device to itself; or anything
  // else, which is taken for the end of the context.
  Fault Check(cudaError_t error, const char* what);

  // RESOURCE_EXHAUSTED, with the bytes that `what` needs and those there are.
  Fault Allocate(const char* what, int64_t bytes, DeviceMemory* memory);
  // The driver's own memory for something that is made between the two calls: Begin, and then what
  // of the device's it took, which counts as used until it is given back. What others take between
  // them, other processes too, counts as well; what this process allocates does not.
  Fault BeginTaking(int64_t* free_bytes);
  Fault EndTaking(int64_t free_bytes, int64_t* taken_bytes);
  void GiveBack(int64_t taken_bytes) { own_bytes_ -= taken_bytes; }
  Fault AllocatePinned(const char* what, int64_t bytes, PinnedMemory* memory);

  // Memory for KV blocks, found again by any address within.
  struct KvMemory {
    unsigned char* begin = nullptr;
    int64_t bytes = 0;
  };
  Fault AllocateKv(int64_t bytes, void** memory);
  void FreeKv(void* memory);
  // begin null: not of such memory.
  KvMemory FindKv(const void* address) const;

  // Lets the device copy from the host's memory and to it without a buffer between.
  Fault MapHost(void* memory, int64_t bytes);
  void UnmapHost(void* memory);
  // Whether all of it is mapped.
  bool IsMapped(const void* memory, int64_t bytes) const;

  // "0000:3b:00.0".
  static std::string PciAddress(const cudaDeviceProp& properties);
  // From any thread; asks the driver nothing.
  void Sample(baton_device_sample* sample) const;

  const baton_host& host() const { return host_; }
  Gemm& gemm() { return *gemm_; }
  int multiprocessors() const { return multiprocessors_; }
  int32_t step_tokens_max() const { return step_tokens_max_; }
  int32_t decode_graphs_max() const { return decode_graphs_max_; }
  // Whether kernels of steps may begin before those in front of them have ended.
  bool programmatic_launches() const { return programmatic_launches_; }
  baton_activations activations() const { return activations_; }

 private:
  friend class DeviceMemory;
  Device(const baton_host& host, const baton_device_options& options);
  Fault Lost() const;  // UNAVAILABLE where it is

  const baton_host host_;
  const int index_;
  const int32_t step_tokens_max_;
  const int32_t decode_graphs_max_;
  const baton_activations activations_;
  bool programmatic_launches_ = false;
  int multiprocessors_ = 0;
  uint64_t memory_bytes_total_ = 0;
  uint64_t others_bytes_ = 0;          // that were taken when it was opened
  std::atomic<int64_t> own_bytes_{0};  // allocated since
  std::unique_ptr<Gemm> gemm_;
  std::unique_ptr<Nvml> nvml_;  // null: it tells nothing

  mutable std::mutex mutex_;
  std::string lost_;  // why; empty: it is not
  std::map<const unsigned char*, DeviceMemory> kv_;
  std::map<const std::byte*, int64_t> mapped_;  // the host's: bytes
};

}  // namespace baton::gpu
