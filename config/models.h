#pragma once

#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/config.h"

namespace baton {

// Adds a model to the list. Without a name it gets its file's, less the ending. INVALID_ARGUMENT:
// no path, or a name that is taken or has characters other than [A-Za-z0-9_.:-] (1 to 128 of them).
absl::Status AddModel(ModelOptions model, std::vector<ModelOptions>& models);

// The embedding model that config.embedder names by its path, with a name in any case.
// INVALID_ARGUMENT as for AddModel, to whose list it counts.
absl::StatusOr<ModelOptions> EmbedderModel(const Config& config);

// The value of --model: FILE or NAME=FILE.
ModelOptions ParseModelFlag(std::string_view text);

}  // namespace baton
