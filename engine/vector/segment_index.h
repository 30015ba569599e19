#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <variant>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/base/huge_buffer.h"
#include "engine/request/vector_request.h"
#include "engine/vector/graph_maker.h"
#include "engine/vector/ivf_index.h"
#include "engine/vector/ivf_maker.h"
#include "engine/vector/sealed_graph.h"

namespace baton {

// Who builds what segments are searched by; devices may be offered to both.
struct IndexMakers {
  // `metrics` outlives it.
  explicit IndexMakers(Metrics& metrics) : graphs(metrics), inverted_files(metrics) {}
  GraphMaker graphs;
  IvfMaker inverted_files;
};

// What a segment is searched by, as its collection's spec says: a graph or an inverted file; or
// nothing, of rows without vectors.
class SegmentIndex {
 public:
  SegmentIndex() = default;
  SegmentIndex(std::unique_ptr<const SealedGraph> graph) : index_(std::move(graph)) {}
  SegmentIndex(std::unique_ptr<SealedGraph> graph) : index_(std::move(graph)) {}
  SegmentIndex(std::unique_ptr<const IvfIndex> ivf) : index_(std::move(ivf)) {}
  SegmentIndex(std::unique_ptr<IvfIndex> ivf) : index_(std::move(ivf)) {}

  // `rows` as GraphRowsOf(spec, ...) says. A graph begins as that of the seed, if there is one.
  // CANCELLED once `stop` says so.
  static absl::StatusOr<SegmentIndex> Build(const CollectionSpec& spec, const GraphRows& rows,
                                            const GraphSeed& seed, IndexMakers& makers,
                                            absl::FunctionRef<bool()> stop);
  // The reverse of bytes(). DATA_LOSS where they are no such index over `rows`.
  static absl::StatusOr<SegmentIndex> Load(const CollectionSpec& spec, const GraphRows& rows,
                                           HugeBuffer bytes);

  // Null where it is another.
  const SealedGraph* graph() const;
  const IvfIndex* ivf() const;

  std::span<const std::byte> bytes() const;
  // Then vectors are decoded from a graph, and not kept.
  bool has_vectors() const { return graph() != nullptr && graph()->codes_are_exact(); }

 private:
  std::variant<std::monostate, std::unique_ptr<const SealedGraph>, std::unique_ptr<const IvfIndex>>
      index_;
};

}  // namespace baton
