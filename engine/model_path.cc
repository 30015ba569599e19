#include "engine/model_path.h"

#include <filesystem>
#include <system_error>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPathBytesMax = 4096;  // Linux's own limit

// `path` is `directory` or below it; both plain: no dots, no links.
bool IsWithin(const fs::path& directory, const fs::path& path) {
  auto part = path.begin();
  for (const fs::path& wanted : directory) {
    if (wanted.empty()) continue;  // behind a slash at its end
    if (part == path.end() || *part++ != wanted) return false;
  }
  return part != path.end();
}

absl::Status Elsewhere(const std::string& path) {
  return absl::PermissionDeniedError(StrCat("path \"", Escaped(path),
                                            "\" is not within repository.directory, where models "
                                            "are loaded from"));
}

}  // namespace

absl::Status CheckModelPath(const std::string& directory, const std::string& path) {
  if (directory.empty()) {
    return absl::FailedPreconditionError(
        "models cannot be loaded or unloaded while the daemon runs: repository.directory is not "
        "set");
  }
  if (path.empty() || path.size() > kPathBytesMax) {
    return absl::InvalidArgumentError(
        StrCat("path must be 1 to ", kPathBytesMax, " bytes, but is ", path.size()));
  }
  if (path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("path holds a NUL byte");
  }
  const fs::path plain(path);
  for (const fs::path& part : plain) {
    if (part == "..") {
      return absl::InvalidArgumentError(
          StrCat("path must not hold \"..\", but is \"", Escaped(path), "\""));
    }
  }
  if (plain.is_absolute() &&
      !IsWithin(fs::path(directory).lexically_normal(), plain.lexically_normal())) {
    return Elsewhere(path);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ResolveModelPath(const std::string& directory,
                                             const std::string& path) {
  RETURN_IF_ERROR(CheckModelPath(directory, path));
  std::error_code error;
  const fs::path root = fs::canonical(directory, error);
  if (error) {
    return absl::FailedPreconditionError(
        StrCat("repository.directory, ", directory, ": ", error.message()));
  }
  const fs::path file = fs::canonical(fs::path(directory) / path, error);
  if (error) {
    const absl::StatusCode code = error == std::errc::no_such_file_or_directory
                                      ? absl::StatusCode::kNotFound
                                      : absl::StatusCode::kInvalidArgument;
    return absl::Status(code, StrCat("path \"", Escaped(path), "\": ", error.message()));
  }
  if (!IsWithin(root, file)) return Elsewhere(path);
  if (!fs::is_regular_file(file, error)) {
    return absl::InvalidArgumentError(StrCat("path \"", Escaped(path), "\" is not a file"));
  }
  return file.string();
}

}  // namespace baton
