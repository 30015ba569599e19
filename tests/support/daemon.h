#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grpcpp/channel.h"
#include "grpcpp/support/channel_arguments.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace baton {

// A batond of its own: free loopback ports, a data folder of its own, killed with this object. Its
// log is shown where a test fails. Used by one thread; the channel by any.
class Daemon {
 public:
  struct Options {
    std::vector<std::string> flags;
    Environment environment;
    std::string data_dir;  // empty: a temporary one
  };
  // Returns once the daemon is ready; fails the test where it is not after half a minute.
  explicit Daemon(Options options);
  explicit Daemon(std::vector<std::string> flags = {})
      : Daemon(Options{std::move(flags), {}, {}}) {}
  ~Daemon();

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  const std::string& grpc_address() const { return grpc_address_; }
  const std::string& http_address() const { return http_address_; }
  // Where it prefills for others; empty: nowhere.
  const std::string& peer_address() const { return peer_address_; }
  const std::string& data_dir() const { return options_.data_dir; }
  std::string Log() const;
  bool IsRunning() { return process_ != nullptr && process_->IsRunning(); }

  void Kill9();
  void SignalTerm();
  // Its exit code, once it has ended by itself.
  int WaitForExit();
  int Terminate() {
    SignalTerm();
    return WaitForExit();
  }
  // Starts it again over the same data, with new ports. It must have ended.
  void Start();

  // An HTTP GET of its metrics port; status 0 where nothing answers.
  struct HttpReply {
    int status = 0;
    std::string body;
  };
  HttpReply Get(std::string_view path) const;
  // The value of one series of /metrics, e.g. baton_kv_blocks{model="m",state="used"}.
  std::optional<double> Metric(std::string_view series) const;

  // grpc.health.v1 for a service, "" for the process: SERVING, NOT_SERVING, or the RPC's error.
  std::string Health(std::string_view service) const;

 private:
  void ReadPorts(const std::string& port_file);

  TempDir dir_;
  Options options_;
  std::unique_ptr<ChildProcess> process_;
  std::string grpc_address_;
  std::string http_address_;
  std::string peer_address_;
  std::shared_ptr<grpc::Channel> channel_;
};

// A channel that never uses a proxy and shares its connection with no other.
std::shared_ptr<grpc::Channel> ConnectTo(const std::string& address,
                                         grpc::ChannelArguments arguments = {});

// Runs batond with these flags, which it is to refuse, and waits for its end.
ProgramResult RunDaemonToItsEnd(const std::vector<std::string>& flags,
                                const Environment& environment = {});

}  // namespace baton
