#include "engine/slow_log.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr int kBarColumns = 24;
constexpr int kLinesPerSecond = 5;
// Ask with a peer, rerank and reload has eight.
constexpr size_t kStagesShown = 16;

std::string Milliseconds(TimeUs us) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f",
                us < 10'000      ? 2
                : us < 1'000'000 ? 1
                                 : 0,
                static_cast<double>(us) * 1e-3);
  return text;
}

// Of the whole request: blanks before the stage, dots while it waits, '#' while it runs.
std::string Bar(const Stage& stage, TimeUs total_us) {
  const auto column = [total_us](TimeUs us) {
    const TimeUs bounded = std::clamp<TimeUs>(us, 0, total_us);
    return static_cast<size_t>(total_us == 0 ? 0 : bounded * kBarColumns / total_us);
  };
  const size_t begin = column(stage.start_us);
  const size_t run = column(stage.start_us + stage.queue_us);
  const size_t end = column(stage.start_us + stage.queue_us + stage.run_us);
  std::string bar(kBarColumns, ' ');
  std::fill(bar.begin() + begin, bar.begin() + run, '.');
  std::fill(bar.begin() + run, bar.begin() + end, '#');
  if (run == end && stage.run_us > 0) bar[std::min<size_t>(run, kBarColumns - 1)] = '#';
  return bar;
}

}  // namespace

std::string SlowLine(const EndedRequest& request) {
  std::string line =
      StrCat("slow request ", request.id.value(), ": ", Milliseconds(request.total_us), " ms, ",
             absl::StatusCodeToString(request.code));
  if (!request.tenant.empty()) line += StrCat(", tenant ", Escaped(request.tenant));
  const size_t shown = std::min(request.stages.size(), kStagesShown);
  for (const Stage& stage : request.stages.first(shown)) {
    line += StrCat("; ", stage.name, " [", Bar(stage, request.total_us), "] ");
    line += StrCat(stage.route.device, " at ", Milliseconds(stage.start_us), ", waited ",
                   Milliseconds(stage.queue_us), ", ran ", Milliseconds(stage.run_us), " ms");
  }
  if (shown < request.stages.size()) {
    line += StrCat("; and ", request.stages.size() - shown, " stages more");
  }
  return line;
}

void SlowLog::Tell(const EndedRequest& request, TimeUs now_us) {
  const int64_t slow_ms = slow_ms_.load(std::memory_order_relaxed);
  if (slow_ms == 0 || request.total_us < slow_ms * 1000) return;
  if (now_us - second_us_ >= 1'000'000) {
    second_us_ = now_us;
    lines_ = 0;
  }
  if (lines_ == kLinesPerSecond) {
    ++left_out_;
    return;
  }
  ++lines_;
  if (left_out_ > 0) Log().warn("{} slow requests were left out", std::exchange(left_out_, 0));
  Log().warn("{}", SlowLine(request));
}

}  // namespace baton
