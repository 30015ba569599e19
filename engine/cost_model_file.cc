#include "engine/cost_model_file.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "engine/base/log.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr std::uintmax_t kFileBytesMax = 64 << 20;

}  // namespace

absl::Status SaveCostsTo(const std::string& path, const ExecutorBoard& board) {
  const std::string temporary = StrCat(path, ".tmp");
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << board.SaveCosts();
    file.flush();
    if (!file.good()) return absl::ErrnoToStatus(errno, StrCat("cannot write ", temporary));
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, StrCat("cannot rename ", temporary, " to ", path));
  }
  return absl::OkStatus();
}

void RestoreCosts(const std::string& path, ExecutorBoard& board) {
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error == std::errc::no_such_file_or_directory) return;
  absl::Status status = absl::DataLossError("it cannot be read");
  if (!error && bytes > kFileBytesMax) {
    status = absl::DataLossError(
        StrCat("it has ", int64_t(bytes), " bytes, more than ", int64_t(kFileBytesMax)));
  } else if (!error) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    if (file) status = board.RestoreCosts(text.str());
  }
  if (status.ok()) {
    Log().info("cost model: {} classes of work are known from {}", board.Costs().size(), path);
  } else {
    Log().warn("cost model: {} is ignored: {}", path, std::string(status.message()));
  }
}

}  // namespace baton
