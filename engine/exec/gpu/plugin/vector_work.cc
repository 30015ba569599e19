#include "engine/exec/gpu/plugin/vector_work.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "cuda_kernels/distance_top_k.h"
#include "cuda_kernels/merge_top_k.h"
#include "cuda_kernels/pack_vectors.h"
#include "engine/exec/gpu/plugin/arena.h"

namespace baton::gpu {
namespace {

// Large enough for PCIe's full rate.
constexpr int64_t kStagingBytes = 8 << 20;
// A search of more takes its queries in several blocks. Some hundred queries at a time are enough
// to be limited by arithmetic and not by reading rows.
constexpr int64_t kWorkspaceBytes = 256 << 20;
constexpr int64_t kQueriesMax = 1024;

static_assert(BATON_SEARCH_K_MAX == cuda::kTopKMax);

}  // namespace

struct VectorWork::Workspace {
  Workspace(Arena& arena, const baton_vector_search& search, std::vector<Part>& parts,
            int64_t of_queries, int multiprocessors) {
    const VectorRows& rows = *parts.front().rows;
    queries = arena.Take<float>(of_queries * rows.dimension());
    packed = arena.Take<__nv_bfloat16>(of_queries * rows.cols());
    terms = arena.Take<float>(of_queries);
    const auto count = static_cast<int64_t>(parts.size());
    keys = arena.Take<uint64_t>(count * of_queries * search.k);
    bases = arena.Take<uint32_t>(count);
    distances = arena.Take<float>(of_queries * search.k);
    nearest = arena.Take<uint32_t>(of_queries * search.k);
    int64_t bytes = 0;
    for (Part& part : parts) {
      part.splits = cuda::DistanceTopKSplits({.query_count = of_queries,
                                              .row_count = part.row_count,
                                              .multiprocessors = multiprocessors});
      bytes =
          std::max(bytes, cuda::DistanceTopKWorkspaceBytes(
                              {.query_count = of_queries, .k = search.k, .splits = part.splits}));
    }
    distance = arena.Take<unsigned char>(bytes);
    int64_t words = 0;
    for (const Part& part : parts) {
      if (part.host_live != nullptr) words += cuda::CeilDiv(part.row_count, 32);
    }
    live = arena.Take<uint32_t>(words);
  }

