#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <queue>
#include <string>
#include <thread>
#include <vector>

#include "baton/v1/inference.grpc.pb.h"
#include "baton/v1/rag.grpc.pb.h"
#include "baton/v1/vector.grpc.pb.h"

namespace baton::load {

// What the server does with a request, in milliseconds from when it turns to it.
struct Script {
  double first_ms = 0;
  double gap_ms = 0;
  int messages = 1;
  int tokens_per_message = 1;
  bool finish = true;  // with the message that ends a stream
  grpc::Status status = grpc::Status::OK;
  int64_t retry_after_ms = -1;  // of a status that is not OK
  bool hang = false;            // never answers
};

// When the server did what, by the steady clock.
struct ServerStamps {
  std::vector<std::chrono::steady_clock::time_point> writes;  // of tokens
  std::chrono::steady_clock::time_point finished;
};

// A daemon whose answers follow a script: it waits by a timer, not by a thread per request, and
// keeps the times at which it wrote. Requests are told apart by their tenant.
class ScriptedServer final : public v1::InferenceService::CallbackService {
 public:
  // `script` is called with the number of the request, from 0, in order of arrival. `serial`: it
  // turns to a request when all before it are finished.
  explicit ScriptedServer(std::function<Script(int64_t)> script, bool serial = false);
  ~ScriptedServer() override;

  const std::string& target() const { return target_; }
  // Of requests that ended, by tenant.
  std::map<std::string, ServerStamps> stamps();
  int64_t requests();
  // Ends all calls and takes no more.
  void Kill();

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;

 private:
  class Rag;
  class Vectors;
  template <class Response>
  class Stream;
  using Time = std::chrono::steady_clock::time_point;

  struct Planned {
    Script script;
    Time begin;  // when the server turns to it
  };
  Planned Plan();
  void At(Time time, std::function<void()> act);
  void Keep(const std::string& tenant, ServerStamps stamps);
  void Run();

  const std::function<Script(int64_t)> script_;
  const bool serial_;
  std::unique_ptr<Rag> rag_;
  std::unique_ptr<Vectors> vectors_;
  std::string target_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // All guarded by mutex_.
  struct Act {
    Time time;
    int64_t order;
    std::function<void()> act;
    bool operator>(const Act& other) const {
      return std::tie(time, order) > std::tie(other.time, other.order);
    }
  };
  std::priority_queue<Act, std::vector<Act>, std::greater<>> acts_;
  int64_t acts_made_ = 0;
  int64_t requests_ = 0;
  Time free_at_;
  std::map<std::string, ServerStamps> stamps_;
  bool stop_ = false;
  std::unique_ptr<grpc::Server> server_;
  std::thread timer_;
};

}  // namespace baton::load
