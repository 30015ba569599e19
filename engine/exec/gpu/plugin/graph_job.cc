#include "engine/exec/gpu/plugin/graph_job.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "cuda_kernels/distance_top_k.h"
#include "cuda_kernels/graph_links.h"
#include "cuda_kernels/merge_top_k.h"
#include "cuda_kernels/pack_vectors.h"
#include "engine/exec/gpu/plugin/arena.h"
#include "engine/exec/gpu/plugin/vector_rows.h"

namespace baton::gpu {
namespace {

// What a piece of work is limited by: enough to be busy, little enough to be stopped, and to leave
// the device to others in between.
constexpr int64_t kNodesOfPiece = 2048;
constexpr int64_t kLinkStagingBytes = 8 << 20;

class GraphJob {
 public:
  GraphJob(Device& device, const baton_graph_job& job) : device_(device), job_(job) {}

  Fault Run() {
    BATON_GPU_TRY(Check());
    BATON_GPU_TRY(stream_.Create(device_));
    BATON_GPU_TRY(device_.AllocatePinned("a graph", kLinkStagingBytes, &staging_));
    Arena counts;
    Place(counts);
    BATON_GPU_TRY(device_.Allocate("a graph", counts.bytes(), &memory_));
    Arena arena(memory_.data());
    Place(arena);
    const Fault fault = Link();
    if (!fault.failed() || fault.code() == BATON_UNAVAILABLE) return fault;
    BATON_GPU_TRY(stream_.Wait());  // what was launched still uses the memory
    return fault;
  }

 private:
  Fault Check() {
    BATON_GPU_TRY(MetricOf(job_.metric, &metric_));
    const auto refuse = [](const auto&... why) -> Fault {
      return {BATON_INVALID_ARGUMENT, Text("a graph of ", why...)};
    };
    if (metric_ == cuda::VectorMetric::kCosine) return refuse("vectors under the cosine metric");
    if (job_.nodes < 1 || job_.nodes > std::numeric_limits<int32_t>::max()) {
      return refuse(job_.nodes, " nodes, must be 1 to 2147483647");
    }
    if (job_.dimension < 1 || RowBytes() > kLinkStagingBytes) {
      return refuse("vectors of dimension ", job_.dimension, ", must be 1 to ",
                    kLinkStagingBytes / static_cast<int64_t>(sizeof(float)));
    }
    if (job_.wanted < 1 || job_.room < job_.wanted ||
        job_.wanted + job_.room > cuda::kPruneCandidatesMax) {
      return refuse(job_.wanted, " and ", job_.room, " links to a node, must be 1 and more, and ",
                    cuda::kPruneCandidatesMax, " together at most");
    }
    if (job_.candidates < 1 || job_.candidates > cuda::kTopKMax) {
      return refuse(job_.candidates, " candidates to a node, must be 1 to ", cuda::kTopKMax);
    }
    return {};
  }

  int64_t RowBytes() const { return int64_t{job_.dimension} * static_cast<int64_t>(sizeof(float)); }
  int64_t Piece() const { return std::min(job_.nodes, kNodesOfPiece); }
  int32_t Splits(int64_t queries) const {
    return cuda::DistanceTopKSplits({.query_count = queries,
                                     .row_count = job_.nodes,
                                     .multiprocessors = device_.multiprocessors()});
  }

  void Place(Arena& arena) {
    const int64_t piece = Piece();
    vectors_ = arena.Take<float>(job_.nodes * job_.dimension);
    packed_ = arena.Take<__nv_bfloat16>(job_.nodes * Cols());
    terms_ = arena.Take<float>(job_.nodes);
    nearest_ = arena.Take<uint64_t>(piece * job_.candidates);
    kept_ = arena.Take<uint64_t>(job_.nodes * job_.wanted);
    reverse_ = arena.Take<uint64_t>(job_.nodes * job_.room);
    links_ = arena.Take<uint32_t>(piece * job_.room);
    // The last piece may have fewer nodes, and more splits, but no more of both together.
    workspace_ = arena.Take<unsigned char>(cuda::DistanceTopKWorkspaceBytes(
        {.query_count = piece, .k = job_.candidates, .splits = Splits(piece)}));
  }
  int64_t Cols() const { return cuda::PackedColumns(job_.dimension); }

