#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/client_credentials.h"

namespace baton::load {

// What a request is.
enum class Kind { kAsk, kGenerate, kChat, kSearch, kSearchBulk, kUpsert };
std::string_view Name(Kind kind);

// Whose wire it is sent over.
enum class Api {
  kBaton,   // gRPC, baton.v1
  kOpenAi,  // HTTP: /v1/chat/completions and /v1/completions, streamed
  kQdrant,  // gRPC, qdrant.Points
};
std::string_view Name(Api api);

// When requests are meant to be sent. All but closed are open loop: whatever became of the earlier
// ones.
enum class Process {
  kClosed,    // N users, each sends when its last request has ended
  kConstant,  // equal gaps
  kPoisson,   // exponential gaps: independent clients
  kGamma,     // gamma gaps of shape `burstiness`: below 1 burstier than Poisson, above 1 smoother
  kRamp,      // Poisson, its rate rising evenly from `rate` to `rate_end`
  kTrace,     // as the trace has it
};
std::string_view Name(Process process);

struct ArrivalOptions {
  Process process = Process::kPoisson;
  double rate_per_s = 1;
  double rate_end_per_s = 0;  // ramp
  double burstiness = 1;      // gamma
  int32_t users = 1;          // closed
  double think_ms = 0;        // closed: pause between an answer and the next request
  double speed = 1;           // trace: how many times faster than it was recorded
};

// A whole number drawn evenly between both, ends included.
struct LengthRange {
  int32_t min = 0;
  int32_t max = 0;
};

// As baton.v1.Hints; the words are the metadata's, such as "cpu" or "latency_optimized".
struct HintOptions {
  std::optional<int64_t> latency_sla_us;
  std::optional<int32_t> batch_size;
  std::optional<double> power_budget_w;
  std::optional<bool> deterministic;
  std::optional<bool> sla_required;
  std::string platform;
  std::string fallback;
  std::string policy;
};

// One sort of request of a load.
struct RequestMix {
  std::string name;  // in the report; unique
  Kind kind = Kind::kAsk;
  double weight = 1;  // its share is its weight of the sum of weights

  std::string collection;      // ask, search, search_bulk, upsert
  std::string vector_name;     // search, search_bulk; Qdrant's "using"
  std::string model;           // ask, generate, chat; empty: the server's default
  std::string questions_path;  // ask: JSON lines with a "question"
  std::string prompts_path;    // generate, chat: one prompt a line
  std::string vectors_path;    // search, search_bulk, upsert: .fvecs

  // Without a file, generate and chat draw words: so many per prompt, of which the first
  // shared_prefix_words are those of one of shared_prefixes texts. A word is one to two tokens of
  // most vocabularies; the report has the tokens that the server counted.
  LengthRange prompt_words{64, 64};
  int32_t shared_prefixes = 0;
  int32_t shared_prefix_words = 0;

  int32_t dimension = 0;   // random vectors; 0: asked of the server
  int32_t k = 5;           // passages or points to find
  int32_t ef = 0;          // candidates of a search; 0: the server's default
  int32_t batch = 64;      // queries of a search_bulk, points of an upsert
  double exact_share = 0;  // of searches that are asked again exactly after the run, for recall

  std::string chat_template;  // chat: in place of the model's own
  LengthRange max_tokens{64, 64};
  bool ignore_eos = false;

  int64_t deadline_ms = 30'000;  // counted from the intended send time
  double cancel_share = 0;       // of requests that the client gives up
  LengthRange cancel_after_ms{0, 1000};
  std::optional<int32_t> priority;
  std::string tenant;
  HintOptions hints;
};

// What a request must keep to be good; absent: anything will do. Milliseconds.
struct SloOptions {
  std::optional<double> ttft_ms;
  std::optional<double> tpot_ms;
  std::optional<double> itl_ms;  // the longest gap of the request
  std::optional<double> e2e_ms;
  // Of requests that must be good where a sweep asks whether a rate can be had.
  double share = 0.99;

  bool empty() const { return !ttft_ms && !tpot_ms && !itl_ms && !e2e_ms; }
};

// Runs at rates that rise by `factor` from rate_min until one breaks the SLO, then halves the gap
// between the last good and the first bad one `refine` times. A rate that keeps at least half of
// slo.share breaks it only if it does so twice.
struct SweepOptions {
  double rate_min_per_s = 1;
  double rate_max_per_s = 1e6;
  double factor = 1.5;
  int32_t refine = 2;
  double step_s = 5;
  double warmup_s = 1;
};

// One run.
struct Scenario {
  std::string target;  // host:port
  Api api = Api::kBaton;
  uint64_t seed = 1;
  double duration_s = 10;
  double warmup_s = 0;  // sent before, in no figure
  ArrivalOptions arrivals;
  std::vector<RequestMix> load;
  std::optional<RequestMix> probe;  // beside the load, at a constant rate, with figures of its own
  double probe_rate_per_s = 1;
  SloOptions slo;
  std::optional<SweepOptions> sweep;
  std::string trace_path;  // kTrace, of the first of `load`

  int32_t in_flight_max = 1024;  // above it a request is dropped, and counted as such
  int32_t channels = 4;          // connections
  int64_t connect_ms = 5'000;    // how long to wait for the first connection
  int64_t away_ms = 5'000;       // a server that answers only UNAVAILABLE for so long is dead
  ConnectionOptions connection;  // TLS, and a file with a bearer token

  // Not of the load, but of its report.
  std::string json_path;
  std::string html_path;
  std::string commit;
  bool quiet = false;  // no live progress
};

}  // namespace baton::load
