#pragma once

#include <string>

#include "absl/status/status.h"
#include "engine/executor_board.h"

namespace baton {

// Keeps what was learned of the executors in a file. Any thread; blocks on the disk.

// Replaces the file at once, by a rename: a crash leaves the old one or the new one.
absl::Status SaveCostsTo(const std::string& path, const ExecutorBoard& board);

// Takes over what the file holds. Without one nothing was learned yet; a damaged one is named in
// the log and ignored.
void RestoreCosts(const std::string& path, ExecutorBoard& board);

}  // namespace baton
