// Files and records of a store that anything may have happened to: dead rows, a write-ahead log, a
// segment file. Whatever they hold, they are read within their bounds or refused.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "engine/vector/dead_rows.h"
#include "engine/vector/log_check.h"
#include "engine/vector/segment_file.h"

namespace {

// A directory of this process, which stays small: every input replaces the files.
const std::string& Directory() {
  static const std::string directory = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "baton-fuzz-XXXXXX").string();
    return std::string(mkdtemp(pattern.data()));
  }();
  return directory;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto dead = baton::DecodeDeadRows(bytes, 100);
  if (dead.ok() && !dead->empty() && (dead->front() < 0 || dead->back() >= 100)) std::abort();

  const std::string& directory = Directory();
  std::ofstream(directory + "/000001.log", std::ios::binary) << bytes;
  std::ofstream(directory + "/000002.log", std::ios::binary) << bytes.substr(size / 2);
  for (const bool all_synced : {false, true}) {
    const auto damage = baton::FindLogDamage(*baton::SystemFiles(), directory, all_synced);
    if (damage.ok() && damage->has_value() &&
        (*damage)->offset > static_cast<int64_t>(bytes.size())) {
      std::abort();
    }
  }

  const baton::SegmentFileName name{.collection_id = 1, .number = 1};
  std::ofstream(directory + "/" + name.ToString(), std::ios::binary) << bytes;
  baton::ReadSegmentFile(directory, name, {.name = "c", .dimension = 2}, true).IgnoreError();
  baton::FindSegmentDamage(directory, name, [] { return absl::OkStatus(); }).IgnoreError();
  return 0;
}
