#pragma once

#include <memory>

#include "baton/v1/vector.grpc.pb.h"
#include "engine/vector/vector_options.h"
#include "grpcpp/grpcpp.h"
#include "tests/support/child_process.h"
#include "tests/support/temp_dir.h"

namespace baton {

// Ends the program where the call failed.
void RpcOrDie(const grpc::Status& status);

// A batond without a model, on loopback ports of its own, that ends with this object. It is a
// process of its own, as its clients are others' processes: in one process gRPC's threads poll one
// another's sockets, and an answer takes a thread more.
class BenchDaemon {
 public:
  explicit BenchDaemon(const VectorOptions& vector);
  ~BenchDaemon();

  v1::VectorService::Stub& stub() { return *stub_; }

  // Of collection "c".
  v1::CollectionInfo Describe();

 private:
  const TempDir dir_;
  std::unique_ptr<ChildProcess> process_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::VectorService::Stub> stub_;
};

}  // namespace baton
