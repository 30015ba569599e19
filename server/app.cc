#include "server/app.h"

#include <grpc/support/log.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "config/models.h"
#include "config/reload.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/thread_placement.h"
#include "engine/model/any_model.h"
#include "engine/model/embedder.h"
#include "engine/vector/vector_store.h"
#include "google/protobuf/stubs/logging.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "server/executors.h"
#include "server/service_manager.h"
#include "server/unreadable_requests.h"
#include "server/version.h"

namespace baton {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr const char* kServices[] = {"baton.v1.InferenceService", "baton.v1.VectorService",
                                     "baton.v1.RagService", "baton.v1.AdminService",
                                     "inference.GRPCInferenceService"};
// A client whose machine vanished is noticed within two of these.
constexpr int kKeepaliveMs = 60'000;
constexpr milliseconds kHealthPeriod{500};
constexpr milliseconds kDrainPeriod{10};
// What health watchers and last bytes get after the drain.
constexpr milliseconds kGoodbye{500};

absl::Status Annotate(std::string_view what, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), StrCat(what, ": ", std::string(status.message())));
}

// An existing directory's absolute path; an empty one stays empty.
absl::StatusOr<std::string> AbsoluteDirectory(std::string_view key, const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(StrCat(key, ": ", path, " is not a directory"));
  }
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error) return absl::InternalError(StrCat(key, ": ", path, ": ", error.message()));
  return absolute.lexically_normal().string();
}

// gRPC and protobuf log to stderr by themselves; their records join ours.
void LogFromProtobuf(google::protobuf::LogLevel, const char*, int, const std::string& message) {
  Log().debug("protobuf: {}", message);  // what it has to say goes to the client as a status
}
void LogFromGrpc(gpr_log_func_args* record) {
  Log().log(record->severity == GPR_LOG_SEVERITY_ERROR ? spdlog::level::warn : spdlog::level::debug,
            "grpc: {}", record->message);
}

}  // namespace

absl::StatusOr<std::unique_ptr<App>> App::Start(const Config& config,
                                                std::optional<SimulationOptions> simulation) {
  std::unique_ptr<App> app(new App(config, std::move(simulation)));
  RETURN_IF_ERROR(app->Build());
  return app;
}

absl::Status App::Build() {
  // Debian builds Abseil, whose mutexes are gRPC's, with the detector of deadlocks that is meant
  // for debugging: every lock of any of them takes one lock of the process, and a cycle ends it.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  google::protobuf::SetLogHandler(LogFromProtobuf);
  gpr_set_log_function(LogFromGrpc);
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
  metrics_.Gauge(MetricId::kBuildInfo, {kVersion}).Set(1);

  // Both ports are tried before the long work begins.
  const ServerOptions& server = config_.server;
  ASSIGN_OR_RETURN(const Address grpc_wanted,
                   ParseAddress("server.grpc_address", server.grpc_address));
  ASSIGN_OR_RETURN(const Address http_wanted,
                   ParseAddress("server.http_address", server.http_address));
  RETURN_IF_ERROR(BuildAccess());
  const bool http_tls = tls_ != nullptr && server.tls.http;
  RETURN_IF_ERROR(CheckReach("server.grpc_address", grpc_wanted, tls_ != nullptr));
  RETURN_IF_ERROR(CheckReach("server.http_address", http_wanted, http_tls));
  RETURN_IF_ERROR(CheckBindable("server.grpc_address", grpc_wanted));
  RETURN_IF_ERROR(CheckBindable("server.http_address", http_wanted));
  std::function<std::shared_ptr<ssl_ctx_st>()> http_context;
  if (http_tls) http_context = [this] { return tls_->HttpContext(); };
  ASSIGN_OR_RETURN(http_, HttpPort::Open({.address = http_wanted,
                                          .threads = static_cast<int>(server.http_threads),
                                          .connections_max = server.http_connections_max,
                                          .body_bytes_max = server.http_body_bytes_max,
                                          .metrics = &metrics_,
                                          .ready = [this] { return Ready(); },
                                          .tls = std::move(http_context)}));
  writers_ = std::make_unique<WriterPool>(PoolThreads(server.writer_threads));
  RETURN_IF_ERROR(BuildEngine());

  rpc_metrics_ = std::make_unique<RpcMetrics>(metrics_, SystemClock());
  const RpcParts parts{.engine = *engine_,
                       .clock = SystemClock(),
                       .writers = *writers_,
                       .metrics = *rpc_metrics_,
                       .access = *access_,
                       .options = config_.server};
  inference_ = std::make_unique<InferenceService>(parts);
  kserve_ = std::make_unique<KserveService>(parts);
  vector_ = std::make_unique<VectorService>(parts);
  rag_ = std::make_unique<RagService>(parts);
  admin_ = std::make_unique<AdminService>(parts, *store_);
  RETURN_IF_ERROR(BuildGrpc(grpc_wanted));
  openai_ = std::make_shared<OpenAiService>(parts);
  http_->SetApi(openai_);

  SetPhase(absl::OkStatus());
  UpdateHealth(Ready().ok());
  Log().info("batond {} serves gRPC on {} and HTTP on {}", kVersion, grpc_address_.ToString(),
             http_->address().ToString());
  return absl::OkStatus();
}

