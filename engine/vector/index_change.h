#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/request/vector_request.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/payload_snapshot.h"

namespace baton {

// Other payload indexes for a collection that goes on being written and searched while they are
// made. A row has what its record in the coming sidecar of its part says; a row without one, which
// was there before, has its values in that sidecar's columns, or, as long as those are not made, in
// `payloads`. Immutable.
struct IndexChange {
  std::shared_ptr<const PayloadIndexes> indexes;  // those to come
  std::vector<int32_t> from;   // [indexes]: which one of those so far it is, or kNew
  WriteSequence sequence = 0;  // the last write that `payloads` has
  std::shared_ptr<const PayloadSnapshot> payloads;

  static constexpr int32_t kNew = -1;
};

}  // namespace baton
