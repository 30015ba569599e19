// libbaton_fpga.so: the FPGA executor's side of executor_abi.h, on XRT's native API.
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "engine/exec/executor_abi.h"
#include "engine/exec/fpga/plugin/card.h"
#include "engine/exec/fpga/plugin/decoder.h"
#include "engine/exec/fpga/plugin/graph_store.h"
#include "engine/exec/fpga/plugin/kv_pools.h"
#include "engine/exec/fpga/plugin/xrt_guard.h"
#include "engine/exec/plugin_copy_queue.h"
#include "experimental/xrt_system.h"
#include "xrt/xrt_device.h"

struct baton_open_device {
  std::unique_ptr<baton::fpga::Card> card;
  std::unique_ptr<baton::fpga::KvPools> pools;
  std::unique_ptr<baton::fpga::GraphStore> graphs;
  std::unique_ptr<baton::plugin::CopyQueue> copies;  // goes first
  baton_host host;
};

struct baton_loaded_model {
  std::unique_ptr<baton::fpga::Decoder> decoder;
};

namespace {

using baton::fpga::Card;
using baton::fpga::Guarded;
using baton::plugin::CopyQueue;
using baton::plugin::Fault;
using baton::plugin::Text;

// XRT loads its driver part from here at its first use and throws where it cannot.
constexpr char kXrtHint[] =
    "XILINX_XRT must name an XRT installation whose lib folder has libxrt_core.so.2";

// Describes card `card`; the banks are known once an xclbin is loaded.
Fault DescribeCard(unsigned card, const baton_probe* probe, baton_device* device) {
  return Guarded(Text("FPGA card ", card, " does not open").c_str(), [&]() -> Fault {
    const xrt::device opened(card);
    const auto name = opened.get_info<xrt::info::device::name>();
    const auto bdf = opened.get_info<xrt::info::device::bdf>();
    std::snprintf(device->name, sizeof(device->name), "%s", name.c_str());
    std::snprintf(device->detail, sizeof(device->detail), "PCIe %s", bdf.c_str());
    if (BATON_DEVICE_HAS(probe, pci_address)) {
      std::snprintf(device->pci_address, sizeof(device->pci_address), "%s", bdf.c_str());
    }
    return {};
  });
}

int32_t Probe(const baton_host* host, baton_probe* probe) {
  unsigned cards = 0;
  const Fault started = Guarded("XRT does not start", [&]() -> Fault {
    cards = xrt::system::enumerate_devices();
    return {};
  });
  if (started.failed()) {
    std::snprintf(probe->reason, sizeof(probe->reason), "%s; %s", started.message().c_str(),
                  kXrtHint);
    return 1;
  }
  if (cards == 0) {
    std::snprintf(probe->reason, sizeof(probe->reason),
                  "XRT finds no card; is one fitted and its kernel driver (xocl) loaded?");
    return 0;
  }

  baton_device beyond_capacity = {};
  for (unsigned card = 0; card < cards; ++card) {
    baton_device* const device = probe->device_count < probe->device_capacity
                                     ? baton_probe_device(probe, probe->device_count)
                                     : &beyond_capacity;
    const Fault described = DescribeCard(card, probe, device);
    if (!described.failed()) {
      ++probe->device_count;
      continue;
    }
    std::snprintf(probe->reason, sizeof(probe->reason), "%s", described.message().c_str());
    host->log(BATON_LOG_WARN, probe->reason);
  }
  return 0;  // no device: the reason is that of the last card
}

Fault Carry(baton_open_device& device, const CopyQueue::Job& job,
            const std::function<bool()>& cancelled) {
  BATON_PLUGIN_TRY(device.card->Enter());
  const auto bytes = static_cast<uint64_t>(job.block_bytes);
  for (size_t i = 0; i < job.sources.size() && !cancelled(); ++i) {
    if (job.to_device) {
      BATON_PLUGIN_TRY(device.pools->Write(job.destinations[i], job.sources[i], bytes));
    } else {
      BATON_PLUGIN_TRY(device.pools->Read(job.sources[i], job.destinations[i], bytes));
    }
  }
  return {};
}

Fault OlderDaemon() {
  return {BATON_UNIMPLEMENTED,
          "the daemon is older than the FPGA plug-in; use those built together"};
}

int32_t Open(const baton_host* host, const baton_device_options* options,
             baton_open_device** device, baton_error* error) {
  if (host->struct_size < sizeof(baton_host) || options->struct_size < BATON_OPTIONS_FIRST_BYTES) {
    return OlderDaemon().Tell(error);
  }
  auto opened = std::make_unique<baton_open_device>();
  opened->host = *host;
  const Fault fault =
      Card::Open(*host,
                 {.index = options->index,
                  .xclbin = options->device_image != nullptr ? options->device_image : "",
                  .run_timeout_ms = options->run_timeout_ms,
                  .bank_bytes_max = options->bank_bytes_max},
                 &opened->card);
  if (fault.failed()) return fault.Tell(error);
  baton_open_device* const made = opened.release();
  made->pools = std::make_unique<baton::fpga::KvPools>(*made->card);
  made->graphs = std::make_unique<baton::fpga::GraphStore>(
      *made->card, BATON_OPTIONS_HAS(options, walk_bytes_max) ? options->walk_bytes_max : 0);
  made->copies = std::make_unique<CopyQueue>(CopyQueue::Device{
      .label = "FPGA",
      .check =
          [made](const void* block, int64_t bytes) {
            return made->pools->Check(block, static_cast<uint64_t>(bytes));
          },
      .carry =
          [made](const CopyQueue::Job& job, const std::function<bool()>& cancelled) {
            return Carry(*made, job, cancelled);
          }});
  *device = made;
  return BATON_OK;
}

void Close(baton_open_device* device) {
  const std::unique_ptr<baton_open_device> closed(device);
  closed->copies.reset();
  closed->graphs.reset();
  closed->pools.reset();
}

void Sample(baton_open_device* device, baton_device_sample* sample) {
  device->card->Sample(sample);
  if (BATON_SAMPLE_HAS(sample, walk_bytes)) {
    sample->walk_bytes = static_cast<int64_t>(device->graphs->bytes_taken());
  }
}

void Describe(baton_open_device* device, baton_device* described) {
  described->emulated = device->card->emulated() ? 1 : 0;
  described->memory_bytes_total = device->card->memory_bytes_total();
}

int32_t KvAllocateBlocks(baton_open_device* device, uint64_t count, uint64_t block_bytes,
                         void** memory, baton_error* error) {
  Fault fault = device->card->Enter();
  if (!fault.failed()) fault = device->pools->Allocate(count, block_bytes, memory);
  return fault.Tell(error);
}

// All of it in one bank: whoever does not know blocks.
int32_t KvAllocate(baton_open_device* device, uint64_t bytes, void** memory, baton_error* error) {
  return KvAllocateBlocks(device, 1, bytes, memory, error);
}

void KvFree(baton_open_device* device, void* memory) { device->pools->Free(memory); }

int32_t ModelLoad(baton_open_device* device, const baton_llm_model* model,
                  baton_loaded_model** loaded, baton_error* error) {
  auto made = std::make_unique<baton_loaded_model>();
  Fault fault = device->card->Enter();
  if (!fault.failed()) {
    fault = baton::fpga::Decoder::Load(device->host, *device->card, *device->pools, *model,
                                       &made->decoder);
  }
  if (!fault.failed()) *loaded = made.release();
  return fault.Tell(error);
}

void ModelUnload(baton_open_device*, baton_loaded_model* model) {
  const std::unique_ptr<baton_loaded_model> unloaded(model);
}

int32_t LlmRun(baton_open_device* device, baton_loaded_model* model, const baton_llm_batch* batch,
               baton_error* error) {
  Fault fault = device->card->Enter();
  if (!fault.failed()) fault = model->decoder->Run(*batch);
  return fault.Tell(error);
}

int32_t CopyPost(baton_open_device* device, const baton_copy* copy, uint64_t* ticket,
                 baton_error* error) {
  return device->copies->Post(*copy, ticket).Tell(error);
}

int32_t CopyPoll(baton_open_device* device, uint64_t ticket, uint32_t* done, uint64_t* copy_us,
                 baton_error* error) {
  bool complete = false;
  const Fault fault = device->copies->Poll(ticket, &complete, copy_us);
  *done = complete ? 1 : 0;
  return fault.Tell(error);
}

void CopyCancel(baton_open_device* device, uint64_t ticket) { device->copies->Cancel(ticket); }

bool Knows(const baton_walk_graph_job& job) { return job.struct_size >= sizeof(job); }

int32_t WalkGraphBytes(baton_open_device*, const baton_walk_graph_job* job, uint64_t* bytes,
                       baton_error* error) {
  if (!Knows(*job)) return OlderDaemon().Tell(error);
  return baton::fpga::GraphStore::BytesOf(*job, bytes).Tell(error);
}

int32_t WalkGraphsFit(baton_open_device* device, const uint64_t* bytes, int64_t count,
                      baton_error* error) {
  return device->graphs->Fit({bytes, static_cast<size_t>(count)}).Tell(error);
}

int32_t WalkGraphCreate(baton_open_device* device, const baton_walk_graph_job* job,
                        baton_walk_graph** graph, baton_error* error) {
  if (!Knows(*job)) return OlderDaemon().Tell(error);
  Fault fault = device->card->Enter();
  if (!fault.failed()) fault = device->graphs->Create(*job, graph);
  return fault.Tell(error);
}

void WalkGraphFree(baton_open_device* device, baton_walk_graph* graph) {
  device->graphs->Free(graph);
}

int32_t Walk(baton_open_device* device, const baton_walk* walk, baton_error* error) {
  if (walk->struct_size < sizeof(*walk)) return OlderDaemon().Tell(error);
  Fault fault = device->card->Enter();
  if (!fault.failed()) fault = device->graphs->Walk(*walk);
  return fault.Tell(error);
}

constexpr baton_executor_plugin kPlugin = {
    .struct_size = sizeof(baton_executor_plugin),
    .abi_version = BATON_EXECUTOR_ABI_VERSION,
    .platform = BATON_PLATFORM_FPGA,
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
    .describe = Describe,
    .kv_allocate_blocks = KvAllocateBlocks,
    .walk_graph_bytes = WalkGraphBytes,
    .walk_graphs_fit = WalkGraphsFit,
    .walk_graph_create = WalkGraphCreate,
    .walk_graph_free = WalkGraphFree,
    .walk = Walk,
};

}  // namespace

const baton_executor_plugin* baton_executor_plugin_v1() { return &kPlugin; }