absl::Status App::BuildAccess() {
  const TlsOptions& tls = config_.server.tls;
  auto created =
      Access::Create({.tokens_file = config_.server.access.tokens}, metrics_, SystemClock());
  if (!created.ok()) return Annotate("server.access.tokens", created.status());
  access_ = *std::move(created);
  if (!tls.enabled()) return absl::OkStatus();
  ASSIGN_OR_RETURN(tls_, Tls::Open(tls));
  metrics_.Gauge(MetricId::kCertificateExpiry).Set(static_cast<double>(tls_->not_after_s()));
  return absl::OkStatus();
}

absl::Status App::CheckReach(std::string_view key, const Address& wanted, bool tls) const {
  if (wanted.is_loopback()) return absl::OkStatus();
  const ServerOptions& server = config_.server;
  if (!access_->asks_for_tokens() && !(tls && !server.tls.client_ca.empty())) {
    if (!server.access.open) {
      return absl::InvalidArgumentError(
          StrCat(key, " is ", wanted.ToString(),
                 ", but nothing says who may use it: set server.access.tokens or "
                 "server.tls.client_ca, or listen on 127.0.0.1, or set server.access.open where "
                 "whoever reaches the port may do everything"));
    }
    Log().warn("server.access.open: whoever reaches {} may read, change and delete everything",
               wanted.ToString());
  }
  if (access_->asks_for_tokens() && !tls) {
    Log().warn(
        "{} {} has no TLS: tokens can be read on their way; set server.tls.* unless a proxy in "
        "front does that",
        key, wanted.ToString());
  }
  return absl::OkStatus();
}

absl::Status App::BuildEngine() {
  SetPhase(absl::UnavailableError("starting: recovering the collections"));
  auto store = VectorStore::Open(config_.vector, metrics_);
  if (!store.ok()) return Annotate("vector.data_dir", store.status());
  store_ = *std::move(store);
  host_watch_ = std::make_unique<HostWatch>(metrics_, *store_);
  for (const CollectionInfo& info : store_->List()) {
    Log().info("collection {}: {} points of dimension {}", info.spec.name, info.points,
               info.spec.dimension);
  }

  EngineParts parts{.clock = &SystemClock(), .metrics = &metrics_, .store = store_.get()};
  parts.answers = writers_.get();
  if (!config_.embedder.path.empty()) {
    ASSIGN_OR_RETURN(const ModelOptions model, EmbedderModel(config_));
    RETURN_IF_ERROR(Annotate("embedder", LoadInto(parts, model)));
    if (parts.embedders.empty() ||
        parts.embedders[0].embedder->kind() != Embedder::Kind::kSemantic) {
      return absl::InvalidArgumentError(
          StrCat("embedder.path: ", model.path, " is not an embedding model"));
    }
  }
  for (const ModelOptions& model : config_.models) {
    RETURN_IF_ERROR(Annotate("models", LoadInto(parts, model)));
  }
  parts.embedders.push_back({.embedder = MakeLexicalEmbedder(config_.embedder.dimension)});
  SetPhase(absl::UnavailableError("starting: opening the executors"));
  RETURN_IF_ERROR(MakeExecutors(config_, simulation_, parts));
  if (simulation_) parts.peer_hold_at = simulation_->peer_hold_at;
  EngineOptions options = config_.engine;
  ASSIGN_OR_RETURN(options.repository.directory,
                   AbsoluteDirectory("repository.directory", options.repository.directory));
  options.cost_model_path = StrCat(config_.vector.data_dir, "/cost_model");
  SetPhase(absl::UnavailableError("starting: preparing the models and warming them up"));
  ASSIGN_OR_RETURN(engine_, Engine::Create(options, std::move(parts)));
  return absl::OkStatus();
}

