#include "engine/vector/graph_maker.h"

#include <optional>
#include <utility>

#include "engine/base/strings.h"

namespace baton {

absl::StatusOr<std::unique_ptr<SealedGraph>> GraphMaker::Make(const GraphRows& rows,
                                                              const GraphSeed& seed,
                                                              absl::FunctionRef<bool()> stop) {
  using Links = std::unique_ptr<GraphLinks>;
  const auto link = [&](const GraphNodes& nodes) -> absl::StatusOr<Links> {
    std::optional<Links> links =
        device_.Try<Links>(StrCat("a graph of ", nodes.count(), " nodes"), stop,
                           [&](const Link& there, absl::FunctionRef<bool()> its_stop) {
                             return there(rows, nodes, its_stop);
                           });
    if (links.has_value()) return *std::move(links);
    return GraphLinker::Build(rows, nodes, seed, stop);
  };
  return SealedGraph::BuildWith(rows, link, stop);
}

}  // namespace baton
