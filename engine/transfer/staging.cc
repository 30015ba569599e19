#include "engine/transfer/staging.h"

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/transfer/host_copy_path.h"

namespace baton {
namespace {

constexpr MemorySpace kHost = {.kind = MemorySpace::Kind::kHost};

// The first that `may`; null: there is none.
template <class May>
CopyPath* FindPath(const std::vector<CopyPath*>& paths, May may) {
  const auto found = std::find_if(paths.begin(), paths.end(), may);
  return found == paths.end() ? nullptr : *found;
}

// What is missing and can be made.
std::vector<StagedPath::Ends> MissingPaths(const Staging::Parts& parts) {
  std::vector<StagedPath::Ends> missing;
  for (const MemorySpace& source : parts.spaces) {
    for (const MemorySpace& destination : parts.spaces) {
      const bool from_device = !IsHostMemory(source);
      const bool to_device = !IsHostMemory(destination);
      if (source == destination || (!from_device && !to_device)) continue;
      const bool joined = FindPath(parts.paths, [&](const CopyPath* path) {
        return path->Converts() && path->Connects(source, destination);
      });
      if (joined) continue;
      StagedPath::Ends ends = {.source = source, .destination = destination};
      ends.in = FindPath(parts.paths,
                         [&](const CopyPath* path) { return path->Connects(source, kHost); });
      ends.out = FindPath(parts.paths,
                          [&](const CopyPath* path) { return path->Connects(kHost, destination); });
      if (!from_device) ends.in = nullptr;
      if (!to_device) ends.out = nullptr;
      if (from_device == (ends.in != nullptr) && to_device == (ends.out != nullptr)) {
        missing.push_back(ends);
      }
    }
  }
  return missing;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Staging>> Staging::Create(const TransferOptions& options,
                                                         const Parts& parts, const Clock& clock) {
  const std::vector<StagedPath::Ends> missing = MissingPaths(parts);
  if (missing.empty() || options.staging_mb == 0) return nullptr;
  ASSIGN_OR_RETURN(std::unique_ptr<SharedPool> pool,
                   SharedPool::Create(options.staging_mb << 20, parts.devices));
  std::unique_ptr<Staging> staging(new Staging(std::move(pool)));
  const StagedPath::Limits limits = {.copies_max = static_cast<size_t>(options.host_copies_max),
                                     .timeout_us = options.staging_timeout_ms * 1000};
  for (const StagedPath::Ends& ends : missing) {
    staging->paths_.push_back(
        std::make_unique<StagedPath>(ends, *parts.converter, *staging->pool_, limits, clock));
  }
  return staging;
}

}  // namespace baton
