#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/vector/view_ivf.h"

namespace baton {

// A scan of a segment's inverted file for each of some queries.
struct ListProbe {
  ViewIvf file;
  int32_t nprobe = 0;      // lists of each query; 0: DefaultNprobe
  int32_t candidates = 0;  // nearest rows, by their codes, that are given
  // Rows that count, bit row % 32 of word row / 32. None: those that are live in the view.
  std::vector<uint32_t> matching = {};
};

// Scans segments' inverted files in SearchView's place, as a device does: of each query's nearest
// lists the rows that IvfIndex::Search would rescore, if it had no need of further lists. Thread
// safe.
class ViewProber {
 public:
  virtual ~ViewProber() = default;
  // Whether it takes a scan for so many candidates.
  virtual bool Takes(const ViewIvf& file, int64_t candidates) const = 0;
  // rows: [queries, probe.candidates], nearest first; UINT32_MAX behind the last. `queries`:
  // prepared. Blocks; errors are those of `poll`, and of the device.
  virtual absl::Status Probe(const ListProbe& probe, std::span<const std::vector<float>> queries,
                             absl::FunctionRef<absl::Status()> poll,
                             std::vector<uint32_t>* rows) = 0;
};

}  // namespace baton