  Fault Link() {
    BATON_GPU_TRY(Bring());
    const auto link_near = [this](int64_t first, int64_t count) -> Fault {
      BATON_GPU_TRY(FindNearest(first, count));
      return Prune({.candidates = nearest_,
                    .others = nullptr,
                    .kept = kept_ + first * job_.wanted,
                    .links = nullptr,
                    .nodes = count,
                    .first_node = first,
                    .candidate_count = job_.candidates,
                    .other_count = 0,
                    .wanted = job_.wanted});
    };
    BATON_GPU_TRY(ForEachPiece(link_near));
    BATON_GPU_TRY(device_.Check(cuda::ReverseLinks({.kept = kept_,
                                                    .reverse = reverse_,
                                                    .nodes = job_.nodes,
                                                    .wanted = job_.wanted,
                                                    .room = job_.room},
                                                   stream_.get()),
                                "ReverseLinks"));
    return ForEachPiece([this](int64_t first, int64_t count) -> Fault {
      BATON_GPU_TRY(Prune({.candidates = kept_ + first * job_.wanted,
                           .others = reverse_ + first * job_.room,
                           .kept = nullptr,
                           .links = links_,
                           .nodes = count,
                           .first_node = first,
                           .candidate_count = job_.wanted,
                           .other_count = job_.room,
                           .wanted = job_.room}));
      return device_.Check(
          cudaMemcpyAsync(job_.links + first * job_.room, links_,
                          static_cast<size_t>(count * job_.room) * sizeof(uint32_t),
                          cudaMemcpyDeviceToHost, stream_.get()),
          "cudaMemcpyAsync");
    });
  }

  // The nodes' vectors, as they are and packed.
  Fault Bring() {
    const int64_t step = kLinkStagingBytes / RowBytes();
    for (int64_t first = 0; first < job_.nodes; first += step) {
      const int64_t count = std::min(step, job_.nodes - first);
      job_.source.read(job_.source.context, first, count,
                       reinterpret_cast<float*>(staging_.data()));
      BATON_GPU_TRY(
          device_.Check(cudaMemcpyAsync(vectors_ + first * job_.dimension, staging_.data(),
                                        static_cast<size_t>(count * RowBytes()),
                                        cudaMemcpyHostToDevice, stream_.get()),
                        "cudaMemcpyAsync"));
      BATON_GPU_TRY(stream_.Wait());  // before the buffer is filled again
    }
    return device_.Check(cuda::PackVectors({.vectors = vectors_,
                                            .packed = packed_,
                                            .terms = terms_,
                                            .rows = job_.nodes,
                                            .dimension = job_.dimension,
                                            .metric = metric_},
                                           stream_.get()),
                         "PackVectors");
  }

  template <class Do>
  Fault ForEachPiece(Do work) {
    for (int64_t first = 0; first < job_.nodes; first += kNodesOfPiece) {
      if (job_.stop(job_.stop_context) != 0) return {BATON_CANCELLED, "graph building was stopped"};
      BATON_GPU_TRY(work(first, std::min(kNodesOfPiece, job_.nodes - first)));
      BATON_GPU_TRY(stream_.Wait());
    }
    return {};
  }

  Fault FindNearest(int64_t first, int64_t count) {
    return device_.Check(cuda::DistanceTopK({.queries = packed_ + first * Cols(),
                                             .query_terms = terms_ + first,
                                             .rows = packed_,
                                             .row_terms = terms_,
                                             .live = nullptr,
                                             .live_stride = 0,
                                             .keys = nearest_,
                                             .distances = nullptr,
                                             .nearest = nullptr,
                                             .workspace = workspace_,
                                             .query_count = count,
                                             .row_count = job_.nodes,
                                             .cols = Cols(),
                                             .metric = metric_,
                                             .k = job_.candidates,
                                             .splits = std::min(Splits(Piece()), Splits(count))},
                                            stream_.get()),
                         "DistanceTopK");
  }

  // `args` but for what is the same each time.
  Fault Prune(cuda::PruneLinksArgs args) {
    args.vectors = vectors_;
    args.dimension = job_.dimension;
    args.metric = metric_;
    return device_.Check(cuda::PruneLinks(args, stream_.get()), "PruneLinks");
  }

  Device& device_;
  const baton_graph_job& job_;
  cuda::VectorMetric metric_ = {};
  Stream stream_;
  PinnedMemory staging_;
  DeviceMemory memory_;
  float* vectors_ = nullptr;         // [nodes, dimension]
  __nv_bfloat16* packed_ = nullptr;  // [nodes, cols]
  float* terms_ = nullptr;           // [nodes]
  uint64_t* nearest_ = nullptr;      // [nodes of a piece, candidates]
  uint64_t* kept_ = nullptr;         // [nodes, wanted]
  uint64_t* reverse_ = nullptr;      // [nodes, room]
  uint32_t* links_ = nullptr;        // [nodes of a piece, room]
  unsigned char* workspace_ = nullptr;
};

}  // namespace

Fault LinkGraph(Device& device, const baton_graph_job& job) { return GraphJob(device, job).Run(); }

}  // namespace baton::gpu
