#include "engine/exec/gpu/plugin/copies.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cuda_kernels/convert_kv.h"
#include "cuda_kernels/launch.h"

namespace baton::gpu {
namespace {

// Large enough for PCIe's full rate, small enough that a cancellation waits for microseconds.
constexpr int64_t kStageBytes = 2 << 20;
static_assert(kStageBytes >= BATON_PACKED_LAYER_BYTES_MAX, "a layer fits");
constexpr int32_t kBlockTokensMin = 8;
constexpr int32_t kBlockTokensMax = 64;
// Blocks of either side that hold the positions of one of the other.
constexpr int64_t kTableInts = kBlockTokensMax / kBlockTokensMin;

// Of all layers, in one pool that is yet to be said.
cuda::PagedKv PagedOf(const baton_kv_layout& layout) {
  cuda::PagedKv kv = {.kv_heads = layout.kv_heads,
                      .head_dim = layout.head_dim,
                      .block_tokens = layout.block_tokens,
                      .element = static_cast<cuda::KvElement>(layout.type)};
  kv.block_bytes = 2 * kv.plane_bytes() * layout.layers;
  return kv;
}

Fault CheckLayout(const char* of, const baton_kv_layout& layout) {
  const bool blocks = layout.block_tokens >= kBlockTokensMin &&
                      layout.block_tokens <= kBlockTokensMax &&
                      (layout.block_tokens & (layout.block_tokens - 1)) == 0;
  if (layout.layers >= 1 && layout.kv_heads >= 1 && layout.head_dim >= 1 &&
      layout.head_dim <= BATON_PACKED_HEAD_DIM_MAX && blocks && layout.type >= BATON_KV_F32 &&
      layout.type <= BATON_KV_INT8) {
    return {};
  }
  return {
      BATON_INVALID_ARGUMENT,
      Text("a packing whose ", of, " has ", layout.layers, " layers, ", layout.kv_heads,
           " kv_heads, a head_dim of ", layout.head_dim, " (at most ", BATON_PACKED_HEAD_DIM_MAX,
           "), block_tokens of ", layout.block_tokens, " (a power of two, ", kBlockTokensMin,
           " to ", kBlockTokensMax, "), type ", layout.type)};
}

}  // namespace

Fault Copies::CheckPacking(const baton_kv_packing& packing) {
  const baton_kv_layout& from = packing.source;
  const baton_kv_layout& to = packing.destination;
  BATON_GPU_TRY(CheckLayout("source", from));
  BATON_GPU_TRY(CheckLayout("destination", to));
  if (from.layers != to.layers || from.kv_heads != to.kv_heads || from.head_dim != to.head_dim ||
      packing.tokens < 0 || packing.layer_begin < 0 || packing.layer_begin > packing.layer_end ||
      packing.layer_end > from.layers) {
    return {BATON_INVALID_ARGUMENT,
            Text("a packing of ", packing.tokens, " positions, layers ", packing.layer_begin,
                 " to ", packing.layer_end, ", from ", from.layers, " x ", from.kv_heads, " x ",
                 from.head_dim, " to ", to.layers, " x ", to.kv_heads, " x ", to.head_dim)};
  }
  const int64_t together = std::max(from.block_tokens, to.block_tokens) / to.block_tokens;
  const int64_t layer_bytes = 2 * PagedOf(to).plane_bytes() * together;
  if (layer_bytes <= BATON_PACKED_LAYER_BYTES_MAX) return {};
  return {BATON_INVALID_ARGUMENT, Text("a packing of ", layer_bytes, " bytes a layer, at most ",
                                       BATON_PACKED_LAYER_BYTES_MAX)};
}

Fault Copies::Start(Device& device, bool packs, std::unique_ptr<Copies>* copies) {
  std::unique_ptr<Copies> started(new Copies(device));
  BATON_GPU_TRY(started->stream_.Create(device));
  for (Stage& stage : started->stages_) {
    BATON_GPU_TRY(device.AllocatePinned("copies of KV blocks", kStageBytes, &stage.memory));
    BATON_GPU_TRY(device.Check(cudaEventCreateWithFlags(&stage.sent, cudaEventDisableTiming),
                               "cudaEventCreate"));
    if (!packs) continue;
    constexpr int64_t kTableBytes = 2 * kTableInts * int64_t{sizeof(int32_t)};
    BATON_GPU_TRY(device.Allocate("KV blocks that are packed", kStageBytes, &stage.packed));
    BATON_GPU_TRY(device.Allocate("KV blocks that are packed", kTableBytes, &stage.device_tables));
    BATON_GPU_TRY(device.AllocatePinned("KV blocks that are packed", kTableBytes, &stage.tables));
  }
  Copies* const of = started.get();
  of->queue_.emplace(plugin::CopyQueue::Device{
      .label = "GPU",
      .check = [of](const void* on_device, int64_t bytes) { return of->Check(on_device, bytes); },
      .carry = [of](const Job& job,
                    const std::function<bool()>& cancelled) { return of->Carry(job, cancelled); }});
  *copies = std::move(started);
  return {};
}

Copies::~Copies() {
  queue_.reset();  // its thread uses the stages
  for (Stage& stage : stages_) {
    if (stage.sent != nullptr) cudaEventDestroy(stage.sent);
  }
}

Fault Copies::Check(const void* on_device, int64_t bytes) const {
  const Device::KvMemory memory = device_.FindKv(on_device);
  if (memory.begin == nullptr ||
      static_cast<const unsigned char*>(on_device) + bytes > memory.begin + memory.bytes) {
    return {BATON_INVALID_ARGUMENT, "is not in the device's KV memory"};
  }
  return {};
}

Fault Copies::Carry(const Job& copy, const std::function<bool()>& cancelled) {
  BATON_GPU_TRY(device_.Enter());
  Fault fault = copy.packing ? CarryPacked(copy, cancelled) : CarryBlocks(copy, cancelled);
  if (fault.failed()) static_cast<void>(stream_.Wait());  // for what no event stands behind
  // In their order, so that the stream has nothing of this copy left, however it went.
  for (int i = 0; i < 2; ++i) {
    Stage& stage = NextStage();
    if (fault.failed()) stage.parts.clear();
    const Fault emptied = Empty(stage);
    if (!fault.failed()) fault = emptied;
  }
  return fault;
}

Copies::Stage& Copies::NextStage() {
  next_ = 1 - next_;
  return stages_[next_];
}

Fault Copies::CarryBlocks(const Job& copy, const std::function<bool()>& cancelled) {
  for (size_t i = 0; i < copy.sources.size(); ++i) {
    for (int64_t at = 0; at < copy.block_bytes; at += kStageBytes) {
      if (cancelled()) return {};
      BATON_GPU_TRY(CarryPiece(copy, copy.sources[i] + at, copy.destinations[i] + at,
                               std::min(kStageBytes, copy.block_bytes - at), NextStage()));
    }
  }
  return {};
}

Fault Copies::CarryPiece(const Job& copy, const std::byte* from, std::byte* to, int64_t bytes,
                         Stage& stage) {
  BATON_GPU_TRY(Empty(stage));
  if (!copy.to_device) {
    BATON_GPU_TRY(SendFromDevice(from, to, 0, bytes, stage));
    return Sent(stage);
  }
  const auto size = static_cast<size_t>(bytes);
  const std::byte* source = from;
  if (!device_.IsMapped(from, bytes)) {
    std::memcpy(stage.memory.data(), from, size);
    source = stage.memory.data();
  }
  BATON_GPU_TRY(device_.Check(
      cudaMemcpyAsync(to, source, size, cudaMemcpyHostToDevice, stream_.get()), "cudaMemcpyAsync"));
  return Sent(stage);
}

// Through the stage's memory, `at` into it, where the destination is not mapped.
Fault Copies::SendFromDevice(const std::byte* from, std::byte* to, int64_t at, int64_t bytes,
                             Stage& stage) {
  std::byte* destination = to;
  if (!device_.IsMapped(to, bytes)) {
    destination = stage.memory.data() + at;
    stage.parts.push_back({.destination = to, .at = at, .bytes = bytes});
  }
  return device_.Check(cudaMemcpyAsync(destination, from, static_cast<size_t>(bytes),
                                       cudaMemcpyDeviceToHost, stream_.get()),
                       "cudaMemcpyAsync");
}

Fault Copies::Sent(Stage& stage) {
  stage.busy = true;
  return device_.Check(cudaEventRecord(stage.sent, stream_.get()), "cudaEventRecord");
}

// The positions that fill a block of either layout, of as many layers as a stage holds, at a time.
Fault Copies::CarryPacked(const Job& copy, const std::function<bool()>& cancelled) {
  const baton_kv_packing& packing = *copy.packing;
  const int64_t together = std::max(packing.source.block_tokens, packing.destination.block_tokens);
  const int64_t layer_bytes = 2 * PagedOf(packing.destination).plane_bytes() *
                              (together / packing.destination.block_tokens);
  const int64_t layers_max = kStageBytes / layer_bytes;
  for (int64_t first = 0; first < packing.tokens; first += together) {
    for (int64_t layer = packing.layer_begin; layer < packing.layer_end; layer += layers_max) {
      if (cancelled()) return {};
      BATON_GPU_TRY(SendPacked(copy,
                               {.first = first,
                                .tokens = std::min(together, packing.tokens - first),
                                .layer = layer,
                                .layers = std::min(layers_max, packing.layer_end - layer)},
                               NextStage()));
    }
  }
  return {};
}

Fault Copies::SendPacked(const Job& copy, const Piece& piece, Stage& stage) {
  BATON_GPU_TRY(Empty(stage));
  cuda::PagedKv source = PagedOf(copy.packing->source);
  cuda::PagedKv destination = PagedOf(copy.packing->destination);
  const Device::KvMemory pool = device_.FindKv(copy.sources.front());
  const int64_t layer_bytes = 2 * destination.plane_bytes();
  source.pool = pool.begin;
  source.layer_offset = piece.layer * 2 * source.plane_bytes();
  destination.pool = reinterpret_cast<unsigned char*>(stage.packed.data());
  destination.block_bytes = piece.layers * layer_bytes;
  source.table_stride = destination.table_stride = kTableInts;
  auto* const tables = reinterpret_cast<int32_t*>(stage.tables.data());
  const auto* const on_device = reinterpret_cast<const int32_t*>(stage.device_tables.data());
  source.block_table = on_device;
  destination.block_table = on_device + kTableInts;

  const int64_t first_source = piece.first / source.block_tokens;
  for (int64_t i = 0; i < cuda::CeilDiv(piece.tokens, int64_t{source.block_tokens}); ++i) {
    const auto* const block =
        reinterpret_cast<const unsigned char*>(copy.sources[static_cast<size_t>(first_source + i)]);
    const int64_t offset = block - pool.begin;
    if (offset < 0 || offset % source.block_bytes != 0 ||
        offset + source.block_bytes > pool.bytes) {
      return {BATON_INVALID_ARGUMENT, Text("KV block ", first_source + i,
                                           " of a packing is not of the device's memory that the "
                                           "first one is of")};
    }
    tables[i] = static_cast<int32_t>(offset / source.block_bytes);
  }
  const int64_t blocks = cuda::CeilDiv(piece.tokens, int64_t{destination.block_tokens});
  for (int64_t i = 0; i < blocks; ++i) tables[kTableInts + i] = static_cast<int32_t>(i);
  BATON_GPU_TRY(device_.Check(
      cudaMemcpyAsync(stage.device_tables.data(), tables, static_cast<size_t>(stage.tables.bytes()),
                      cudaMemcpyHostToDevice, stream_.get()),
      "cudaMemcpyAsync"));
  if (piece.tokens < blocks * destination.block_tokens) {
    BATON_GPU_TRY(device_.Check(
        cudaMemsetAsync(stage.packed.data(), 0,
                        static_cast<size_t>(blocks * destination.block_bytes), stream_.get()),
        "cudaMemsetAsync"));
  }
  BATON_GPU_TRY(device_.Check(cuda::ConvertKv({.source = source,
                                               .destination = destination,
                                               .tokens = piece.tokens,
                                               .layers = piece.layers},
                                              stream_.get()),
                              "ConvertKv"));
  const int64_t first_block = piece.first / destination.block_tokens;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t at = i * destination.block_bytes;
    BATON_GPU_TRY(SendFromDevice(
        stage.packed.data() + at,
        copy.destinations[static_cast<size_t>(first_block + i)] + piece.layer * layer_bytes, at,
        destination.block_bytes, stage));
  }
  return Sent(stage);
}

// Waits until the link is done with it, and takes out what came from the device.
Fault Copies::Empty(Stage& stage) {
  const std::vector<Stage::Part> parts = std::exchange(stage.parts, {});
  if (!stage.busy) return {};
  stage.busy = false;
  BATON_GPU_TRY(device_.Check(cudaEventSynchronize(stage.sent), "cudaEventSynchronize"));
  for (const Stage::Part& part : parts) {
    std::memcpy(part.destination, stage.memory.data() + part.at, static_cast<size_t>(part.bytes));
  }
  return {};
}

}  // namespace baton::gpu
