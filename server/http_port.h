#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/address.h"
#include "engine/base/metrics.h"

namespace baton {

// The HTTP port for machines that watch the daemon: /metrics in Prometheus' text format, /livez,
// which is 200 while the process answers, and /readyz, which is 200 while it can take requests and
// else 503 with the reason. Threads: a fixed number of its own. GET and HEAD only, connections are
// closed after each answer.
class HttpPort {
 public:
  struct Options {
    Address address;
    int threads = 2;
    const Metrics* metrics = nullptr;     // outlives this
    std::function<absl::Status()> ready;  // called on any thread
  };

  static absl::StatusOr<std::unique_ptr<HttpPort>> Open(Options options);
  ~HttpPort();  // waits for running requests
  HttpPort(const HttpPort&) = delete;
  HttpPort& operator=(const HttpPort&) = delete;

  // The address with the port that was bound.
  const Address& address() const;

 private:
  struct Impl;
  explicit HttpPort(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace baton
