#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"
#include "engine/classify/classifier_options.h"
#include "engine/kv/kv_options.h"
#include "engine/peer/peer_options.h"
#include "engine/rag/rag_options.h"
#include "engine/schedule/batching_options.h"
#include "engine/schedule/cost_model_options.h"
#include "engine/schedule/health_options.h"
#include "engine/schedule/power_options.h"
#include "engine/schedule/route_options.h"
#include "engine/schedule/schedule_options.h"
#include "engine/transfer/transfer_options.h"

namespace baton {

// Bounds of the engine's own queues.
struct QueueOptions {
  int64_t requests_in_flight_max = 4096;
  int64_t host_threads = 0;
  int64_t host_queue_max = 4096;
  int64_t write_queue_max = 4096;
  int64_t first_token_wait_ms = 0;
  int64_t search_wait_ms = 0;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("requests_in_flight_max", requests_in_flight_max, Range{1, 1e6},
      "requests accepted and not yet ended; more are refused");
    v("host_threads", host_threads, Range{0, 64},
      "threads for host work: tokenizing, splitting documents, reading points; 0: one per core, "
      "four at most");
    v("host_queue_max", host_queue_max, Range{1, 1e6}, "host work queued at most");
    v("write_queue_max", write_queue_max, Range{1, 1e6}, "writes queued for commit at most");
    v("first_token_wait_ms", first_token_wait_ms, Range{0, 86400000},
      "generations and questions that would wait longer for their first token, by how fast others "
      "get theirs, are refused at once; 0: none. Whatever it is, those with a deadline are refused "
      "where half of their time would pass, and those that require a latency SLA where it would");
    v("search_wait_ms", search_wait_ms, Range{0, 86400000}, "the same of searches");
  }
};

struct MemoryOptions {
  int64_t models_bytes_max = 0;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("models_bytes_max", models_bytes_max, Range{0, 1e15},
      "bytes that all models may take: weights and their packed copies, KV blocks, workspace; 0: "
      "four fifths of the memory of the machine, or of the daemon's cgroup where that has less");
  }
};

struct RequestsOptions {
  int64_t slow_ms = 0;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("slow_ms", slow_ms, Range{0, 86'400'000},
      "requests that take longer are logged with their stages, never with what they ask; 0: none; "
      "read again on SIGHUP");
  }
};

struct RepositoryOptions {
  std::string directory;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("directory", directory, AnyValue{},
      "where LoadModel may load files from, links that lead elsewhere excepted; empty: LoadModel "
      "and UnloadModel are refused");
  }
};

struct EngineOptions {
  ClassifierOptions classify;
  RouteOptions route;
  ScheduleOptions schedule;
  BatchingOptions batching;
  KvOptions kv;
  TransferOptions transfer;
  PeerOptions peer;
  RagOptions rag;
  QueueOptions queues;
  RequestsOptions requests;
  MemoryOptions memory;
  RepositoryOptions repository;
  CostModelOptions cost_model;
  HealthOptions health;
  PowerOptions power;
  // Not a key: where the cost model is kept; empty: nowhere.
  std::string cost_model_path;
};

}  // namespace baton
