#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/model/chat/workspace.h"

// Edits of texts that methods and filters share.
namespace baton::chat {

// `text` with the first `count` occurrences of `from` replaced; negative: all. An empty `from` is
// found before each character and at the end.
struct Replacement {
  const MarkedText& from;
  const MarkedText& to;
  int64_t count = -1;
};
absl::StatusOr<Value> Replace(const MarkedText& text, const Replacement& replacement,
                              Workspace& workspace);

// The items' texts with `separator` between them.
absl::StatusOr<Value> Join(const std::vector<Value>& items, const MarkedText& separator,
                           Workspace& workspace);

// Parts of `text` as a list.
absl::StatusOr<Value> PartsOf(const MarkedText& text, const std::vector<MarkedText::Range>& parts,
                              Workspace& workspace);

}  // namespace baton::chat
