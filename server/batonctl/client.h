#pragma once

#include <grpcpp/grpcpp.h>

#include <iostream>
#include <memory>
#include <string>

#include "baton/v1/admin.grpc.pb.h"
#include "baton/v1/inference.grpc.pb.h"
#include "baton/v1/rag.grpc.pb.h"
#include "baton/v1/vector.grpc.pb.h"
#include "server/batonctl/connection.h"
#include "server/batonctl/exit_codes.h"
#include "server/batonctl/options.h"

namespace baton::ctl {

// Where a command writes: its result to `out`, everything else to `err`.
struct Terminal {
  std::ostream& out = std::cout;
  std::ostream& err = std::cerr;
  bool err_is_tty = false;
};

// A connection to one daemon, tried at once. Never through a proxy. One thread.
class Client {
 public:
  Client(const Options& options, const Connection& connection);

  // A context with the request's deadline and the token.
  std::unique_ptr<grpc::ClientContext> NewContext() const;

  // What a request was about, to say more where it is not found.
  struct Subject {
    std::string collection;
    std::string model;
  };
  // What went wrong and what to do about it, in words. May ask the daemon what it does have.
  std::string ExplainFailure(const grpc::Status& status, const Subject& subject);
  // Prints that and returns kExitFailed.
  int Fail(Terminal& terminal, const grpc::Status& status, const Subject& subject = {});

  v1::AdminService::Stub& admin() { return *admin_; }
  v1::InferenceService::Stub& inference() { return *inference_; }
  v1::RagService::Stub& rag() { return *rag_; }
  v1::VectorService::Stub& vectors() { return *vectors_; }

 private:
  std::string ExplainNotFound(const grpc::Status& status, const Subject& subject);

  const std::string server_;
  const double timeout_s_;
  const std::string authorization_;
  const bool tls_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
  std::unique_ptr<v1::InferenceService::Stub> inference_;
  std::unique_ptr<v1::RagService::Stub> rag_;
  std::unique_ptr<v1::VectorService::Stub> vectors_;
};

// Prints a message in protobuf's JSON mapping, with the field names of the .proto files: indented,
// or on one line for the messages of a stream.
void PrintJson(std::ostream& out, const google::protobuf::Message& message, bool one_line = false);

}  // namespace baton::ctl
