// The CPU executor's language models through the whole engine, beside the machine's read bandwidth,
// and beside a peer where one is given: --peer PATH is a llama-bench, run on the same files in the
// same rounds. One thread, except where a figure says otherwise; medians over rounds, because these
// machines are noisy. --only PART,PART: decode, threads, small, mixed, daemon, cache, reload,
// lookup.
// --rounds N: how often decode and prefill are measured. --simd LEVEL: executors.cpu.simd, beside a
// peer that was built without the same instructions.
//
//   decode.TYPE.*, prefill.TYPE.*, batch8.*   random weights of a 1.1 B shape (TinyLlama's)
//   threads.*           that shape on two threads, alone and beside a thread that keeps a core busy
//   small.TYPE.*        a 260 K shape, which the overhead of a step rules
//   mixed.*             the 1.1 B shape, eight streams, while a long prompt arrives
//   daemon.*            a 110 M shape, eight streams, through gRPC beside the engine alone
//   lookup.*            the bundled model, the demo's questions, with drafts beside without
//   prefix_cache.*      the 110 M shape, prompts with nothing in common, a full cache beside none
//   reload.*            that shape, a prompt whose KV has made room for others: brought back from
//                       the offload tier beside computed again, and what new prompts pay for it

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "baton/v1/inference.grpc.pb.h"
#include "config/config.h"
#include "engine/base/log.h"
#include "engine/base/strings.h"
#include "engine/engine.h"
#include "engine/exec/cpu/cpu_executor.h"
#include "grpcpp/grpcpp.h"
#include "server/app.h"
#include "tests/bench/bench_tools.h"
#include "tests/support/bench_report.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/read_bandwidth.h"
#include "tests/support/shared_data.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

// ---- An engine of its own, and what runs on it

struct LlmBenchArgs : BenchArgs {
  std::string peer;
  std::string simd = "auto";

  CpuOptions Cpu(int threads = 1) const {
    return {.llm_threads = threads, .search_threads = 1, .simd = simd};
  }
};

struct BenchEngine {
  BenchEngine(const std::string& model, const EngineOptions& options, const CpuOptions& cpu) {
    store = OrDie(VectorStore::Open(VectorOptions{.data_dir = dir.File("data")}, metrics));
    EngineParts parts{.clock = &SystemClock(),
                      .metrics = &metrics,
                      .store = store.get(),
                      .executors = {},
                      .models = {OrDie(LoadLanguageModel("bench", model))},
                      .embedders = {}};
    parts.embedders.push_back({.embedder = MakeLexicalEmbedder(1024)});
    weight_bytes = parts.models[0]->weight_bytes();
    parts.executors.push_back(OrDie(MakeCpuExecutor(cpu, SystemClock())));
    engine = OrDie(Engine::Create(options, std::move(parts)));
  }

  TempDir dir;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
  int64_t weight_bytes = 0;
  std::unique_ptr<Engine> engine;
};

// When each chunk of a generation's tokens came, in seconds after its submission.
class Stream final : public TokenSink {
 public:
  struct Chunk {
    double at = 0;
    int64_t tokens = 0;
  };
  void OnTokens(TokenChunk chunk) override {
    chunks_.push_back({SecondsSince(begin_), std::ssize(chunk.ids)});
    if (chunks_.size() == 1) first_.set_value();
  }
  void OnPrompt(PromptChunk) override {}
  void OnCompletion(GenerateResult) override {}
  void OnFinished(absl::Status status) override { end_.set_value(status); }

  void AwaitFirst() { first_.get_future().wait(); }
  // The chunks with tokens in them. `cut`: it may have been cancelled.
  std::vector<Chunk> Wait(bool cut = false) {
    const absl::Status status = end_.get_future().get();
    if (!cut || status.code() != absl::StatusCode::kCancelled) OrDie(status);
    std::erase_if(chunks_, [](const Chunk& chunk) { return chunk.tokens == 0; });
    return chunks_;
  }
  SteadyClock::time_point begin() const { return begin_; }

