#include "engine/exec/gpu/plugin/device.h"

#include <algorithm>
#include <cstdio>

#include "engine/exec/gpu/plugin/gemm.h"

namespace baton::gpu {

// ---- Memory and streams

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  Free();
  device_ = std::exchange(other.device_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

void DeviceMemory::Free() {
  if (data_ == nullptr) return;
  // On a lost device this fails, and there is nothing to be done about it; Check remembers why.
  if (device_->Enter().failed()) {
    cudaFree(data_);
  } else if (const Fault fault = device_->Check(cudaFree(data_), "cudaFree"); fault.failed()) {
    device_->host().log(BATON_LOG_ERROR, fault.message().c_str());
  }
  device_->own_bytes_ -= bytes_;
  data_ = nullptr;
}

PinnedMemory& PinnedMemory::operator=(PinnedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) cudaFreeHost(data_);  // as above
}

Fault Stream::Create(Device& device) {
  device_ = &device;
  return device.Check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
                      "cudaStreamCreate");
}

Stream::~Stream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

Fault Stream::Wait() const {
  return device_->Check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

// ---- The device

Device::Device(const baton_host& host, const baton_device_options& options)
    : host_(host),
      index_(static_cast<int>(options.index)),
      step_tokens_max_(options.step_tokens_max),
      decode_graphs_max_(options.decode_graphs_max),
      activations_(static_cast<baton_activations>(options.activations)) {}

Device::~Device() {  // what they give back asks the rest of this
  gemm_.reset();
  kv_.clear();
}

Fault Device::Open(const baton_host& host, const baton_device_options& options,
                   std::unique_ptr<Device>* device) {
  if (options.step_tokens_max < 1) {
    return {BATON_INVALID_ARGUMENT,
            Text("step_tokens_max is ", options.step_tokens_max, ", must be at least 1")};
  }
  if (options.activations != BATON_ACTIVATIONS_BF16 &&
      options.activations != BATON_ACTIVATIONS_F32) {
    return {BATON_INVALID_ARGUMENT, Text("activations of an unknown kind, ", options.activations)};
  }
  std::unique_ptr<Device> opened(new Device(host, options));
  BATON_GPU_TRY(opened->Enter());
  cudaDeviceProp properties;
  BATON_GPU_TRY(opened->Check(cudaGetDeviceProperties(&properties, opened->index_),
                              "cudaGetDeviceProperties"));
  constexpr int kMajorMin = 8;  // bf16 tensor cores and cp.async
  if (properties.major < kMajorMin) {
    return {BATON_UNIMPLEMENTED,
            Text(properties.name, " has compute capability ", properties.major, ".",
                 properties.minor, ", the kernels need ", kMajorMin, ".0")};
  }
  opened->multiprocessors_ = properties.multiProcessorCount;
  constexpr int kProgrammaticMajorMin = 9;
  opened->programmatic_launches_ = BATON_OPTIONS_HAS(&options, programmatic_launches) &&
                                   options.programmatic_launches != 0 &&
                                   properties.major >= kProgrammaticMajorMin;
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  BATON_GPU_TRY(opened->Check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo"));
  opened->memory_bytes_total_ = total_bytes;
  opened->others_bytes_ = total_bytes - free_bytes;
  BATON_GPU_TRY(OpenGemm(*opened, &opened->gemm_));
  if (!Emulated()) opened->nvml_ = Nvml::Start(Nvml::Library(), PciAddress(properties), host);
  *device = std::move(opened);
  return {};
}

std::string Device::PciAddress(const cudaDeviceProp& properties) {
  char address[32];
  std::snprintf(
      address, sizeof(address), "%04x:%02x:%02x.0", static_cast<unsigned>(properties.pciDomainID),
      static_cast<unsigned>(properties.pciBusID), static_cast<unsigned>(properties.pciDeviceID));
  return address;
}

Fault Device::Lost() const {
  const std::lock_guard lock(mutex_);
  if (lost_.empty()) return {};
  return {BATON_UNAVAILABLE, lost_};
}

Fault Device::Enter() {
  BATON_GPU_TRY(Lost());
  return Check(cudaSetDevice(index_), "cudaSetDevice");
}

Fault Device::Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  const std::string text = Text(what, ": ", cudaGetErrorString(error), " (CUDA error ",
                                static_cast<int>(error), " ", cudaGetErrorName(error), ")");
  switch (error) {
    case cudaErrorMemoryAllocation:
      cudaGetLastError();  // it is not to come again with the next launch
      return {BATON_RESOURCE_EXHAUSTED, Text("GPU out of memory: ", text)};
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidDevice:
      cudaGetLastError();
      return {BATON_INTERNAL, text};
    case cudaErrorDevicesUnavailable:
      cudaGetLastError();
      return {BATON_UNAVAILABLE,
              Text("GPU ", index_, " is busy: another process has it to itself (nvidia-smi -q -d ",
                   "COMPUTE shows its compute mode, DEFAULT lets processes share it): ", text)};
    default:
      break;
  }
  if (error >= cudaErrorStreamCaptureUnsupported && error <= cudaErrorStreamCaptureWrongThread) {
    cudaGetLastError();  // the end of a capture alone
    return {BATON_INTERNAL, text};
  }
  {
    const std::lock_guard lock(mutex_);
    if (lost_.empty()) {
      lost_ = Text("GPU ", index_, " is lost to this process, restart needed: ", text);
      host_.log(BATON_LOG_ERROR, lost_.c_str());
    }
  }
  return Lost();
}

Fault Device::Allocate(const char* what, int64_t bytes, DeviceMemory* memory) {
  *memory = DeviceMemory();
  if (bytes <= 0) return {};
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  BATON_GPU_TRY(Check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo"));
  void* data = nullptr;
  const Fault fault = Check(cudaMalloc(&data, static_cast<size_t>(bytes)), "cudaMalloc");
  if (fault.code() == BATON_RESOURCE_EXHAUSTED) {
    return {BATON_RESOURCE_EXHAUSTED, Text(what, " needs ", bytes, " bytes of GPU memory, ",
                                           free_bytes, " of ", total_bytes, " are free")};
  }
  if (fault.failed()) return fault;
  own_bytes_ += bytes;
  memory->device_ = this;
  memory->data_ = static_cast<std::byte*>(data);
  memory->bytes_ = bytes;
  return {};
}

// With what is allocated beside it added, so that only the rest makes a difference.
Fault Device::BeginTaking(int64_t* free_bytes) {
  size_t free = 0;
  size_t total = 0;
  BATON_GPU_TRY(Check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo"));
  *free_bytes = static_cast<int64_t>(free) + own_bytes_;
  return {};
}

Fault Device::EndTaking(int64_t free_bytes, int64_t* taken_bytes) {
  int64_t now = 0;
  BATON_GPU_TRY(BeginTaking(&now));
  *taken_bytes = std::max<int64_t>(0, free_bytes - now);
  own_bytes_ += *taken_bytes;
  return {};
}

Fault Device::AllocatePinned(const char* what, int64_t bytes, PinnedMemory* memory) {
  *memory = PinnedMemory();
  void* data = nullptr;
  const Fault fault = Check(cudaHostAlloc(&data, static_cast<size_t>(bytes), cudaHostAllocDefault),
                            "cudaHostAlloc");
  if (fault.code() == BATON_RESOURCE_EXHAUSTED) {
    return {BATON_RESOURCE_EXHAUSTED,
            Text(what, " needs ", bytes, " bytes of pinned host memory, which cannot be had")};
  }
  if (fault.failed()) return fault;
  memory->data_ = static_cast<std::byte*>(data);
  memory->bytes_ = bytes;
  return {};
}

Fault Device::AllocateKv(int64_t bytes, void** memory) {
  DeviceMemory kv;
  BATON_GPU_TRY(Allocate("a model's KV blocks", bytes, &kv));
  *memory = kv.data();
  const std::lock_guard lock(mutex_);
  kv_.emplace(reinterpret_cast<unsigned char*>(kv.data()), std::move(kv));
  return {};
}

void Device::FreeKv(void* memory) {
  DeviceMemory freed;  // outside of the lock, which freeing takes, too
  {
    const std::lock_guard lock(mutex_);
    const auto found = kv_.find(static_cast<unsigned char*>(memory));
    if (found == kv_.end()) return;
    freed = std::move(found->second);
    kv_.erase(found);
  }
}

Device::KvMemory Device::FindKv(const void* address) const {
  const auto* const at = static_cast<const unsigned char*>(address);
  const std::lock_guard lock(mutex_);
  auto found = kv_.upper_bound(at);
  if (found == kv_.begin()) return {};
  --found;
  const DeviceMemory& memory = found->second;
  if (at >= found->first + memory.bytes()) return {};
  return {reinterpret_cast<unsigned char*>(memory.data()), memory.bytes()};
}

Fault Device::MapHost(void* memory, int64_t bytes) {
  // Portable: other devices of this process may have mapped it, or will.
  const cudaError_t registered =
      cudaHostRegister(memory, static_cast<size_t>(bytes), cudaHostRegisterPortable);
  if (registered == cudaErrorHostMemoryAlreadyRegistered) {
    cudaGetLastError();
  } else {
    BATON_GPU_TRY(Check(registered, "cudaHostRegister"));
  }
  const std::lock_guard lock(mutex_);
  mapped_.emplace(static_cast<const std::byte*>(memory), bytes);
  return {};
}

void Device::UnmapHost(void* memory) {
  {
    const std::lock_guard lock(mutex_);
    if (mapped_.erase(static_cast<const std::byte*>(memory)) == 0) return;
  }
  cudaHostUnregister(memory);  // where another device has done so before, there is nothing to do
  cudaGetLastError();
}

bool Device::IsMapped(const void* memory, int64_t bytes) const {
  const auto* const at = static_cast<const std::byte*>(memory);
  const std::lock_guard lock(mutex_);
  auto found = mapped_.upper_bound(at);
  if (found == mapped_.begin()) return false;
  --found;
  return at + bytes <= found->first + found->second;
}

void Device::Sample(baton_device_sample* sample) const {
  sample->memory_bytes_total = memory_bytes_total_;
  sample->memory_bytes_used = others_bytes_ + static_cast<uint64_t>(own_bytes_.load());
  if (nvml_ != nullptr && BATON_SAMPLE_HAS(sample, memory_errors)) {
    const Nvml::Reading reading = nvml_->Latest();
    sample->temperature_c = reading.temperature_c;
    sample->power_w = reading.power_w;
    sample->utilisation = reading.utilisation;
    sample->memory_errors = reading.memory_errors;
  }
  const Fault fault = Lost();
  if (!fault.failed()) return;
  sample->lost = 1;
  std::snprintf(sample->reason, sizeof(sample->reason), "%s", fault.message().c_str());
}

}  // namespace baton::gpu
