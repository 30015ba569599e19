#pragma once

#include <cstdint>
#include <string>

#include "loadtest/arrivals.h"

namespace baton::load {

enum class Scenario { kAsk, kGenerate, kSearch };

// One run, as the command line asks for it.
struct LoadOptions {
  std::string target;  // host:port
  Scenario scenario = Scenario::kAsk;
  double rate_per_s = 1;
  double duration_s = 10;
  ArrivalKind arrivals = ArrivalKind::kPoisson;
  uint64_t seed = 1;

  std::string collection;      // ask, search
  std::string model;           // ask, generate; empty: the daemon's default
  std::string questions_path;  // ask
  std::string prompts_path;    // generate
  int32_t dimension = 0;       // search; 0: the collection's, asked of the daemon
  int32_t k = 5;               // ask, search
  int32_t max_tokens = 64;     // ask, generate
  bool ignore_eos = false;     // generate

  int64_t deadline_ms = 30'000;  // counted from the intended send time
  int32_t in_flight_max = 1024;  // above it a request is dropped, and counted as such
  int32_t channels = 4;          // connections
  int64_t connect_ms = 5'000;    // how long to wait for the first connection

  std::string json_path;  // empty: no JSON
  std::string commit;     // recorded in the JSON
};

}  // namespace baton::load
