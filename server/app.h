#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/config.h"
#include "engine/base/metrics.h"
#include "engine/engine.h"
#include "engine/exec/simulated/simulation_options.h"
#include "grpcpp/server.h"
#include "server/access.h"
#include "server/admin_service.h"
#include "server/host_watch.h"
#include "server/http_port.h"
#include "server/inference_service.h"
#include "server/kserve_service.h"
#include "server/openai_service.h"
#include "server/rag_service.h"
#include "server/rpc_metrics.h"
#include "server/signals.h"
#include "server/tls.h"
#include "server/vector_service.h"
#include "server/writer_pool.h"

namespace baton {

// The daemon: builds its parts in order and destroys them in reverse. Not thread safe; its parts
// have threads of their own.
class App {
 public:
  // Blocks until everything serves: the store is recovered, the models are loaded. Errors name the
  // key of the configuration that they come from. The devices of a simulation take the places of
  // real ones.
  static absl::StatusOr<std::unique_ptr<App>> Start(
      const Config& config, std::optional<SimulationOptions> simulation = std::nullopt);
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  // How the configuration is read again on SIGHUP; null: it is not.
  void SetConfigReader(std::function<absl::StatusOr<Config>()> reader) {
    read_config_ = std::move(reader);
  }
  // Serves until a signal asks to stop, then drains: refuses new requests, lets running ones finish
  // within server.drain_seconds_max and cancels the rest.
  void Run(SignalWatcher& signals);

  // Writes the bound addresses as lines "grpc=IP:PORT", "http=IP:PORT" and, where others may have
  // prompts prefilled, "peer=IP:PORT". The file appears whole
  // or not at all.
  absl::Status WritePortFile(const std::string& path) const;

 private:
  App(const Config& config, std::optional<SimulationOptions> simulation)
      : config_(config), simulation_(std::move(simulation)) {}

  absl::Status Build();
  absl::Status BuildEngine();
  // Loads a model from its file and adds it to its kind.
  absl::Status LoadInto(EngineParts& parts, const ModelOptions& options);
  absl::Status BuildGrpc(const Address& wanted);
  // Who may do what.
  absl::Status BuildAccess();
  // INVALID_ARGUMENT: the port is beyond the loopback, and nothing says who may use it.
  absl::Status CheckReach(std::string_view key, const Address& wanted, bool tls) const;
  // Reads again what may have been replaced: configuration and tokens when asked to, certificates
  // when they are. Takes what can be taken while it runs, and says what cannot.
  void ReloadConfig();
  void ReloadTokens();
  void RefreshTls();
  void SetPhase(absl::Status why_not_ready);
  absl::Status Ready();  // thread safe
  void UpdateHealth(bool ready);
  void Drain();

  Config config_;  // changed by ReloadConfig alone
  std::function<absl::StatusOr<Config>()> read_config_;
  const std::optional<SimulationOptions> simulation_;
  Metrics metrics_;
  std::mutex phase_mutex_;
  absl::Status phase_ = absl::UnavailableError("starting");  // OK while serving
  std::unique_ptr<Access> access_;
  std::unique_ptr<Tls> tls_;        // null: no TLS
  std::unique_ptr<HttpPort> http_;  // early: a daemon that loads for minutes is alive, not ready
  std::unique_ptr<VectorStore> store_;
  std::unique_ptr<HostWatch> host_watch_;
  std::unique_ptr<WriterPool> writers_;  // what the engine left with it is run
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<RpcMetrics> rpc_metrics_;
  std::unique_ptr<InferenceService> inference_;
  std::unique_ptr<KserveService> kserve_;
  std::unique_ptr<VectorService> vector_;
  std::unique_ptr<RagService> rag_;
  std::unique_ptr<AdminService> admin_;
  std::shared_ptr<OpenAiService> openai_;
  std::unique_ptr<grpc::Server> grpc_;
  Address grpc_address_;
  bool health_ = false;  // what the health service says of the services
};

}  // namespace baton
