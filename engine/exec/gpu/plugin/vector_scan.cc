// VectorWork's scans of inverted files.

#include <algorithm>
#include <cstring>

#include "cuda_kernels/merge_top_k.h"
#include "engine/exec/gpu/plugin/arena.h"
#include "engine/exec/gpu/plugin/vector_work.h"

namespace baton::gpu {
namespace {

// Queries that are scanned for at a time: their tables are the largest part of what is copied.
constexpr int64_t kScannedQueries = 256;
constexpr int64_t kTableEntries = 32;  // to each byte of a row's product codes: two of 16

struct ScanSpace {
  ScanSpace(Arena& arena, const baton_ivf_scan& scan, const IvfLists& lists, int64_t queries,
            int32_t splits) {
    probes = arena.Take<uint32_t>(queries * scan.probe_count);
    scales = arena.Take<float>(queries);
    if (lists.product_codes()) {
      tables = arena.Take<uint8_t>(queries * lists.row_bytes() * kTableEntries);
      bases = arena.Take<float>(queries * scan.probe_count);
    } else {
      high = arena.Take<int8_t>(queries * lists.row_bytes());
      low = arena.Take<int8_t>(queries * lists.row_bytes());
    }
    if (scan.live != nullptr) live = arena.Take<uint32_t>(cuda::CeilDiv(lists.rows(), 32));
    nearest = arena.Take<uint32_t>(queries * scan.k);
    workspace = arena.Take<unsigned char>(
        cuda::IvfScanWorkspaceBytes({.query_count = queries, .k = scan.k, .splits = splits}));
  }
  uint32_t* probes;
  float* scales;
  uint8_t* tables = nullptr;
  float* bases = nullptr;
  int8_t* high = nullptr;
  int8_t* low = nullptr;
  uint32_t* live = nullptr;
  uint32_t* nearest;
  unsigned char* workspace;
};

Fault CheckScan(const baton_ivf_scan& scan, const IvfLists& lists) {
  if (scan.k < 1 || scan.k > cuda::kTopKMax) {
    return {BATON_INVALID_ARGUMENT, Text("k is ", scan.k, ", must be 1 to ", cuda::kTopKMax)};
  }
  if (scan.query_count < 0 || scan.probe_count < 1 || scan.probe_count > lists.lists()) {
    return {BATON_INVALID_ARGUMENT, Text("a scan of ", scan.probe_count, " lists for ",
                                         scan.query_count, " queries, there are ", lists.lists())};
  }
  for (int64_t i = 0; i < scan.query_count * scan.probe_count; ++i) {
    if (scan.probes[i] != cuda::kNoRow && scan.probes[i] >= lists.lists()) {
      return {BATON_INVALID_ARGUMENT,
              Text("a scan of list ", scan.probes[i], ", there are ", lists.lists())};
    }
  }
  return {};
}

}  // namespace

Fault VectorWork::CreateLists(const baton_ivf_job& job, std::unique_ptr<IvfLists>* lists) {
  std::unique_ptr<IvfLists> created;
  BATON_GPU_TRY(IvfLists::Create(device_, job, &created));
  const std::lock_guard lock(mutex_);
  BATON_GPU_TRY(Stage());
  BATON_GPU_TRY(Settle(created->Fill(
      job, [this](const void* from, int64_t bytes, void* to) { return Send(from, bytes, to); })));
  *lists = std::move(created);
  return {};
}

Fault VectorWork::Scan(const baton_ivf_scan& scan) {
  const IvfLists& lists = *reinterpret_cast<const IvfLists*>(scan.lists);
  BATON_GPU_TRY(CheckScan(scan, lists));
  if (scan.query_count == 0) return {};
  const int64_t together = std::min(kScannedQueries, scan.query_count);
  const int32_t splits = cuda::IvfScanSplits({.query_count = together,
                                              .probe_count = scan.probe_count,
                                              .multiprocessors = device_.multiprocessors()});
  const std::lock_guard lock(mutex_);
  BATON_GPU_TRY(Stage());
  Arena counts;
  ScanSpace(counts, scan, lists, together, splits);
  BATON_GPU_TRY(TakeWorkspace(counts.bytes()));
  Arena arena(workspace_.data());
  const ScanSpace space(arena, scan, lists, together, splits);
  if (scan.live != nullptr) {
    BATON_GPU_TRY(Settle(
        Send(scan.live, cuda::CeilDiv(lists.rows(), 32) * int64_t{sizeof(uint32_t)}, space.live)));
  }
  const auto some = [&](int64_t first, int64_t count) -> Fault {
    const int64_t probes = count * scan.probe_count;
    const int64_t row_bytes = lists.row_bytes();
    BATON_GPU_TRY(Send(scan.probes + first * scan.probe_count, probes * int64_t{sizeof(uint32_t)},
                       space.probes));
    BATON_GPU_TRY(Send(scan.scales + first, count * int64_t{sizeof(float)}, space.scales));
    const cuda::IvfScanTask task = {.lists = lists.arrays(),
                                    .probes = space.probes,
                                    .live = space.live,
                                    .live_stride = 0,
                                    .keys = nullptr,
                                    .distances = nullptr,
                                    .nearest = space.nearest,
                                    .workspace = space.workspace,
                                    .query_count = count,
                                    .probe_count = scan.probe_count,
                                    .k = scan.k,
                                    .splits = splits};
    if (lists.product_codes()) {
      const int64_t table = row_bytes * kTableEntries;
      BATON_GPU_TRY(Send(scan.tables + first * table, count * table, space.tables));
      BATON_GPU_TRY(Send(scan.bases + first * scan.probe_count, probes * int64_t{sizeof(float)},
                         space.bases));
      BATON_GPU_TRY(device_.Check(cuda::IvfPqScan({.task = task,
                                                   .tables = space.tables,
                                                   .bases = space.bases,
                                                   .scales = space.scales,
                                                   .groups = row_bytes / 2},
                                                  stream_.get()),
                                  "IvfPqScan"));
    } else {
      BATON_GPU_TRY(Send(scan.high + first * row_bytes, count * row_bytes, space.high));
      BATON_GPU_TRY(Send(scan.low + first * row_bytes, count * row_bytes, space.low));
      BATON_GPU_TRY(device_.Check(cuda::IvfByteScan({.task = task,
                                                     .high = space.high,
                                                     .low = space.low,
                                                     .factors = space.scales,
                                                     .square_factor = scan.square_factor,
                                                     .stride = row_bytes},
                                                    stream_.get()),
                                  "IvfByteScan"));
    }
    const int64_t answer_bytes = count * scan.k * int64_t{sizeof(uint32_t)};
    BATON_GPU_TRY(device_.Check(
        cudaMemcpyAsync(staging_.data(), space.nearest, static_cast<size_t>(answer_bytes),
                        cudaMemcpyDeviceToHost, stream_.get()),
        "cudaMemcpyAsync"));
    BATON_GPU_TRY(stream_.Wait());
    std::memcpy(scan.nearest + first * scan.k, staging_.data(), static_cast<size_t>(answer_bytes));
    return {};
  };
  for (int64_t first = 0; first < scan.query_count; first += together) {
    BATON_GPU_TRY(Settle(some(first, std::min(together, scan.query_count - first))));
  }
  return {};
}

}  // namespace baton::gpu