  RequestId id;

 private:
  const SteadyClock::time_point begin_ = SteadyClock::now();
  std::vector<Chunk> chunks_;
  std::promise<void> first_;
  std::promise<absl::Status> end_;
};

std::vector<TokenId> RandomPrompt(int64_t tokens, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<TokenId> prompt(static_cast<size_t>(tokens));
  for (TokenId& token : prompt) token = 260 + static_cast<TokenId>(random() % 40);
  return prompt;
}

std::shared_ptr<Stream> Start(Engine& engine, std::vector<TokenId> prompt, int32_t max_tokens) {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  auto stream = std::make_shared<Stream>();
  stream->id = OrDie(engine.Submit(std::move(request), stream));
  return stream;
}

// Tokens a second that `streams` decode together, from when all have begun until the first ends.
double DecodeRate(Engine& engine, int streams, int32_t tokens, uint64_t seed) {
  std::vector<std::shared_ptr<Stream>> running;
  for (int i = 0; i < streams; ++i) {
    running.push_back(Start(engine, RandomPrompt(8, seed + static_cast<uint64_t>(i)), tokens));
  }
  double from = 0;
  double until = 1e30;
  std::vector<std::vector<Stream::Chunk>> chunks;
  for (const auto& stream : running) {
    chunks.push_back(stream->Wait());
    const double start =
        std::chrono::duration<double>(stream->begin() - running[0]->begin()).count();
    for (Stream::Chunk& chunk : chunks.back()) chunk.at += start;
    from = std::max(from, chunks.back().front().at);
    until = std::min(until, chunks.back().back().at);
  }
  int64_t counted = 0;
  for (const auto& each : chunks) {
    for (const Stream::Chunk& chunk : each) {
      if (chunk.at > from && chunk.at <= until) counted += chunk.tokens;
    }
  }
  return static_cast<double>(counted) / (until - from);
}

double PrefillRate(Engine& engine, int32_t tokens, uint64_t seed) {
  const auto stream = Start(engine, RandomPrompt(tokens, seed), 1);
  return tokens / stream->Wait().front().at;
}

// ---- The peer

struct PeerRun {
  int prompt = 0;    // tokens to prefill, or
  int generate = 0;  // to generate
  int threads = 1;
  bool parks = false;  // its threads sleep at once where they wait, instead of spinning
};

// Tokens a second of llama-bench over `model`.
double PeerRate(const std::string& peer, const std::string& model, const PeerRun& run) {
  const std::string command = StrCat(
      run.parks ? "OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0 " : "", "'", peer, "' -m '", model,
      "' -p ", run.prompt, " -n ", run.generate, " -t ", run.threads, " -r 1 -o json 2>/dev/null");
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string out;
  std::array<char, 4096> some;
  while (const size_t got = std::fread(some.data(), 1, some.size(), pipe.get())) {
    out.append(some.data(), got);
  }
  const auto parsed = nlohmann::json::parse(out, nullptr, false);
  if (!parsed.is_array() || parsed.empty() || !parsed[0].contains("avg_ts")) {
    OrDie(absl::InternalError(StrCat("--peer: no result of: ", command)));
  }
  return parsed[0]["avg_ts"];
}

// ---- Figures

struct FileType {
  std::string name;
  TensorType type;
  std::optional<TensorType> finer;
};
const FileType kTypes[] = {{"q8_0", TensorType::kQ8_0, {}},
                           {"q4_0", TensorType::kQ4_0, TensorType::kQ6K},
                           {"q4_k_m", TensorType::kQ4K, TensorType::kQ6K}};

