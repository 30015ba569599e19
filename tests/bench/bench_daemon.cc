#include "tests/bench/bench_daemon.h"

#include <signal.h>

#include <chrono>
#include <fstream>
#include <string>
#include <thread>

#include "config/config.h"
#include "config/print_config.h"
#include "tests/bench/bench_tools.h"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

constexpr std::chrono::seconds kReadyMax{60};
constexpr std::chrono::seconds kEndMax{60};

}  // namespace

void RpcOrDie(const grpc::Status& status) {
  if (!status.ok()) OrDie(absl::UnknownError(status.error_message()));
}

BenchDaemon::BenchDaemon(const VectorOptions& vector) {
  Config config;
  config.server.grpc_address = "127.0.0.1:0";
  config.server.http_address = "127.0.0.1:0";
  config.vector = vector;
  const std::string config_file = dir_.File("config.yaml");
  std::ofstream(config_file) << CommentedYaml(config);
  const std::string ports = dir_.File("ports");
  const std::string log = dir_.File("log");
  process_ = std::make_unique<ChildProcess>(
      std::vector<std::string>{BATON_BATOND, "--config=" + config_file, "--port-file=" + ports},
      Environment(), ChildProcess::Files{.out = log, .err = log});
  constexpr std::string_view kKey = "grpc=";
  std::string text;
  const auto end = std::chrono::steady_clock::now() + kReadyMax;
  while (!text.ends_with('\n') || text.find(kKey) == text.npos) {
    if (!process_->IsRunning() || std::chrono::steady_clock::now() > end) {
      OrDie(absl::UnavailableError("batond did not become ready: " + ReadWholeFile(log)));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    text = ReadWholeFile(ports);
  }
  const size_t at = text.find(kKey) + kKey.size();
  channel_ = grpc::CreateChannel(text.substr(at, text.find('\n', at) - at),
                                 grpc::InsecureChannelCredentials());
  stub_ = v1::VectorService::NewStub(channel_);
}

BenchDaemon::~BenchDaemon() {
  process_->Signal(SIGTERM);
  if (process_->Wait(kEndMax) == 0) return;
  OrDie(absl::InternalError("batond did not end well: " + ReadWholeFile(dir_.File("log"))));
}

v1::CollectionInfo BenchDaemon::Describe() {
  grpc::ClientContext context;
  v1::DescribeCollectionRequest request;
  request.set_collection("c");
  v1::DescribeCollectionResponse response;
  RpcOrDie(stub_->DescribeCollection(&context, request, &response));
  return response.collection();
}

}  // namespace baton
