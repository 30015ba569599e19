#pragma once

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "loadtest/load_options.h"
#include "loadtest/samples.h"

namespace baton::load {

// What happened to one request. Times are nanoseconds from the start of the run; -1: did not
// happen.
struct RequestRecord {
  std::string code;  // "OK", a gRPC status code, or "INCOMPLETE_STREAM": OK without `finished`
  int64_t intended_ns = 0;
  int64_t sent_ns = 0;
  int64_t retrieved_ns = -1;     // ask: the `retrieved` event
  int64_t first_output_ns = -1;  // first message with tokens
  int64_t done_ns = 0;           // status received
  int64_t tokens = 0;
  std::vector<int64_t> gaps_ns;  // between consecutive messages with tokens
};

// A run's figures. Latencies are of requests that ended OK; the others are counted by their code.
// Not thread safe.
class Results {
 public:
  void Add(const RequestRecord& record);
  // A request that was not sent: too many in flight, or later than its own deadline.
  void AddDropped() { ++dropped_; }

  int64_t sent() const { return sent_; }
  int64_t ok() const { return ok_; }
  int64_t dropped() const { return dropped_; }

 private:
  friend class Report;

  int64_t sent_ = 0;
  int64_t ok_ = 0;
  int64_t dropped_ = 0;
  int64_t tokens_ = 0;
  int64_t last_done_ns_ = 0;
  std::map<std::string, int64_t> errors_;  // by code
  Samples ttft_, itl_, tpot_, e2e_, retrieved_, send_lag_;
};

// The figures as people and programs read them.
class Report {
 public:
  Report(const LoadOptions& options, Results& results);

  void Print(std::ostream& out) const;
  // {figures: {dotted name: number}, machine, commit, seed}.
  std::string Json() const;
  absl::Status WriteJson(const std::string& path) const;

 private:
  struct Row {
    std::string label;   // in the table
    std::string figure;  // in the JSON
    Summary summary;
  };

  LoadOptions options_;
  std::map<std::string, int64_t> errors_;
  std::map<std::string, double> figures_;  // counts and throughput
  std::vector<Row> latencies_;
  Summary send_lag_;
  int64_t samples_not_stored_ = 0;
};

}  // namespace baton::load