RandomModelOptions Shape1B(bool tiny, const FileType& type) {
  RandomModelOptions shape{.dim = 2048,
                           .ffn_dim = 5632,
                           .layers = 22,
                           .heads = 32,
                           .kv_heads = 4,
                           .vocabulary = 32000,
                           .context_tokens = 16384,
                           .type = type.type,
                           .tied_output = false,
                           .finer_type = type.finer,
                           .distinct_rows = 16};
  // As llama.cpp's Q4_0 files have it: the output alone is finer.
  if (type.name == "q4_0") shape.finer_type.reset();
  if (tiny)
    shape.dim = 256, shape.ffn_dim = 512, shape.layers = 1, shape.heads = 4, shape.vocabulary = 320;
  return shape;
}

RandomModelOptions Shape110M(bool tiny) {
  RandomModelOptions shape{.dim = 768,
                           .ffn_dim = 2048,
                           .layers = 12,
                           .heads = 12,
                           .kv_heads = 12,
                           .vocabulary = 32000,
                           .context_tokens = 2048,
                           .type = TensorType::kQ8_0,
                           .distinct_rows = 16};
  if (tiny)
    shape.dim = 128, shape.ffn_dim = 256, shape.layers = 1, shape.heads = 4, shape.kv_heads = 4,
    shape.vocabulary = 320;
  return shape;
}

EngineOptions Plain() {
  EngineOptions options;
  options.kv.prefix_cache = false;
  options.schedule.draft_tokens_max = 0;
  return options;
}

// Bytes of weights that one decode step reads: all but the embedding table, of which a row is read.
double StepBytes(const BenchEngine& b, const RandomModelOptions& shape) {
  const int64_t table = RowBytes(shape.type, shape.dim) * shape.vocabulary;
  return static_cast<double>(b.weight_bytes - (shape.tied_output ? 0 : table));
}

void DecodeAndPrefill(const LlmBenchArgs& args, int rounds, BenchReport& report) {
  const int32_t prompt = args.tiny ? 32 : 512;
  const int32_t generated = args.tiny ? 8 : 64;
  double least_speedup = 1e30;
  for (const FileType& type : kTypes) {
    const RandomModelOptions shape = Shape1B(args.tiny, type);
    const TempFile file(RandomModelBytes(shape));
    BenchEngine b(file.path(), Plain(), args.Cpu());
    Engine& engine = *b.engine;
    std::vector<double> decode, batch8, prefill, read, peer_decode, peer_prefill;
    for (int round = 0; round < rounds; ++round) {
      const auto seed = args.seed + static_cast<uint64_t>(round);
      read.push_back(ReadBandwidth(static_cast<int64_t>(StepBytes(b, shape)), args.tiny));
      decode.push_back(DecodeRate(engine, 1, generated, seed));
      if (!args.peer.empty())
        peer_decode.push_back(PeerRate(args.peer, file.path(), {.generate = generated}));
      prefill.push_back(PrefillRate(engine, prompt, seed));
      if (!args.peer.empty())
        peer_prefill.push_back(PeerRate(args.peer, file.path(), {.prompt = prompt}));
      batch8.push_back(DecodeRate(engine, 8, generated / 2, seed));
    }
    const std::string of_decode = "decode." + type.name;
    const double gb_per_token = StepBytes(b, shape) * 1e-9;
    report.Add(of_decode + ".tokens_per_s", Median(decode), "tokens/s, batch 1");
    report.Add(of_decode + ".bandwidth_share", Median(decode) * gb_per_token / Median(read),
               StrCat("of ", Median(read), " GB/s that a thread reads"));
    report.Add("prefill." + type.name + ".tokens_per_s", Median(prefill), "tokens/s");
    const double speedup = Median(batch8) / Median(decode);
    least_speedup = std::min(least_speedup, speedup);
    report.Add("batch8." + type.name + ".speedup", speedup, "times batch 1");
    if (!args.peer.empty()) {
      report.Add(of_decode + ".peer_ratio", Median(decode) / Median(peer_decode), "times the peer");
      report.Add("prefill." + type.name + ".peer_ratio", Median(prefill) / Median(peer_prefill),
                 "times the peer");
    }
  }
  report.Add("batch8.speedup", least_speedup, "times batch 1, the least of the types");
}

