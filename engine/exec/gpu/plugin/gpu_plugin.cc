// libbaton_gpu.so: the GPU executor's side of executor_abi.h. It links the CUDA runtime statically,
// so that it loads on a machine without driver or CUDA libraries and can say so.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/copies.h"
#include "engine/exec/gpu/plugin/decoder.h"
#include "engine/exec/gpu/plugin/device.h"
#include "engine/exec/gpu/plugin/encoder.h"
#include "engine/exec/gpu/plugin/fault.h"
#include "engine/exec/gpu/plugin/gemm.h"
#include "engine/exec/gpu/plugin/graph_job.h"
#include "engine/exec/gpu/plugin/kmeans_job.h"
#include "engine/exec/gpu/plugin/pq_job.h"
#include "engine/exec/gpu/plugin/vector_rows.h"
#include "engine/exec/gpu/plugin/vector_work.h"

struct baton_open_device {
  std::unique_ptr<baton::gpu::Device> device;
  std::unique_ptr<baton::gpu::VectorWork> vectors;
  // A link carries both ways at once, so neither waits for the other. They go first.
  std::unique_ptr<baton::gpu::Copies> copies_to;
  std::unique_ptr<baton::gpu::Copies> copies_from;
};

struct baton_loaded_model {
  std::unique_ptr<baton::gpu::Decoder> decoder;
};
struct baton_loaded_encoder {
  std::unique_ptr<baton::gpu::Encoder> encoder;
};

namespace {

using baton::gpu::Device;
using baton::gpu::Fault;
using baton::gpu::IvfLists;
using baton::gpu::VectorRows;

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
    if (BATON_DEVICE_HAS(probe, pci_address) && !baton::gpu::Emulated()) {
      std::snprintf(device->pci_address, sizeof(device->pci_address), "%s",
                    Device::PciAddress(properties).c_str());
    }
    device->emulated = baton::gpu::Emulated() ? 1 : 0;
  }
  if (probe->device_count == 0 && error != cudaSuccess) return Fail(error, driver_version, probe);
  return 0;
}

int32_t Open(const baton_host* host, const baton_device_options* options,
             baton_open_device** device, baton_error* error) {
  if (host->struct_size < sizeof(baton_host) || options->struct_size < BATON_OPTIONS_FIRST_BYTES) {
    return Fault(BATON_UNIMPLEMENTED,
                 "the daemon is older than the GPU plug-in; use those built "
                 "together")
        .Tell(error);
  }
  auto opened = std::make_unique<baton_open_device>();
  Fault fault = Device::Open(*host, *options, &opened->device);
  if (!fault.failed()) {
    fault = baton::gpu::Copies::Start(*opened->device, /*packs=*/false, &opened->copies_to);
  }
  if (!fault.failed()) {
    fault = baton::gpu::Copies::Start(*opened->device, /*packs=*/true, &opened->copies_from);
  }
  if (!fault.failed()) {
    fault = baton::gpu::VectorWork::Start(*opened->device, &opened->vectors);
  }
  if (!fault.failed()) *device = opened.release();
  return fault.Tell(error);
}

void Close(baton_open_device* device) {
  const std::unique_ptr<baton_open_device> closed(device);
  closed->copies_to.reset();
  closed->copies_from.reset();
}

void Sample(baton_open_device* device, baton_device_sample* sample) {
  device->device->Sample(sample);
}

int32_t KvAllocate(baton_open_device* device, uint64_t bytes, void** memory, baton_error* error) {
  Fault fault = device->device->Enter();
  if (!fault.failed()) fault = device->device->AllocateKv(static_cast<int64_t>(bytes), memory);
  return fault.Tell(error);
}

void KvFree(baton_open_device* device, void* memory) { device->device->FreeKv(memory); }

int32_t ModelLoad(baton_open_device* device, const baton_llm_model* model,
                  baton_loaded_model** loaded, baton_error* error) {
  auto made = std::make_unique<baton_loaded_model>();
  Fault fault = device->device->Enter();
  if (!fault.failed()) {
    fault = baton::gpu::Decoder::Load(*device->device, *model, &made->decoder);
  }
  if (!fault.failed()) *loaded = made.release();
  return fault.Tell(error);
}

void ModelUnload(baton_open_device*, baton_loaded_model* model) {
  const std::unique_ptr<baton_loaded_model> unloaded(model);
}

int32_t LlmRun(baton_open_device* device, baton_loaded_model* model, const baton_llm_batch* batch,
               baton_error* error) {
  Fault fault = device->device->Enter();
  if (!fault.failed()) fault = model->decoder->Run(*batch);
  return fault.Tell(error);
}

