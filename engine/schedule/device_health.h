#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/clock.h"
#include "engine/schedule/health_options.h"

namespace baton {

// What a device tells of itself. Absent: it does not tell.
struct DeviceVitals {
  bool healthy = true;
  std::optional<double> temperature_c;
  std::optional<double> memory_percent;
};

// Something about a device has changed: a metric and a line of the log.
struct HealthEvent {
  std::string_view kind;  // static: hot, cool, memory_full, memory_free, open, probing, closed,
                          // suspected, stalled, moving, cpu_share_raised, cpu_share_lowered
  std::string text;       // with the limit and the value
};

// Whether one device may have work, and how much of it: the rules of degradation, each with
// hysteresis. A pure state machine: the caller brings the time and everything that happens.
//
//   temperature    hot above its limit, until it is as cool as the lower one: half of the work
//   memory         full above its limit, until below the lower one: no new work
//   errors         breaker closed -> open where too many batches of the window failed; open ->
//                  probing after a pause; probing, one batch at a time -> closed after some that
//                  went well, or -> open for twice as long after one that did not
//   no progress    suspected where work is in flight and nothing completes for a while: new work
//                  should go elsewhere, until something completes; fenced where work is in flight
//                  and nothing completes in time: its generation moves on, what it held is somebody
//                  else's; when anything of it does come back it moves, and is probed
//   capacity       1, times a half where hot, times the share of batches that went well; below its
//                  limit the CPU's share of the device's work is raised, until above the upper one
class DeviceHealth {
 public:
  enum class Breaker : uint8_t { kClosed, kOpen, kProbing };

  explicit DeviceHealth(const HealthOptions& options, bool fences = true)
      : options_(options), fences_(fences) {}

  // ---- What happens

  // Work goes to it, expected to run this long (0: not known) behind what is there; < 0: it may
  // run for any time, and counts for nothing here.
  void Begin(TimeUs expected_us, TimeUs now_us);
  // Work of the current generation came back: whether the device did its part.
  void End(bool ok, TimeUs now_us);
  // Work of an older generation came back: it moves.
  void EndLate(TimeUs now_us);
  void Look(const DeviceVitals& vitals, TimeUs now_us);
  // Nobody watched for so long: a process that was stopped tells nothing of its devices.
  void Pardon(TimeUs absent_us, TimeUs now_us);
  // Time passes. True where it has just been fenced: what it holds is to be done elsewhere.
  bool Tick(TimeUs now_us);
  // Whether it has come to be suspected since this was last asked.
  bool TakeSuspected() { return std::exchange(suspicion_new_, false); }

  // ---- What follows

  // Why it may have no new work now; empty where it may.
  std::string Refusal(TimeUs now_us) const;
  // 0 to 1: the part of its usual work that it should get.
  double capacity() const;
  // Whether a piece of work that would go to it should go elsewhere, if it can: so that it gets its
  // capacity's share, evenly. Counts the piece.
  bool Spare();
  // The part of the work that the CPU should take from it, 0 to 1.
  double cpu_share() const { return cpu_share_ ? 1 - capacity() : 0; }
  // Work is in flight and nothing has completed for too long.
  bool stalled() const { return stalled_; }
  // The same for less long: it may be about to be fenced.
  bool suspected() const { return suspected_; }
  uint32_t generation() const { return generation_; }
  Breaker breaker() const { return breaker_; }
  bool hot() const { return hot_; }
  int64_t in_flight() const { return in_flight_; }
  // "closed", "open", "probing", "suspected" or "stalled".
  std::string_view StateName() const;
  std::vector<HealthEvent> TakeEvents();

 private:
  struct Outcome {
    TimeUs at_us = 0;
    bool ok = true;
  };
  static constexpr size_t kOutcomesMax = 4096;

  void Open(TimeUs now_us);
  void Probe(TimeUs now_us);
  void Forget(TimeUs now_us);
  void UpdateShare();
  void Tell(std::string_view kind, std::string text);

  const HealthOptions options_;
  const bool fences_;
  Breaker breaker_ = Breaker::kClosed;
  bool healthy_ = true;
  bool hot_ = false;
  bool full_ = false;
  bool suspected_ = false;
  bool suspicion_new_ = false;
  bool stalled_ = false;
  bool cpu_share_ = false;
  uint32_t generation_ = 0;
  int64_t in_flight_ = 0;
  TimeUs progress_us_ = 0;        // it began to work, or last completed something
  TimeUs patience_us_ = 0;        // longest that what is in flight may take without any completion
  std::deque<Outcome> outcomes_;  // of the window
  int64_t failures_ = 0;          // of these
  TimeUs retry_at_us_ = 0;        // open: when it is probed
  TimeUs pause_us_ = 0;           // of the last time it opened
  int64_t probes_ok_ = 0;
  double spare_ = 0;  // what it is owed to be spared of, 0 to 1
  std::vector<HealthEvent> events_;
};

}  // namespace baton
