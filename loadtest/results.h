#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "loadtest/request_record.h"
#include "loadtest/samples.h"
#include "loadtest/scenario.h"

namespace baton::load {

// Requests that are counted together: all of a load, one entry of it, or the probe.
struct Group {
  int64_t sent = 0;
  int64_t ok = 0;
  int64_t good = 0;          // OK and within the SLO
  int64_t given_up = 0;      // cancelled by the client; neither OK nor failed
  int64_t dropped = 0;       // not sent: too many under way
  int64_t dropped_late = 0;  // not sent: their deadline had passed before their turn
  int64_t tokens = 0;
  int64_t prompt_tokens = 0;
  int64_t refused = 0;                             // RESOURCE_EXHAUSTED
  int64_t refused_hinted = 0;                      // of those with a retry hint
  std::map<std::string, int64_t> errors;           // by code
  std::map<std::string, std::string> error_texts;  // the first message of each code
  Samples ttft, itl, tpot, e2e, retrieved, send_lag, refusal;

  int64_t failed() const { return sent - ok - given_up; }
};

// One second of a run.
struct TimelineSecond {
  int64_t sent = 0;  // by intended time
  int64_t ok = 0;    // these by the time of their end
  int64_t good = 0;
  int64_t failed = 0;
  int64_t tokens = 0;
};

// Stages of all requests of a name, summed.
struct StageSum {
  int64_t count = 0;
  int64_t fallbacks = 0;
  double queue_us = 0;
  double run_us = 0;
  std::map<std::string, int64_t> platforms;
};

// How much of a core the client took.
struct ClientLoad {
  double share_of_core = 0;   // its whole process
  double busiest_thread = 0;  // its busiest thread, at most 1
};

// What a run gave. Latencies are of requests that ended OK and were not given up; the others are
// counted by their code. Not thread safe.
class Results {
 public:
  Results(const SloOptions& slo, const std::vector<RequestMix>& load, bool probed);

  // Times are from the start of what is measured, warm-up excluded.
  void Add(const RequestRecord& record);
  // A request of load[mix], or -1: the probe, that was not sent.
  void AddDropped(int32_t mix, bool late);
  void AddRecall(double share) {
    recall_sum_ += share;
    ++recall_count_;
  }

  bool IsGood(const RequestRecord& record) const;

  ClientLoad client;
  Group all;
  std::vector<std::pair<std::string, Group>> groups;  // per entry of the load, then the probe
  std::vector<TimelineSecond> timeline;
  std::map<std::string, StageSum> stages;

  // Start to last status, or to the end of the sending.
  double wall_s() const { return static_cast<double>(last_done_ns_) / 1e9; }
  void ExtendTo(int64_t end_ns);
  int64_t recall_count() const { return recall_count_; }
  double recall() const { return recall_count_ == 0 ? 0 : recall_sum_ / double(recall_count_); }
  // Of all that were meant to be sent and not given up, those that were good.
  double goodput_share() const;
  double goodput_per_s() const;

 private:
  Group& GroupOf(int32_t mix);
  void AddTo(Group& group, const RequestRecord& record, bool good);
  TimelineSecond& SecondAt(int64_t at_ns);

  SloOptions slo_;
  int64_t last_done_ns_ = 0;
  double recall_sum_ = 0;
  int64_t recall_count_ = 0;
};

}  // namespace baton::load