int32_t WarmUpStep(baton_open_device*, baton_loaded_model* model, uint32_t index,
                   int32_t* sequences, int32_t* positions) {
  return model->decoder->WarmUpStep(index, sequences, positions) ? 1 : 0;
}

int32_t EncoderLoad(baton_open_device* device, const baton_encoder_model* model,
                    baton_loaded_encoder** loaded, int32_t* tokens_max, baton_error* error) {
  auto made = std::make_unique<baton_loaded_encoder>();
  Fault fault = device->device->Enter();
  if (!fault.failed()) {
    fault = baton::gpu::Encoder::Load(*device->device, *model, &made->encoder);
  }
  if (!fault.failed()) {
    *tokens_max = made->encoder->tokens_max();
    *loaded = made.release();
  }
  return fault.Tell(error);
}

void EncoderUnload(baton_open_device*, baton_loaded_encoder* encoder) {
  const std::unique_ptr<baton_loaded_encoder> unloaded(encoder);
}

int32_t EncoderRun(baton_open_device* device, baton_loaded_encoder* encoder,
                   const baton_encoder_batch* batch, baton_error* error) {
  Fault fault = device->device->Enter();
  if (!fault.failed()) fault = encoder->encoder->Run(*batch);
  return fault.Tell(error);
}

// Tickets are the queues' own, times two, odd of those from the device.
constexpr uint64_t kFromDevice = 1;
baton::plugin::CopyQueue& QueueOf(baton_open_device* device, uint64_t ticket) {
  return (ticket & kFromDevice) != 0 ? device->copies_from->queue() : device->copies_to->queue();
}

int32_t CopyPost(baton_open_device* device, const baton_copy* copy, uint64_t* ticket,
                 baton_error* error) {
  const uint64_t direction = copy->direction == BATON_COPY_FROM_DEVICE ? kFromDevice : 0;
  uint64_t its = 0;
  const Fault fault = QueueOf(device, direction).Post(*copy, &its);
  if (!fault.failed()) *ticket = 2 * its + direction;
  return fault.Tell(error);
}

int32_t CopyPacked(baton_open_device* device, const baton_kv_packing* packing, uint64_t* ticket,
                   baton_error* error) {
  uint64_t its = 0;
  Fault fault = packing->struct_size < sizeof(*packing)
                    ? Fault(BATON_UNIMPLEMENTED,
                            "the daemon is older than the GPU plug-in; use those built together")
                    : baton::gpu::Copies::CheckPacking(*packing);
  if (!fault.failed()) fault = device->copies_from->queue().PostPacked(*packing, &its);
  if (!fault.failed()) *ticket = 2 * its + kFromDevice;
  return fault.Tell(error);
}

int32_t CopyPoll(baton_open_device* device, uint64_t ticket, uint32_t* done, uint64_t* copy_us,
                 baton_error* error) {
  bool complete = false;
  const Fault fault = QueueOf(device, ticket).Poll(ticket / 2, &complete, copy_us);
  *done = complete ? 1 : 0;
  return fault.Tell(error);
}

void CopyCancel(baton_open_device* device, uint64_t ticket) {
  QueueOf(device, ticket).Cancel(ticket / 2);
}

// What the ABI calls baton_vector_rows.
VectorRows& RowsOf(baton_vector_rows* rows) { return *reinterpret_cast<VectorRows*>(rows); }

uint64_t RowsBytes(const baton_rows_shape* shape) {
  if (VectorRows::Check(*shape).failed()) return 0;
  return static_cast<uint64_t>(VectorRows::Bytes(*shape));
}

int32_t RowsCreate(baton_open_device* device, const baton_rows_shape* shape,
                   baton_vector_rows** rows, baton_error* error) {
  std::unique_ptr<VectorRows> created;
  Fault fault = device->device->Enter();
  if (!fault.failed()) fault = VectorRows::Create(*device->device, *shape, &created);
  if (!fault.failed()) *rows = reinterpret_cast<baton_vector_rows*>(created.release());
  return fault.Tell(error);
}

void RowsFree(baton_open_device*, baton_vector_rows* rows) {
  const std::unique_ptr<VectorRows> freed(&RowsOf(rows));
}

int32_t RowsAppend(baton_open_device* device, baton_vector_rows* rows,
                   const baton_rows_source* source, int64_t count, baton_error* error) {
  Fault fault = device->device->Enter();
  if (!fault.failed()) fault = device->vectors->Append(RowsOf(rows), *source, count);
  return fault.Tell(error);
}