// Keeps one core busy while it lives: what a neighbour on the same host does.
class BusyCore {
 public:
  explicit BusyCore(int core)
      : thread_([this] {
          while (!stop_.load(std::memory_order_relaxed)) continue;
        }) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    pthread_setaffinity_np(thread_.native_handle(), sizeof(cores), &cores);
  }
  ~BusyCore() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Decode on two threads beside one, and beside the better of the peer's ways to wait.
void TwoThreads(const LlmBenchArgs& args, BenchReport& report) {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  if (cores < 2) return;
  const int32_t generated = args.tiny ? 8 : 32;
  for (const FileType& type : kTypes) {
    const TempFile file(RandomModelBytes(Shape1B(args.tiny, type)));
    BenchEngine one(file.path(), Plain(), args.Cpu());
    BenchEngine two(file.path(), Plain(), args.Cpu(2));
    for (const bool contended : {false, true}) {
      std::vector<double> alone, both, peer_rate;
      for (int round = 0; round < (args.tiny ? 1 : 3); ++round) {
        const auto seed = args.seed + static_cast<uint64_t>(round);
        std::optional<BusyCore> busy;
        if (contended) busy.emplace(cores - 1);
        alone.push_back(DecodeRate(*one.engine, 1, generated, seed));
        both.push_back(DecodeRate(*two.engine, 1, generated, seed));
        if (args.peer.empty()) continue;
        double best = 0;
        for (const bool parks : {false, true}) {
          const PeerRun run = {.generate = generated / 2, .threads = 2, .parks = parks};
          best = std::max(best, PeerRate(args.peer, file.path(), run));
        }
        peer_rate.push_back(best);
      }
      const std::string name = StrCat("threads.", type.name, contended ? ".contended" : ".alone");
      report.Add(name + ".speedup", Median(both) / Median(alone), "times one thread");
      if (!args.peer.empty()) {
        report.Add(name + ".peer_ratio", Median(both) / Median(peer_rate),
                   "times the peer's better setting");
      }
    }
  }
}

RandomModelOptions Shape260K(TensorType type) {
  // ffn_dim of the story models is 172, which no quantised type holds.
  return {.dim = 64,
          .ffn_dim = type == TensorType::kF32 ? 172 : 192,
          .layers = 5,
          .heads = 8,
          .kv_heads = 4,
          .vocabulary = 512,
          .context_tokens = 512,
          .type = type};
}

void SmallModels(const LlmBenchArgs& args, BenchReport& report) {
  const int32_t prompt = args.tiny ? 32 : 384;
  const int32_t generated = args.tiny ? 8 : 384;
  for (const TensorType type : {TensorType::kF32, TensorType::kQ8_0}) {
    const TempFile file(RandomModelBytes(Shape260K(type)));
    BenchEngine b(file.path(), Plain(), args.Cpu());
    std::vector<double> decode, prefill, peer_decode, peer_prefill;
    for (int round = 0; round < (args.tiny ? 1 : 9); ++round) {
      const auto seed = args.seed + static_cast<uint64_t>(round);
      decode.push_back(DecodeRate(*b.engine, 1, generated, seed));
      prefill.push_back(PrefillRate(*b.engine, prompt, seed));
      if (args.peer.empty()) continue;
      peer_decode.push_back(PeerRate(args.peer, file.path(), {.generate = generated}));
      peer_prefill.push_back(PeerRate(args.peer, file.path(), {.prompt = prompt}));
    }
    const std::string name = StrCat("small.", type == TensorType::kF32 ? "f32" : "q8_0");
    report.Add(name + ".decode.tokens_per_s", Median(decode), "tokens/s, batch 1");
    report.Add(name + ".prefill.tokens_per_s", Median(prefill), "tokens/s");
    if (!args.peer.empty()) {
      report.Add(name + ".decode.peer_ratio", Median(decode) / Median(peer_decode),
                 "times the peer");
      report.Add(name + ".prefill.peer_ratio", Median(prefill) / Median(peer_prefill),
                 "times the peer");
    }
  }
}