  float* queries;         // [queries, dimension]
  __nv_bfloat16* packed;  // [queries, cols]
  float* terms;           // [queries]
  uint64_t* keys;         // [parts, queries, k]
  uint32_t* bases;        // [parts]
  float* distances;       // [queries, k]
  uint32_t* nearest;      // [queries, k]
  unsigned char* distance;
  uint32_t* live;  // of the parts that bring their own, one after another
};

Fault VectorWork::Start(Device& device, std::unique_ptr<VectorWork>* work) {
  std::unique_ptr<VectorWork> started(new VectorWork(device));
  BATON_GPU_TRY(started->stream_.Create(device));
  *work = std::move(started);
  return {};
}

Fault VectorWork::Stage() {
  if (staging_.data() == nullptr) {
    BATON_GPU_TRY(device_.AllocatePinned("vector search", kStagingBytes, &staging_));
  }
  return {};
}

Fault VectorWork::Settle(const Fault& fault) {
  if (!fault.failed() || fault.code() == BATON_UNAVAILABLE) return fault;
  BATON_GPU_TRY(stream_.Wait());  // what was asked for may still read staging_
  return fault;
}

Fault VectorWork::Send(const void* from, int64_t bytes, void* to) {
  for (int64_t sent = 0; sent < bytes; sent += kStagingBytes) {
    const int64_t some = std::min(kStagingBytes, bytes - sent);
    std::memcpy(staging_.data(), static_cast<const std::byte*>(from) + sent,
                static_cast<size_t>(some));
    BATON_GPU_TRY(device_.Check(
        cudaMemcpyAsync(static_cast<std::byte*>(to) + sent, staging_.data(),
                        static_cast<size_t>(some), cudaMemcpyHostToDevice, stream_.get()),
        "cudaMemcpyAsync"));
    BATON_GPU_TRY(stream_.Wait());
  }
  return {};
}

// ---- Rows

Fault VectorWork::Append(VectorRows& rows, const baton_rows_source& source, int64_t count) {
  if (count < 0 || count > rows.capacity() - rows.count()) {
    return {BATON_INVALID_ARGUMENT, Text(count, " vectors to be added to ", rows.count(),
                                         ", there is room for ", rows.capacity())};
  }
  const int64_t row_bytes = rows.dimension() * static_cast<int64_t>(sizeof(float));
  if (row_bytes > kStagingBytes) {
    return {BATON_UNIMPLEMENTED, Text("vectors of dimension ", rows.dimension(), ", the limit is ",
                                      kStagingBytes / static_cast<int64_t>(sizeof(float)))};
  }
  const std::lock_guard lock(mutex_);
  BATON_GPU_TRY(Stage());
  if (vectors_.data() == nullptr) {
    BATON_GPU_TRY(device_.Allocate("vector search", kStagingBytes, &vectors_));
  }
  const int64_t step = kStagingBytes / row_bytes;
  for (int64_t first = 0; first < count; first += step) {
    BATON_GPU_TRY(Settle(AppendSome(rows, source, first, std::min(step, count - first))));
  }
  return {};
}

Fault VectorWork::AppendSome(VectorRows& rows, const baton_rows_source& source, int64_t first,
                             int64_t count) {
  source.read(source.context, first, count, reinterpret_cast<float*>(staging_.data()));
  const auto bytes = static_cast<size_t>(count * rows.dimension()) * sizeof(float);
  BATON_GPU_TRY(device_.Check(cudaMemcpyAsync(vectors_.data(), staging_.data(), bytes,
                                              cudaMemcpyHostToDevice, stream_.get()),
                              "cudaMemcpyAsync"));
  const int64_t at = rows.count();
  BATON_GPU_TRY(device_.Check(
      cuda::PackVectors({.vectors = reinterpret_cast<const float*>(vectors_.data()),
                         .packed = rows.packed() + at * rows.cols(),
                         .terms = rows.terms() == nullptr ? nullptr : rows.terms() + at,
                         .rows = count,
                         .dimension = rows.dimension(),
                         .metric = rows.metric()},
                        stream_.get()),
      "PackVectors"));
  BATON_GPU_TRY(stream_.Wait());
  rows.count_ += count;
  return {};
}

Fault VectorWork::Mark(VectorRows& rows, std::span<const uint32_t> live, int64_t count) {
  if (count < 0 || count > rows.count()) {
    return {BATON_INVALID_ARGUMENT, Text(count, " vectors to be marked of ", rows.count())};
  }
  const std::lock_guard lock(mutex_);
  BATON_GPU_TRY(Stage());
  if (!rows.marked_) {
    const int64_t words = cuda::CeilDiv(rows.capacity(), 32);
    BATON_GPU_TRY(
        device_.Check(cudaMemsetAsync(rows.live(), 0xff,
                                      static_cast<size_t>(words) * sizeof(uint32_t), stream_.get()),
                      "cudaMemsetAsync"));
    rows.marked_ = true;
  }
  std::vector<uint32_t> words(live.begin(), live.end());
  // Those behind share the last word: they are live as long as nobody has said otherwise.
  if (count % 32 != 0) words.back() |= ~uint32_t{0} << count % 32;
  return Settle(
      Send(words.data(), static_cast<int64_t>(words.size() * sizeof(uint32_t)), rows.live()));
}

// ---- Searches

Fault VectorWork::ReadParts(const baton_vector_search& search, std::vector<Part>* parts) const {
  if (search.part_count < 1 || search.part_count > BATON_SEARCH_PARTS_MAX) {
    return {BATON_INVALID_ARGUMENT,
            Text("a search of ", search.part_count, " sets of vectors, must be 1 to ",
                 BATON_SEARCH_PARTS_MAX)};
  }
  if (search.k < 1 || search.k > BATON_SEARCH_K_MAX) {
    return {BATON_INVALID_ARGUMENT, Text("k is ", search.k, ", must be 1 to ", BATON_SEARCH_K_MAX)};
  }
  int64_t base = 0;
  for (int64_t i = 0; i < search.part_count; ++i) {
    const baton_search_part& part = *baton_part_at(&search, i);
    const VectorRows& rows = *reinterpret_cast<const VectorRows*>(part.rows);
    if (!parts->empty() && (rows.metric() != parts->front().rows->metric() ||
                            rows.dimension() != parts->front().rows->dimension())) {
      return {BATON_INVALID_ARGUMENT,
              Text("sets of vectors of dimensions ", rows.dimension(), " and ",
                   parts->front().rows->dimension(), ", or of two metrics, in one search")};
    }
    if (part.row_count < 0 || part.row_count > rows.count()) {
      return {BATON_INVALID_ARGUMENT,
              Text("the first ", part.row_count, " of ", rows.count(), " vectors")};
    }
    parts->push_back({.rows = &rows,
                      .row_count = part.row_count,
                      .host_live = part.row_count > 0 ? part.live : nullptr,
                      .live = rows.marked() ? rows.live() : nullptr,
                      .base = base,
                      .splits = 1});
    base += part.row_count;
  }
  if (base >= cuda::kNoRow) {
    return {BATON_INVALID_ARGUMENT,
            Text("a search of ", base, " vectors, the limit is ", cuda::kNoRow - 1)};
  }
  return {};
}

Fault VectorWork::TakeWorkspace(int64_t bytes) {
  if (workspace_.bytes() >= bytes) return {};
  workspace_ = DeviceMemory();  // before there is another
  return device_.Allocate("vector search", bytes, &workspace_);
}

Fault VectorWork::SendLive(std::vector<Part>& parts, uint32_t* to) {
  for (Part& part : parts) {
    if (part.host_live == nullptr) continue;
    const int64_t words = cuda::CeilDiv(part.row_count, 32);
    BATON_GPU_TRY(Send(part.host_live, words * static_cast<int64_t>(sizeof(uint32_t)), to));
    part.live = to;
    to += words;
  }
  return {};
}

Fault VectorWork::Search(const baton_vector_search& search) {
  const std::lock_guard lock(mutex_);
  std::vector<Part> parts;
  BATON_GPU_TRY(ReadParts(search, &parts));
  if (search.query_count <= 0) return {};
  BATON_GPU_TRY(Stage());
  const int64_t query_bytes = parts.front().rows->dimension() * static_cast<int64_t>(sizeof(float));
  const int64_t answer_bytes = search.k * static_cast<int64_t>(sizeof(float) + sizeof(uint32_t));
  int64_t block = std::min(
      {kQueriesMax, search.query_count, kStagingBytes / std::max(query_bytes, answer_bytes)});
  const auto lay_out = [&](Arena& arena) {
    return Workspace(arena, search, parts, block, device_.multiprocessors());
  };
  int64_t bytes = 0;
  for (;; block = cuda::CeilDiv(block, 2)) {
    Arena counts;
    lay_out(counts);
    bytes = counts.bytes();
    if (bytes <= kWorkspaceBytes || block == 1) break;
  }
  BATON_GPU_TRY(TakeWorkspace(bytes));
  Arena arena(workspace_.data());
  const Workspace workspace = lay_out(arena);
  std::vector<uint32_t> bases;
  for (const Part& part : parts) bases.push_back(static_cast<uint32_t>(part.base));
  BATON_GPU_TRY(Settle(
      Send(bases.data(), static_cast<int64_t>(bases.size() * sizeof(uint32_t)), workspace.bases)));
  BATON_GPU_TRY(Settle(SendLive(parts, workspace.live)));
  for (int64_t first = 0; first < search.query_count; first += block) {
    BATON_GPU_TRY(Settle(
        SearchBlock(search, parts, workspace, first, std::min(block, search.query_count - first))));
  }
  return {};
}

Fault VectorWork::SearchBlock(const baton_vector_search& search, const std::vector<Part>& parts,
                              const Workspace& workspace, int64_t first, int64_t count) {
  const VectorRows& rows = *parts.front().rows;
  BATON_GPU_TRY(Send(search.queries + first * rows.dimension(),
                     count * rows.dimension() * static_cast<int64_t>(sizeof(float)),
                     workspace.queries));
  BATON_GPU_TRY(device_.Check(cuda::PackVectors({.vectors = workspace.queries,
                                                 .packed = workspace.packed,
                                                 .terms = workspace.terms,
                                                 .rows = count,
                                                 .dimension = rows.dimension(),
                                                 .metric = rows.metric()},
                                                stream_.get()),
                              "PackVectors"));
  const int64_t list = count * search.k;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    BATON_GPU_TRY(device_.Check(
        cuda::DistanceTopK(
            {.queries = workspace.packed,
             .query_terms = workspace.terms,
             .rows = part.rows->packed(),
             .row_terms = part.rows->terms(),
             .live = part.live,
             .live_stride = 0,
             .keys = workspace.keys + static_cast<int64_t>(i) * list,
             .distances = nullptr,
             .nearest = nullptr,
             .workspace = workspace.distance,
             .query_count = count,
             .row_count = part.row_count,
             .cols = rows.cols(),
             .metric = rows.metric(),
             .k = search.k,
             .splits = std::min(part.splits, cuda::DistanceTopKSplits(
                                                 {.query_count = count,
                                                  .row_count = part.row_count,
                                                  .multiprocessors = device_.multiprocessors()}))},
            stream_.get()),
        "DistanceTopK"));
  }
  BATON_GPU_TRY(device_.Check(cuda::MergeTopK({.keys = workspace.keys,
                                               .bases = workspace.bases,
                                               .merged = nullptr,
                                               .distances = workspace.distances,
                                               .rows = workspace.nearest,
                                               .queries = count,
                                               .lists = static_cast<int64_t>(parts.size()),
                                               .length = search.k,
                                               .list_stride = list,
                                               .query_stride = search.k,
                                               .k = search.k},
                                              stream_.get()),
                              "MergeTopK"));
  const auto take = [&](const void* from, size_t bytes, void* to) -> Fault {
    BATON_GPU_TRY(device_.Check(
        cudaMemcpyAsync(staging_.data(), from, bytes, cudaMemcpyDeviceToHost, stream_.get()),
        "cudaMemcpyAsync"));
    BATON_GPU_TRY(stream_.Wait());
    std::memcpy(to, staging_.data(), bytes);
    return {};
  };
  const auto answers = static_cast<size_t>(list);
  BATON_GPU_TRY(
      take(workspace.distances, answers * sizeof(float), search.distances + first * search.k));
  return take(workspace.nearest, answers * sizeof(uint32_t), search.nearest + first * search.k);
}

}  // namespace baton::gpu
