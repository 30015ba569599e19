#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loadtest/request_record.h"
#include "loadtest/scenario.h"
#include "loadtest/workload.h"

namespace baton::load {

// A request as it goes over the wire, without its transport's framing.
using Body = std::shared_ptr<const std::string>;

// One request to send. `record` has its id, mix, input and intended time.
struct Call {
  const RequestMix* mix = nullptr;
  Body body;
  RequestRecord record;
  int64_t deadline_ns = 0;   // of the run's clock
  bool exact = false;        // a search that is to be exact
  bool keep_found = false;   // search: ids are wanted
  bool cancellable = false;  // Cancel may come
};

// The wire. Start and Cancel are called by one thread, `done` on a thread of the transport's, once
// per Start and never from within it. Outlives its calls: whoever destroys it has waited for them.
class Transport {
 public:
  // Where a run takes its time from, and what becomes of its calls.
  struct Sinks {
    std::function<int64_t()> now_ns;
    std::function<void(RequestRecord&&)> done;
  };

  virtual ~Transport() = default;

  // Waits for a connection. UNAVAILABLE: nothing answers.
  virtual absl::Status Connect() = 0;
  // Length of the collection's vectors.
  virtual absl::StatusOr<int32_t> Dimension(const RequestMix& mix) = 0;
  // `sequence` counts upserts, whose points must differ; `exact` is of searches.
  virtual absl::StatusOr<Body> Encode(const RequestMix& mix, const Input& input, uint64_t sequence,
                                      bool exact) = 0;
  // Before the first Start of a run, while nothing is under way.
  virtual void SetSinks(std::shared_ptr<const Sinks> sinks) = 0;
  virtual void Start(Call call) = 0;
  // Of a cancellable call; one that has ended is ignored.
  virtual void Cancel(uint64_t id) = 0;
  // Time that its busiest thread has computed so far.
  virtual int64_t BusiestThreadCpuNs() const = 0;
};

// By scenario.api. INVALID_ARGUMENT: a file of scenario.connection cannot be read.
absl::StatusOr<std::unique_ptr<Transport>> MakeTransport(const Scenario& scenario);

}  // namespace baton::load
