#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "loadtest/scenario.h"

namespace baton::load {

// A stage of a request as the server tells it.
struct StageRecord {
  std::string name;      // embed, search, prefill, handoff, decode, write
  std::string platform;  // cpu, gpu, fpga
  bool fallback = false;
  int64_t queue_us = 0;
  int64_t run_us = 0;
};

// What happened to one request. Times are nanoseconds of the run's clock; -1: did not happen.
struct RequestRecord {
  uint64_t id = 0;
  int32_t mix = 0;  // of Scenario::load; -1: the probe
  size_t input = 0;
  std::string code;  // "OK", a gRPC status code, or "INCOMPLETE_STREAM": OK without an end
  std::string message;
  int64_t intended_ns = 0;
  int64_t sent_ns = 0;
  int64_t retrieved_ns = -1;     // ask: the `retrieved` event
  int64_t first_output_ns = -1;  // first message with tokens
  int64_t last_output_ns = -1;
  int64_t done_ns = 0;           // status received
  int64_t retry_after_ms = -1;   // the server's hint, where it refused
  int64_t tokens = 0;            // generated
  int64_t prompt_tokens = 0;     // as the server counted them; 0: it did not say
  bool given_up = false;         // cancelled by the client, as the scenario has it
  std::vector<int64_t> gaps_ns;  // between consecutive messages with tokens
  std::vector<StageRecord> stages;
  std::vector<uint64_t> found;  // search: ids, where recall is wanted

  // A message with `count` tokens came at `now_ns`.
  void AddTokens(int64_t count, int64_t now_ns);
};

}  // namespace baton::load