// Times between tokens from `from` on, in seconds.
std::vector<double> Gaps(const std::vector<Stream::Chunk>& chunks, double from, double until) {
  std::vector<double> gaps;
  for (size_t i = 1; i < chunks.size(); ++i) {
    if (chunks[i].at >= from && chunks[i].at <= until) {
      gaps.push_back(chunks[i].at - chunks[i - 1].at);
    }
  }
  return gaps;
}

// Eight streams decode; half way a long prompt arrives, and a short one while it is prefilled.
void MixedLoad(const LlmBenchArgs& args, BenchReport& report) {
  const RandomModelOptions shape = Shape1B(args.tiny, kTypes[1]);
  const TempFile file(RandomModelBytes(shape));
  BenchEngine b(file.path(), Plain(), args.Cpu());
  Engine& engine = *b.engine;
  const int32_t long_prompt = args.tiny ? 256 : 8192;
  const int32_t quiet_tokens = args.tiny ? 8 : 48;

  std::vector<double> quiet_gaps;
  {
    std::vector<std::shared_ptr<Stream>> streams;
    for (uint64_t i = 0; i < 8; ++i) {
      streams.push_back(Start(engine, RandomPrompt(64, args.seed + i), quiet_tokens));
    }
    for (const auto& stream : streams) {
      const auto chunks = stream->Wait();
      const std::vector<double> gaps = Gaps(chunks, 0, 1e30);
      // The first ones still share their steps with the others' prompts.
      quiet_gaps.insert(quiet_gaps.end(), gaps.begin() + std::ssize(gaps) / 4, gaps.end());
    }
  }
  std::vector<std::shared_ptr<Stream>> streams;
  const auto begin = SteadyClock::now();
  for (uint64_t i = 0; i < 8; ++i) {
    streams.push_back(Start(engine, RandomPrompt(64, args.seed + i), args.tiny ? 200 : 2000));
  }
  for (const auto& stream : streams) stream->AwaitFirst();
  const double quiet_first = Start(engine, RandomPrompt(32, args.seed + 100), 1)->Wait().front().at;
  const double from = SecondsSince(begin);
  const auto large = Start(engine, RandomPrompt(long_prompt, args.seed + 101), 1);
  const double mixed_first = Start(engine, RandomPrompt(32, args.seed + 102), 1)->Wait().front().at;
  const double prefill_seconds = large->Wait().front().at;
  const double until = SecondsSince(begin);
  for (const auto& stream : streams) engine.Cancel(stream->id);
  std::vector<double> gaps;
  for (const auto& stream : streams) {
    const double start = std::chrono::duration<double>(stream->begin() - begin).count();
    const std::vector<double> own = Gaps(stream->Wait(true), from - start, until - start);
    gaps.insert(gaps.end(), own.begin(), own.end());
  }
  report.Add("mixed.prefill_s", prefill_seconds, StrCat("s for ", long_prompt, " tokens"));
  report.Add("mixed.itl_p99_ms", Quantile(gaps, 0.99) * 1e3, "ms, while it is prefilled");
  report.Add("mixed.itl_p99_ratio", Quantile(gaps, 0.99) / Quantile(quiet_gaps, 0.99),
             "times quiet");
  report.Add("mixed.ttft_ratio", mixed_first / quiet_first, "times without the long prompt");
}

