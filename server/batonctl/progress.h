#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>

#include "absl/strings/str_format.h"

namespace baton::ctl {

// Shows how far a command is: a bar that is drawn over on a terminal, else a line every few
// seconds.
class Progress {
 public:
  Progress(std::ostream& err, bool tty, int64_t bytes_total)
      : err_(err), tty_(tty), bytes_total_(bytes_total) {}

  // `counts`: what was done so far, in words.
  void Show(int64_t bytes_done, const std::string& counts) {
    const auto now = std::chrono::steady_clock::now();
    if (!tty_ && now < next_line_) {
      return;
    }
    next_line_ = now + std::chrono::seconds(2);
    const double share =
        bytes_total_ == 0
            ? 1.0
            : std::min(1.0, static_cast<double>(bytes_done) / static_cast<double>(bytes_total_));
    const std::string line = absl::StrFormat("%3.0f %%  %s", share * 100, counts);
    if (tty_) {
      const size_t filled = static_cast<size_t>(share * kBarChars);
      err_ << "\r[" << std::string(filled, '=') << std::string(kBarChars - filled, ' ') << "] "
           << line << std::flush;
      drawn_ = true;
    } else {
      err_ << line << "\n";
    }
  }

  // Before anything else is written: gives the bar's line back.
  void Clear() {
    if (drawn_) {
      err_ << "\r\x1b[K";
      drawn_ = false;
    }
  }

 private:
  static constexpr size_t kBarChars = 30;

  std::ostream& err_;
  const bool tty_;
  const int64_t bytes_total_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point next_line_ = std::chrono::steady_clock::now();
};

}  // namespace baton::ctl