absl::Status App::LoadInto(EngineParts& parts, const ModelOptions& options) {
  SetPhase(absl::UnavailableError(StrCat("starting: loading model ", options.name)));
  auto loaded = LoadAnyModel(options.name, options.path);
  if (!loaded.ok()) return Annotate(options.name, loaded.status());
  if (auto* model = std::get_if<std::shared_ptr<const LanguageModel>>(&*loaded)) {
    const LlmShape& shape = (*model)->shape();
    Log().info("model {}: {}, {} parameters, context of {} tokens", options.name,
               shape.architecture, shape.parameters, shape.context_tokens);
    parts.models.push_back(std::move(*model));
    return absl::OkStatus();
  }
  auto encoder = std::get<std::shared_ptr<const TextEncoder>>(*std::move(loaded));
  const EncoderShape& shape = encoder->shape();
  Log().info("model {}: {}, {} parameters, dimension {}, context of {} tokens", options.name,
             shape.architecture, shape.parameters, shape.dim, shape.context_tokens);
  parts.embedders.push_back({.embedder = std::move(encoder),
                             .question_prefix = options.question_prefix,
                             .passage_prefix = options.passage_prefix});
  return absl::OkStatus();
}

absl::Status App::BuildGrpc(const Address& wanted) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  const ServerOptions& options = config_.server;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(wanted.ToString(),
                           tls_ ? tls_->Credentials() : grpc::InsecureServerCredentials(), &port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // else two daemons share a port
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             static_cast<int>(options.streams_per_connection_max));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.message_bytes_max));
  builder.SetMaxSendMessageSize(static_cast<int>(options.message_bytes_max));
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(ExplainUnreadableRequests());
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  builder.RegisterService(inference_.get());
  builder.RegisterService(kserve_.get());
  builder.RegisterService(vector_.get());
  builder.RegisterService(rag_.get());
  builder.RegisterService(admin_.get());
  grpc_ = builder.BuildAndStart();
  if (grpc_ == nullptr || port == 0) {
    return absl::UnavailableError(
        StrCat("cannot listen on ", wanted.ToString(), " (server.grpc_address)"));
  }
  grpc_address_ = wanted;
  grpc_address_.port = static_cast<uint16_t>(port);
  for (const char* service : kServices) {
    grpc_->GetHealthCheckService()->SetServingStatus(service, false);
  }
  return absl::OkStatus();
}

void App::SetPhase(absl::Status why_not_ready) {
  if (!why_not_ready.ok()) TellStatus(std::string(why_not_ready.message()));
  const std::lock_guard lock(phase_mutex_);
  phase_ = std::move(why_not_ready);
}

absl::Status App::Ready() {
  // The engine is looked at under the lock, so that it lives until the phase says otherwise.
  const std::lock_guard lock(phase_mutex_);
  RETURN_IF_ERROR(phase_);
  return engine_->Progress();
}

void App::UpdateHealth(bool ready) {
  metrics_.Gauge(MetricId::kReady).Set(ready ? 1 : 0);
  if (ready == std::exchange(health_, ready)) return;
  for (const char* service : kServices) {
    grpc_->GetHealthCheckService()->SetServingStatus(service, ready);
  }
}

void App::Run(SignalWatcher& signals) {
  TellReady();
  for (SignalWatcher::Asked asked{};
       (asked = signals.Wait(kHealthPeriod)) != SignalWatcher::Asked::kStop;) {
    if (asked == SignalWatcher::Asked::kReload) {
      ReloadConfig();
      ReloadTokens();
    }
    RefreshTls();
    const absl::Status ready = Ready();
    if (!ready.ok() && health_) Log().error("not ready: {}", std::string(ready.message()));
    if (ready.ok() != health_) TellStatus(ready.ok() ? "ready" : std::string(ready.message()));
    UpdateHealth(ready.ok());
  }
  Drain();
}

