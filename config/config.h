#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "config/server_options.h"
#include "engine/base/log.h"
#include "engine/engine_options.h"
#include "engine/exec/cpu/cpu_options.h"
#include "engine/exec/fpga/fpga_options.h"
#include "engine/exec/gpu/gpu_options.h"
#include "engine/placement/placement_options.h"
#include "engine/vector/vector_options.h"

namespace baton {

struct ExecutorsOptions {
  std::vector<std::string> require;
  CpuOptions cpu;
  GpuOptions gpu;
  FpgaOptions fpga;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("require", require, OneOf{"cpu", "gpu", "fpga"},
      "platforms without which the daemon refuses to start");
  }
};

struct EmbedderOptions {
  std::string path;
  std::string name;
  std::string question_prefix;
  std::string passage_prefix;
  int32_t dimension = 1024;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("path", path, AnyValue{},
      "GGUF file of the embedding model (architecture bert) that new collections and requests that "
      "name none use; empty: the first of models, else the built-in lexical embedder, which is "
      "there in any case");
    v("name", name, AnyValue{},
      "its name, which the collections it embeds remember; empty: its file's");
    v("question_prefix", question_prefix, AnyValue{},
      "what goes before the questions of Ask for it, such as \"query: \" where a model was trained "
      "so");
    v("passage_prefix", passage_prefix, AnyValue{},
      "what goes before the passages of Ingest for it; after a change, ingest again");
    v("dimension", dimension, Range{16, 65536},
      "length of the built-in lexical embedder's vectors; a collection keeps the one it was made "
      "with");
  }
};

// A model to load: a language model or an encoder, as its file says. Not part of the key table: the
// list's entries have no fixed keys.
struct ModelOptions {
  std::string name;
  std::string path;
  std::string question_prefix = {};  // of an encoder, as in EmbedderOptions
  std::string passage_prefix = {};
  bool operator==(const ModelOptions&) const = default;
};

// Everything that can be configured: the sum of every component's Options.
struct Config {
  LogOptions log;
  ServerOptions server;
  ExecutorsOptions executors;
  ThreadPlacementOptions placement;
  std::vector<ModelOptions> models;  // the first of a kind is its default
  EmbedderOptions embedder;
  VectorOptions vector;
  EngineOptions engine;  // its members are sections of their own: classify, route, ... queues
};

// Calls visit(section name, options) for every section, in the order they are printed.
template <class Visit>
void ForEachSection(Config& config, Visit&& visit) {
  visit("log", config.log);
  visit("server", config.server);
  visit("server.tls", config.server.tls);
  visit("server.access", config.server.access);
  visit("executors", config.executors);
  visit("executors.cpu", config.executors.cpu);
  visit("executors.gpu", config.executors.gpu);
  visit("executors.fpga", config.executors.fpga);
  visit("placement", config.placement);
  visit("embedder", config.embedder);
  visit("vector", config.vector);
  visit("classify", config.engine.classify);
  visit("route", config.engine.route);
  visit("route.latency_optimized", config.engine.route.latency_optimized);
  visit("route.throughput_optimized", config.engine.route.throughput_optimized);
  visit("route.power_optimized", config.engine.route.power_optimized);
  visit("route.balanced", config.engine.route.balanced);
  visit("route.platforms", config.engine.route.platforms);
  visit("cost_model", config.engine.cost_model);
  visit("health", config.engine.health);
  visit("power", config.engine.power);
  visit("schedule", config.engine.schedule);
  visit("schedule.batching", config.engine.batching);
  visit("schedule.batching.search_single", config.engine.batching.search_single);
  visit("schedule.batching.search_bulk", config.engine.batching.search_bulk);
  visit("schedule.batching.embed", config.engine.batching.embed);
  visit("kv", config.engine.kv);
  visit("transfer", config.engine.transfer);
  visit("peer", config.engine.peer);
  visit("rag", config.engine.rag);
  visit("queues", config.engine.queues);
  visit("requests", config.engine.requests);
  visit("memory", config.engine.memory);
  visit("repository", config.engine.repository);
}

}  // namespace baton
