#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/request/route.h"

namespace baton {

// A request that has ended, as the log of slow ones has it.
struct EndedRequest {
  RequestId id;
  std::string_view tenant;
  std::span<const Stage> stages;
  TimeUs total_us = 0;
  absl::StatusCode code = absl::StatusCode::kOk;
};

// One line: the time and how the request ended, then each stage with its device, its begin, its
// time and a bar of where in the request that was: '.' waiting, '#' running. Nothing of what was
// asked or answered.
std::string SlowLine(const EndedRequest& request);

// Logs requests that took long, a few a second at most: the rest is counted in the next line. Tell
// is the loop's, set_slow_ms anybody's.
class SlowLog {
 public:
  explicit SlowLog(int64_t slow_ms) : slow_ms_(slow_ms) {}
  void set_slow_ms(int64_t slow_ms) { slow_ms_ = slow_ms; }  // 0: none is slow
  void Tell(const EndedRequest& request, TimeUs now_us);

 private:
  std::atomic<int64_t> slow_ms_;
  TimeUs second_us_ = 0;  // when the current second of lines began
  int lines_ = 0;         // in it
  int64_t left_out_ = 0;  // since the last line
};

}  // namespace baton