void App::ReloadConfig() {
  if (read_config_ == nullptr) return;
  const absl::StatusOr<Config> wanted = read_config_();
  const auto count = [this](const char* outcome) {
    metrics_.Counter(MetricId::kReloads, {"config", outcome}).Increment();
  };
  if (!wanted.ok()) {
    count("failed");
    Log().error("the configuration stays as it was: {}", std::string(wanted.status().message()));
    return;
  }
  bool refused = false;
  const std::vector<ConfigChange> changes = Compare(config_, *wanted);
  for (const ConfigChange& change : changes) {
    if (change.reloadable) {
      Log().info("{}: {} -> {}", change.key, change.from, change.to);
    } else {
      refused = true;
      Log().error("{}: {} -> {} is refused: it needs a restart", change.key, change.from,
                  change.to);
    }
  }
  TakeReloadable(*wanted, config_);
  SetLogLevel(config_.log.level);
  engine_->SetSlowMs(config_.engine.requests.slow_ms);
  count(refused ? "failed" : "ok");
  Log().info("the configuration was read again: {} keys differ", changes.size());
}

void App::ReloadTokens() {
  if (!access_->asks_for_tokens()) return;
  const absl::Status reloaded = access_->Reload();
  if (reloaded.ok()) {
    Log().info("server.access.tokens was read again");
  } else {
    Log().error("server.access.tokens stay as they were: {}", std::string(reloaded.message()));
  }
}

void App::RefreshTls() {
  if (tls_ == nullptr) return;
  const absl::StatusOr<bool> changed = tls_->Refresh();
  if (changed.ok() && !*changed) return;
  metrics_.Counter(MetricId::kReloads, {"certificate", changed.ok() ? "ok" : "failed"}).Increment();
  if (!changed.ok()) {
    Log().error("the last good certificate stays: {}", std::string(changed.status().message()));
    return;
  }
  metrics_.Gauge(MetricId::kCertificateExpiry).Set(static_cast<double>(tls_->not_after_s()));
  Log().info("server.tls: the new certificate is served; it expires at {}",
             FormatUtc(tls_->not_after_s()));
}

void App::Drain() {
  const auto limit = steady_clock::now() + seconds(config_.server.drain_seconds_max);
  Log().info("draining: {} RPCs are running, they have {} s", rpc_metrics_->active(),
             config_.server.drain_seconds_max);
  SetPhase(absl::UnavailableError("draining"));
  TellStopping();
  UpdateHealth(false);
  engine_->BeginDrain();
  while ((rpc_metrics_->active() > 0 || engine_->InFlight() > 0) && steady_clock::now() < limit) {
    std::this_thread::sleep_for(kDrainPeriod);
  }
  if (rpc_metrics_->active() > 0) {
    Log().warn("server.drain_seconds_max has passed: {} RPCs are cancelled",
               rpc_metrics_->active());
  }
}

absl::Status App::WritePortFile(const std::string& path) const {
  const std::string temporary = StrCat(path, ".tmp");
  {
    std::ofstream file(temporary, std::ios::trunc);
    file << "grpc=" << grpc_address_.ToString() << "\nhttp=" << http_->address().ToString() << "\n";
    if (const std::string peer = engine_->PeerAddress(); !peer.empty()) {
      file << "peer=" << peer << "\n";
    }
    file.flush();
    if (!file.good()) return absl::ErrnoToStatus(errno, StrCat("cannot write ", temporary));
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, StrCat("cannot rename ", temporary, " to ", path));
  }
  return absl::OkStatus();
}

App::~App() {
  SetPhase(absl::UnavailableError("stopping"));
  // Cancels what still runs, and waits until no reactor is left.
  if (grpc_ != nullptr) {
    grpc_->Shutdown(std::chrono::system_clock::now() + kGoodbye);
    grpc_->Wait();
  }
  // What still runs over HTTP ends with the engine, and its last words are written before the port
  // is closed.
  if (openai_ != nullptr) openai_->Close();
  engine_.reset();
  writers_.reset();  // writes the answers that the engine left with it
  if (http_ != nullptr) http_->Stop();
  if (grpc_ != nullptr) Log().info("stopped");
}

}  // namespace baton
