#include "engine/vector/segment_index.h"

#include "engine/base/status_macros.h"

namespace baton {
namespace {

IvfParams ParamsOf(const CollectionSpec& spec) {
  IvfCodes codes = IvfCodes::kBytes;
  if (spec.index == IndexKind::kIvfPq) {
    codes = spec.ivf_pq_bits == 8 ? IvfCodes::kPq8 : IvfCodes::kPq;
  }
  return {.codes = codes, .lists = spec.ivf_lists, .pq_bytes = spec.ivf_pq_bytes};
}

}  // namespace

absl::StatusOr<SegmentIndex> SegmentIndex::Build(const CollectionSpec& spec, const GraphRows& rows,
                                                 const GraphSeed& seed, IndexMakers& makers,
                                                 absl::FunctionRef<bool()> stop) {
  if (spec.dimension == 0) return SegmentIndex();
  if (spec.index == IndexKind::kHnsw) {
    ASSIGN_OR_RETURN(std::unique_ptr<SealedGraph> graph, makers.graphs.Make(rows, seed, stop));
    return SegmentIndex(std::move(graph));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<IvfIndex> ivf,
                   makers.inverted_files.Make(rows, ParamsOf(spec), stop));
  return SegmentIndex(std::move(ivf));
}

absl::StatusOr<SegmentIndex> SegmentIndex::Load(const CollectionSpec& spec, const GraphRows& rows,
                                                HugeBuffer bytes) {
  if (spec.dimension == 0) {
    if (bytes.size() == 0) return SegmentIndex();
    return absl::DataLossError("index is damaged: there are no vectors");
  }
  if (spec.index == IndexKind::kHnsw) {
    ASSIGN_OR_RETURN(std::unique_ptr<SealedGraph> graph, SealedGraph::Load(rows, std::move(bytes)));
    return SegmentIndex(std::move(graph));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<IvfIndex> ivf, IvfIndex::Load(rows, std::move(bytes)));
  if (ivf->codes() != ParamsOf(spec).codes) {
    return absl::DataLossError("index is damaged: it has the other kind of codes");
  }
  return SegmentIndex(std::move(ivf));
}

const SealedGraph* SegmentIndex::graph() const {
  const auto* const graph = std::get_if<std::unique_ptr<const SealedGraph>>(&index_);
  return graph == nullptr ? nullptr : graph->get();
}

const IvfIndex* SegmentIndex::ivf() const {
  const auto* const ivf = std::get_if<std::unique_ptr<const IvfIndex>>(&index_);
  return ivf == nullptr ? nullptr : ivf->get();
}

std::span<const std::byte> SegmentIndex::bytes() const {
  if (graph() != nullptr) return graph()->bytes();
  return ivf() != nullptr ? ivf()->bytes() : std::span<const std::byte>();
}

}  // namespace baton