// Seconds for eight streams of `tokens` through gRPC, on one channel each.
double GrpcSeconds(const std::string& address, int32_t tokens, uint64_t seed) {
  const auto begin = SteadyClock::now();
  std::vector<std::thread> clients;
  for (uint64_t i = 0; i < 8; ++i) {
    clients.emplace_back([&, i] {
      const auto stub = v1::InferenceService::NewStub(
          grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
      v1::GenerateRequest request;
      const std::vector<TokenId> prompt = RandomPrompt(8, seed + i);
      request.mutable_tokens()->mutable_ids()->Add(prompt.begin(), prompt.end());
      request.set_max_tokens(tokens);
      request.set_ignore_eos(true);
      grpc::ClientContext context;
      const auto reader = stub->Generate(&context, request);
      v1::GenerateResponse response;
      while (reader->Read(&response)) continue;
      const grpc::Status status = reader->Finish();
      if (!status.ok()) OrDie(absl::InternalError(status.error_message()));
    });
  }
  for (std::thread& client : clients) client.join();
  return SecondsSince(begin);
}

double EngineSeconds(Engine& engine, int32_t tokens, uint64_t seed) {
  const auto begin = SteadyClock::now();
  std::vector<std::shared_ptr<Stream>> streams;
  for (uint64_t i = 0; i < 8; ++i) {
    streams.push_back(Start(engine, RandomPrompt(8, seed + i), tokens));
  }
  for (const auto& stream : streams) stream->Wait();
  return SecondsSince(begin);
}

void DaemonOverhead(const LlmBenchArgs& args, BenchReport& report) {
  const TempFile file(RandomModelBytes(Shape110M(args.tiny)));
  const TempDir dir;
  Config config;
  config.server.grpc_address = "127.0.0.1:0";
  config.server.http_address = "127.0.0.1:0";
  config.models = {{.name = "bench", .path = file.path()}};
  config.executors.cpu = args.Cpu();
  config.vector.data_dir = dir.File("data");
  config.engine = Plain();
  const auto app = OrDie(App::Start(config));
  OrDie(app->WritePortFile(dir.File("ports")));
  const std::string ports = ReadWholeFile(dir.File("ports"));
  const size_t at = ports.find("grpc=") + 5;
  const std::string address = ports.substr(at, ports.find('\n', at) - at);

  BenchEngine b(file.path(), Plain(), args.Cpu());
  const int32_t tokens = args.tiny ? 8 : 128;
  std::vector<double> ratios;
  for (int round = 0; round < (args.tiny ? 1 : 7); ++round) {
    const auto seed = args.seed + static_cast<uint64_t>(round);
    const double alone = EngineSeconds(*b.engine, tokens, seed);
    ratios.push_back(GrpcSeconds(address, tokens, seed) / alone);
  }
  report.Add("daemon.overhead_share", Median(ratios) - 1, "of the engine's time, eight streams");
}

void PrefixCacheCost(const LlmBenchArgs& args, BenchReport& report) {
  const TempFile file(RandomModelBytes(Shape110M(args.tiny)));
  // Room for a few texts: soon the cache is full, and each prompt's blocks are those of the oldest.
  EngineOptions plain = Plain();
  plain.kv.memory_mb = args.tiny ? 16 : 96;
  EngineOptions cached = plain;
  cached.kv.prefix_cache = true;
  BenchEngine with(file.path(), cached, args.Cpu());
  BenchEngine without(file.path(), plain, args.Cpu());
  const auto seconds = [&](BenchEngine& b, uint64_t seed) {
    const auto begin = SteadyClock::now();
    Start(*b.engine, RandomPrompt(args.tiny ? 100 : 500, seed), args.tiny ? 8 : 64)->Wait();
    return SecondsSince(begin);
  };
  std::vector<double> ratios;
  const int unmeasured = args.tiny ? 0 : 6;
  for (int round = 0; round < (args.tiny ? 1 : unmeasured + 15); ++round) {
    const auto seed = args.seed + static_cast<uint64_t>(round);
    const double seconds_without = seconds(without, seed);
    const double ratio = seconds(with, seed) / seconds_without;
    if (round >= unmeasured) ratios.push_back(ratio);
  }
  report.Add("prefix_cache.loss_share", Median(ratios) - 1, "of the time, at no hits");
}

// ---- The offload tier

void Reloads(const LlmBenchArgs& args, BenchReport& report) {
  const RandomModelOptions shape = Shape110M(args.tiny);
  const TempFile file(RandomModelBytes(shape));
  EngineOptions options = Plain();
  options.kv.prefix_cache = true;
  options.kv.memory_mb = args.tiny ? 1 : 48;
  EngineOptions offload = options;
  offload.kv.offload_memory_mb = args.tiny ? 4 : 256;
  offload.kv.offload_reload = "always";
  BenchEngine with(file.path(), offload, args.Cpu());
  BenchEngine without(file.path(), options, args.Cpu());
  const int32_t prompt = args.tiny ? 400 : 500;
  const int64_t token_bytes = with.engine->ListModels().front().kv_token_bytes;
  const int64_t others = (options.kv.memory_mb << 20) / (token_bytes * prompt) + 1;
  struct Times {
    double fresh = 0;  // seconds to the first token, mean of all prompts
    double again = 0;
  };
  const auto measure = [&](BenchEngine& b, uint64_t seed) {
    const auto ask = [&](uint64_t text) {
      return Start(*b.engine, RandomPrompt(prompt, text), 1)->Wait().front().at;
    };
    Times times;
    for (int64_t i = 0; i <= others; ++i) {
      times.fresh += ask(seed + static_cast<uint64_t>(i)) / static_cast<double>(others + 1);
    }
    times.again = ask(seed);
    return times;
  };
  std::vector<double> speedups, back_ms, losses;
  for (int round = 0; round < (args.tiny ? 1 : 7); ++round) {
    const uint64_t seed = args.seed + 1000 * static_cast<uint64_t>(round);
    const Times computed = measure(without, seed);
    const Times reloaded = measure(with, seed);
    speedups.push_back(computed.again / reloaded.again);
    back_ms.push_back(reloaded.again * 1e3);
    losses.push_back(reloaded.fresh / computed.fresh - 1);
  }
  report.Add("reload.first_token_ms", Median(back_ms), StrCat("ms for ", prompt, " tokens"));
  report.Add("reload.speedup", Median(speedups), "times the first token of computing them again");
  report.Add("reload.loss_share", Median(losses), "of the time to compute what is new");
}

// ---- Drafts from the retrieved text

class Answer final : public AskSink {
 public:
  void OnRetrieved(std::vector<Passage>) override {}
  void OnTokens(TokenChunk chunk) override { text += chunk.text; }
  void OnAnswer(AskResult result) override { end.set_value(std::move(result)); }
  void OnFinished(absl::Status status) override { OrDie(status); }
  std::string text;
  std::promise<AskResult> end;
};

struct Answers {
  std::vector<std::string> texts;
  int64_t tokens = 0;
  int64_t steps = 0;
  double decode_s = 0;
};

Answers AskAll(Engine& engine, const std::vector<std::string>& questions) {
  Answers answers;
  for (const std::string& question : questions) {
    AskRequest request;
    request.collection = "demo";
    request.question = question;
    const auto sink = std::make_shared<Answer>();
    OrDie(engine.Submit(std::move(request), sink).status());
    const AskResult result = sink->end.get_future().get();
    answers.texts.push_back(sink->text);
    if (result.mode != AskMode::kGenerated) continue;
    answers.tokens += result.generated.generated_tokens - 1;
    answers.steps += result.generated.decode_steps;
    for (const Stage& stage : result.timings.stages) {
      if (stage.name == "decode") answers.decode_s += static_cast<double>(stage.run_us) * 1e-6;
    }
  }
  return answers;
}

void Lookup(const LlmBenchArgs& args, BenchReport& report) {
  const std::filesystem::path demo = std::filesystem::path(BATON_SOURCE_DIR) / "deploy/demo";
  std::vector<std::string> questions;
  std::ifstream in(demo / "questions.jsonl");
  for (std::string line; std::getline(in, line);) {
    questions.push_back(nlohmann::json::parse(line).at("question"));
    if (args.tiny && questions.size() == 3) break;
  }
  const auto make = [&](int64_t draft_tokens_max) {
    EngineOptions options = Plain();
    options.schedule.draft_tokens_max = draft_tokens_max;
    options.rag.context_passages_max = 1;
    auto b = std::make_unique<BenchEngine>((demo / "model/baton-reader.gguf").string(), options,
                                           args.Cpu());
    std::vector<Document> documents;
    for (const auto& entry : std::filesystem::directory_iterator(demo / "corpus")) {
      const std::string text = ReadWholeFile(entry.path());
      const size_t begin = text.starts_with("# ") ? 2 : 0;
      documents.push_back({.id = entry.path().filename(),
                           .title = text.substr(begin, text.find('\n') - begin),
                           .text = text,
                           .metadata = {}});
    }
    std::promise<absl::StatusOr<IngestResult>> done;
    OrDie(b->engine
              ->Submit(IngestRequest{.envelope = {},
                                     .collection = "demo",
                                     .documents = std::move(documents),
                                     .passage_chars_max = {},
                                     .passage_overlap_chars = {}},
                       [&done](auto result) { done.set_value(std::move(result)); })
              .status());
    OrDie(done.get_future().get().status());
    return b;
  };
  const auto with = make(ScheduleOptions{}.draft_tokens_max);
  const auto without = make(0);
  std::vector<double> ratios;
  double tokens_per_step = 0;
  for (int round = 0; round < (args.tiny ? 1 : 5); ++round) {
    const Answers plain = AskAll(*without->engine, questions);
    const Answers drafted = AskAll(*with->engine, questions);
    if (plain.texts != drafted.texts) OrDie(absl::InternalError("drafts changed an answer"));
    if (plain.tokens == 0) OrDie(absl::InternalError("no question was answered by the model"));
    ratios.push_back(plain.decode_s / drafted.decode_s);
    tokens_per_step = static_cast<double>(drafted.tokens) /
                      static_cast<double>(std::max<int64_t>(1, drafted.steps));
  }
  report.Add("lookup.speedup", Median(ratios), "times the decode rate without drafts");
  report.Add("lookup.tokens_per_step", tokens_per_step, "tokens of a decode step with drafts");
}

int Run(int argc, char** argv) {
  std::string only;
  std::string rounds = "5";
  LlmBenchArgs args;
  static_cast<BenchArgs&>(args) = ParseBenchArgs(argc, argv,
                                                 {{"--peer", "LLAMA-BENCH", &args.peer},
                                                  {"--only", "PART,PART", &only},
                                                  {"--rounds", "N", &rounds},
                                                  {"--simd", "LEVEL", &args.simd}});
  BenchReport report(args);
  InitLog({.level = "error"});
  const auto wanted = [&only](std::string_view part) {
    return only.empty() || StrCat(",", only, ",").find(StrCat(",", part, ",")) != std::string::npos;
  };
  if (wanted("decode")) {
    DecodeAndPrefill(args, args.tiny ? 1 : std::max(1, std::atoi(rounds.c_str())), report);
  }
  if (wanted("threads")) TwoThreads(args, report);
  if (wanted("small")) SmallModels(args, report);
  if (wanted("mixed")) MixedLoad(args, report);
  if (wanted("daemon")) DaemonOverhead(args, report);
  if (wanted("cache")) PrefixCacheCost(args, report);
  if (wanted("reload")) Reloads(args, report);
  if (wanted("lookup")) Lookup(args, report);
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Run(argc, argv); }
