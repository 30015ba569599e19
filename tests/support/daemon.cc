#include "tests/support/daemon.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <future>
#include <iostream>
#include <sstream>
#include <thread>

#include "catch2/catch.hpp"
#include "google/protobuf/wrappers.pb.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/security/credentials.h"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

constexpr std::chrono::seconds kReadyMax{30};
constexpr std::chrono::seconds kEndMax{60};
constexpr int kLogLinesShown = 40;

std::string LineValue(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key + "=")) return line.substr(key.size() + 1);
  }
  return "";
}

}  // namespace

Daemon::Daemon(Options options) : options_(std::move(options)) {
  if (options_.data_dir.empty()) options_.data_dir = dir_.File("data");
  Start();
}

Daemon::~Daemon() {
  // A failed REQUIRE unwinds; a failed CHECK does not.
  if (std::uncaught_exceptions() > 0 || !Catch::getResultCapture().lastAssertionPassed()) {
    std::cout << "the daemon's last words:\n" << TailOf(Log(), kLogLinesShown) << std::endl;
  }
}

std::string Daemon::Log() const { return ReadWholeFile(dir_.File("log")); }

void Daemon::Start() {
  REQUIRE_FALSE(IsRunning());
  const std::string port_file = dir_.File("ports");
  std::filesystem::remove(port_file);
  std::vector<std::string> arguments = {BATON_BATOND,
                                        "--data-dir=" + options_.data_dir,
                                        "--grpc-address=127.0.0.1:0",
                                        "--http-address=127.0.0.1:0",
                                        "--port-file=" + port_file,
                                        "--vector.build_nice=0"};
  arguments.insert(arguments.end(), options_.flags.begin(), options_.flags.end());
  process_ = std::make_unique<ChildProcess>(
      arguments, options_.environment,
      ChildProcess::Files{.out = dir_.File("log"), .err = dir_.File("log")});
  ReadPorts(port_file);
  channel_ = ConnectTo(grpc_address_);
}

void Daemon::ReadPorts(const std::string& port_file) {
  const auto end = std::chrono::steady_clock::now() + kReadyMax;
  while (true) {
    const std::string text = ReadWholeFile(port_file);
    grpc_address_ = LineValue(text, "grpc");
    http_address_ = LineValue(text, "http");
    peer_address_ = LineValue(text, "peer");
    if (!grpc_address_.empty() && !http_address_.empty() && text.ends_with('\n')) return;
    if (!process_->IsRunning()) {
      FAIL("batond ended with " << process_->Wait(kEndMax).value_or(-1) << " before it was ready");
    }
    if (std::chrono::steady_clock::now() > end) {
      FAIL("batond was not ready after " << kReadyMax.count() << " s");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

void Daemon::Kill9() {
  process_->Signal(SIGKILL);
  REQUIRE(process_->Wait(kEndMax) == 128 + SIGKILL);
}

void Daemon::SignalTerm() { process_->Signal(SIGTERM); }

int Daemon::WaitForExit() {
  const std::optional<int> exit_code = process_->Wait(kEndMax);
  REQUIRE(exit_code.has_value());
  return *exit_code;
}

Daemon::HttpReply Daemon::Get(std::string_view path) const {
  HttpReply reply;
  const size_t colon = http_address_.rfind(':');
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(http_address_.substr(colon + 1))));
  inet_pton(AF_INET, http_address_.substr(0, colon).c_str(), &address.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(fd >= 0);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string request =
        "GET " + std::string(path) + " HTTP/1.0\r\nHost: " + http_address_ + "\r\n\r\n";
    if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
        static_cast<ssize_t>(request.size())) {
      char buffer[16384];
      for (ssize_t n = 0; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
        answer.append(buffer, static_cast<size_t>(n));
      }
    }
  }
  close(fd);
  const size_t body = answer.find("\r\n\r\n");
  if (body == answer.npos || !answer.starts_with("HTTP/1.")) return reply;
  reply.status = std::atoi(answer.c_str() + std::string_view("HTTP/1.1 ").size());
  reply.body = answer.substr(body + 4);
  return reply;
}

std::optional<double> Daemon::Metric(std::string_view series) const {
  std::istringstream lines(Get("/metrics").body);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(series) && line.size() > series.size() && line[series.size()] == ' ') {
      return std::strtod(line.c_str() + series.size() + 1, nullptr);
    }
  }
  return std::nullopt;
}

std::string Daemon::Health(std::string_view service) const {
  // HealthCheckRequest is one string and HealthCheckResponse one number: on the wire the same as
  // these two, and no package ships the generated classes.
  grpc::TemplatedGenericStub<google::protobuf::StringValue, google::protobuf::Int32Value> stub(
      channel_);
  google::protobuf::StringValue request;
  request.set_value(std::string(service));
  google::protobuf::Int32Value response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request, &response,
                 [&done](grpc::Status status) { done.set_value(std::move(status)); });
  const grpc::Status status = done.get_future().get();
  if (!status.ok()) return "error " + std::to_string(status.error_code());
  switch (response.value()) {
    case 1:
      return "SERVING";
    case 2:
      return "NOT_SERVING";
    default:
      return "status " + std::to_string(response.value());
  }
}

std::shared_ptr<grpc::Channel> ConnectTo(const std::string& address,
                                         grpc::ChannelArguments arguments) {
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  // gRPC may report a connection as failed that was about to succeed (server/batonctl/client.cc).
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 20'000);
  auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  channel->WaitForConnected(std::chrono::system_clock::now() + kReadyMax);
  return channel;
}

ProgramResult RunDaemonToItsEnd(const std::vector<std::string>& flags,
                                const Environment& environment) {
  std::vector<std::string> arguments = {BATON_BATOND};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return RunProgram(arguments, environment);
}

}  // namespace baton
