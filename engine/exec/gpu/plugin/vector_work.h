#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"
#include "engine/exec/gpu/plugin/ivf_lists.h"
#include "engine/exec/gpu/plugin/vector_rows.h"

namespace baton::gpu {

// What a device does with vectors, one call after another on a stream of its own. Takes no memory
// before it is first used. Thread safe; the device outlives it.
class VectorWork {
 public:
  static Fault Start(Device& device, std::unique_ptr<VectorWork>* work);

  // As the ABI's functions; all block.
  Fault Append(VectorRows& rows, const baton_rows_source& source, int64_t count);
  Fault Mark(VectorRows& rows, std::span<const uint32_t> live, int64_t count);
  Fault Search(const baton_vector_search& search);
  Fault CreateLists(const baton_ivf_job& job, std::unique_ptr<IvfLists>* lists);
  Fault Scan(const baton_ivf_scan& scan);

 private:
  // A search's part, as kernels take it.
  struct Part {
    const VectorRows* rows;
    int64_t row_count;
    const uint32_t* host_live;  // null: there is none
    const uint32_t* live;       // on the device; null: all are
    int64_t base;               // the number of the first row
    int32_t splits;             // of a whole block of queries; fewer queries have no more
  };
  // Of a block of queries, on the device.
  struct Workspace;

  explicit VectorWork(Device& device) : device_(device) {}
  Fault AppendSome(VectorRows& rows, const baton_rows_source& source, int64_t first, int64_t count);
  Fault ReadParts(const baton_vector_search& search, std::vector<Part>* parts) const;
  Fault TakeWorkspace(int64_t bytes);
  Fault SendLive(std::vector<Part>& parts, uint32_t* to);
  Fault SearchBlock(const baton_vector_search& search, const std::vector<Part>& parts,
                    const Workspace& workspace, int64_t first, int64_t count);
  // Through staging_; blocks.
  Fault Send(const void* from, int64_t bytes, void* to);
  Fault Stage();  // staging_ is there
  // What was asked for is over, whatever came of it.
  Fault Settle(const Fault& fault);

  Device& device_;
  std::mutex mutex_;
  Stream stream_;
  PinnedMemory staging_;    // kStagingBytes
  DeviceMemory vectors_;    // kStagingBytes: f32 on their way to be packed
  DeviceMemory workspace_;  // of the largest search so far, within kWorkspaceBytes
};

}  // namespace baton::gpu
