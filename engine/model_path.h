#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace baton {

// Whether a client may name this file: it is within `directory` (repository.directory), relative to
// it or absolute. INVALID_ARGUMENT: empty, too long, with a NUL or a ".." in it. PERMISSION_DENIED:
// elsewhere. FAILED_PRECONDITION: no directory is configured. Looks at the words alone.
absl::Status CheckModelPath(const std::string& directory, const std::string& path);

// The file that a checked path is, without links: where those lead out of the directory,
// PERMISSION_DENIED. NOT_FOUND: there is none. Reads the disk.
absl::StatusOr<std::string> ResolveModelPath(const std::string& directory, const std::string& path);

}  // namespace baton
