#include "engine/vector/ivf_maker.h"

#include <optional>
#include <utility>

#include "engine/base/strings.h"

namespace baton {

absl::StatusOr<std::unique_ptr<IvfIndex>> IvfMaker::Make(const GraphRows& rows,
                                                         const IvfParams& params,
                                                         absl::FunctionRef<bool()> stop) {
  using Index = std::unique_ptr<IvfIndex>;
  std::optional<Index> index =
      device_.Try<Index>(StrCat("an inverted file of ", rows.rows, " rows"), stop,
                         [&](const IvfMath* math, absl::FunctionRef<bool()> its_stop) {
                           return IvfIndex::Build(rows, params, *math, its_stop);
                         });
  if (index.has_value()) return *std::move(index);
  return IvfIndex::Build(rows, params, HostIvfMath(), stop);
}

}  // namespace baton
