#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/transfer/copy_path.h"
#include "engine/transfer/shared_buffer.h"
#include "engine/transfer/staged_path.h"
#include "engine/transfer/transfer_options.h"

namespace baton {

// Paths through the host's memory for all pairs of memory spaces that no path joins which converts:
// the memory, mapped to the devices, and the paths.
class Staging {
 public:
  struct Parts {
    std::vector<MemorySpace> spaces;     // where KV is, the host's included
    std::vector<CopyPath*> paths;        // there are
    std::vector<DeviceMapper*> devices;  // that may map the memory
    CopyPath* converter = nullptr;       // between host memory
  };
  // The parts outlive it. Null where no path is missing, or none can be made, or the options want
  // none. Errors as of SharedPool::Create.
  static absl::StatusOr<std::unique_ptr<Staging>> Create(const TransferOptions& options,
                                                         const Parts& parts, const Clock& clock);

  const std::vector<std::unique_ptr<StagedPath>>& paths() const { return paths_; }

 private:
  explicit Staging(std::unique_ptr<SharedPool> pool) : pool_(std::move(pool)) {}

  const std::unique_ptr<SharedPool> pool_;
  std::vector<std::unique_ptr<StagedPath>> paths_;
};

}  // namespace baton