int32_t RowsMark(baton_open_device* device, baton_vector_rows* rows, const uint32_t* live,
                 int64_t count, baton_error* error) {
  Fault fault = device->device->Enter();
  if (!fault.failed()) {
    const auto words = static_cast<size_t>(count > 0 ? (count + 31) / 32 : 0);
    fault = device->vectors->Mark(RowsOf(rows), {live, words}, count);
  }
  return fault.Tell(error);
}

int32_t Search(baton_open_device* device, const baton_vector_search* search, baton_error* error) {
  Fault fault = device->device->Enter();
  if (!fault.failed()) fault = device->vectors->Search(*search);
  return fault.Tell(error);
}

int32_t GraphLinks(baton_open_device* device, const baton_graph_job* job, baton_error* error) {
  Fault fault = device->device->Enter();
  if (!fault.failed()) fault = baton::gpu::LinkGraph(*device->device, *job);
  return fault.Tell(error);
}

int32_t Kmeans(baton_open_device* device, const baton_kmeans_job* job, baton_error* error) {
  Fault fault = device->device->Enter();
  if (!fault.failed()) fault = baton::gpu::RunKmeans(*device->device, *job);
  return fault.Tell(error);
}

int32_t PqEncode(baton_open_device* device, const baton_pq_job* job, baton_error* error) {
  Fault fault = device->device->Enter();
  if (!fault.failed()) fault = baton::gpu::EncodeRows(*device->device, *job);
  return fault.Tell(error);
}

// What the ABI calls baton_ivf_lists.
uint64_t IvfBytes(const baton_ivf_job* job) {
  if (IvfLists::Check(*job).failed()) return 0;
  return static_cast<uint64_t>(IvfLists::Bytes(*job));
}

int32_t IvfCreate(baton_open_device* device, const baton_ivf_job* job, baton_ivf_lists** lists,
                  baton_error* error) {
  std::unique_ptr<IvfLists> created;
  Fault fault = device->device->Enter();
  if (!fault.failed()) fault = device->vectors->CreateLists(*job, &created);
  if (!fault.failed()) *lists = reinterpret_cast<baton_ivf_lists*>(created.release());
  return fault.Tell(error);
}

void IvfFree(baton_open_device*, baton_ivf_lists* lists) {
  const std::unique_ptr<IvfLists> freed(reinterpret_cast<IvfLists*>(lists));
}

int32_t IvfScan(baton_open_device* device, const baton_ivf_scan* scan, baton_error* error) {
  Fault fault = device->device->Enter();
  if (!fault.failed()) fault = device->vectors->Scan(*scan);
  return fault.Tell(error);
}

int32_t HostMap(baton_open_device* device, void* memory, uint64_t bytes, baton_error* error) {
  Fault fault = device->device->Enter();
  if (!fault.failed()) fault = device->device->MapHost(memory, static_cast<int64_t>(bytes));
  return fault.Tell(error);
}

void HostUnmap(baton_open_device* device, void* memory) { device->device->UnmapHost(memory); }

constexpr baton_executor_plugin kPlugin = {
    .struct_size = sizeof(baton_executor_plugin),
    .abi_version = BATON_EXECUTOR_ABI_VERSION,
    .platform = BATON_PLATFORM_GPU,
    .reserved = 0,
    .version = BATON_PLUGIN_VERSION,
    .probe = Probe,
    .open = Open,
    .close = Close,
    .sample = Sample,
    .kv_allocate = KvAllocate,
    .kv_free = KvFree,
    .model_load = ModelLoad,
    .model_unload = ModelUnload,
    .llm_run = LlmRun,
    .copy_post = CopyPost,
    .copy_poll = CopyPoll,
    .copy_cancel = CopyCancel,
    .rows_bytes = RowsBytes,
    .rows_create = RowsCreate,
    .rows_free = RowsFree,
    .rows_append = RowsAppend,
    .rows_mark = RowsMark,
    .search = Search,
    .graph_links = GraphLinks,
    .flags = BATON_PLUGIN_TELLS_LAYERS | BATON_PLUGIN_CHANGES_LOGITS,
    .host_map = HostMap,
    .host_unmap = HostUnmap,
    .warm_up_step = WarmUpStep,
    .kmeans = Kmeans,
    .pq_encode = PqEncode,
    .ivf_bytes = IvfBytes,
    .ivf_create = IvfCreate,
    .ivf_free = IvfFree,
    .ivf_scan = IvfScan,
    .copy_packed = CopyPacked,
    .encoder_load = EncoderLoad,
    .encoder_unload = EncoderUnload,
    .encoder_run = EncoderRun,
};

}  // namespace

const baton_executor_plugin* baton_executor_plugin_v1() { return &kPlugin; }
