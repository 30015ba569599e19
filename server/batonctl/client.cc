#include "server/batonctl/client.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

// 10,000 points with their payloads may come in one message.
constexpr int kReceiveBytesMax = 256 << 20;

// gRPC 1.51 reads the errno of a connect after other calls that may have set it, so now and then a
// connection that was about to succeed is reported as failed (ENOENT where /sys is not mounted). A
// failure is therefore believed only when it has lasted this long.
constexpr std::chrono::milliseconds kConnectTrialMax{300};
constexpr int kReconnectBackoffMs = 50;
// A daemon that is there but busy may take its time to greet: a connection is tried for so long. By
// its name gRPC's argument is about pauses, but this is what it sets.
constexpr int kConnectMsMax = 20'000;

std::string CodeName(grpc::StatusCode code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
}

std::string JoinOr(const std::vector<std::string>& names, const std::string& none) {
  return names.empty() ? none : absl::StrJoin(names, ", ");
}

}  // namespace

Client::Client(const Options& options, const Connection& connection)
    : server_(options.server),
      timeout_s_(options.timeout_s),
      authorization_(connection.authorization),
      tls_(connection.tls) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(kReceiveBytesMax);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectBackoffMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMsMax);
  channel_ = grpc::CreateCustomChannel(server_, connection.credentials, arguments);
  channel_->WaitForConnected(std::chrono::system_clock::now() + kConnectTrialMax);
  admin_ = v1::AdminService::NewStub(channel_);
  inference_ = v1::InferenceService::NewStub(channel_);
  rag_ = v1::RagService::NewStub(channel_);
  vectors_ = v1::VectorService::NewStub(channel_);
}

std::unique_ptr<grpc::ClientContext> Client::NewContext() const {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::microseconds(static_cast<int64_t>(timeout_s_ * 1e6)));
  if (!authorization_.empty()) context->AddMetadata("authorization", authorization_);
  return context;
}

std::string Client::ExplainFailure(const grpc::Status& status, const Subject& subject) {
  const std::string said =
      absl::StrCat(CodeName(status.error_code()), ": ", Printable(status.error_message()));
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      if (channel_->GetState(/*try_to_connect=*/false) != GRPC_CHANNEL_READY) {
        return absl::StrCat("no daemon answers at ", server_,
                            ": start it with batond --config FILE, or name another with --server",
                            tls_ ? "; or its certificate and the --tls flags do not fit\n"
                                 : "; or it wants TLS: --tls-ca FILE\n",
                            "  (", Printable(status.error_message()), ")");
      }
      return said;  // the daemon itself said so
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return absl::StrCat("no answer within ", timeout_s_,
                          " s: the daemon is busy, or the work is larger than that; "
                          "raise --timeout");
    case grpc::StatusCode::UNIMPLEMENTED:
      return absl::StrCat("the program at ", server_,
                          " does not know this request: it is not batond, or of another version\n",
                          "  (", said, ")");
    case grpc::StatusCode::UNAUTHENTICATED:
      return absl::StrCat(said, "\n  Name a file with a token: --token-file FILE");
    case grpc::StatusCode::NOT_FOUND:
      return ExplainNotFound(status, subject);
    default:
      return said;
  }
}

std::string Client::ExplainNotFound(const grpc::Status& status, const Subject& subject) {
  std::string text =
      absl::StrCat(CodeName(status.error_code()), ": ", Printable(status.error_message()));
  if (!subject.collection.empty()) {
    v1::ListCollectionsResponse response;
    if (!vectors_->ListCollections(NewContext().get(), {}, &response).ok()) {
      return text;
    }
    std::vector<std::string> names;
    for (const v1::CollectionInfo& info : response.collections()) {
      names.push_back(info.spec().name());
      names.insert(names.end(), info.aliases().begin(), info.aliases().end());
    }
    if (std::find(names.begin(), names.end(), subject.collection) == names.end()) {
      return absl::StrCat(text, "\n  Collections there are: ",
                          JoinOr(names, "none yet; batonctl ingest makes one"));
    }
  }
  if (!subject.model.empty()) {
    v1::ListModelsResponse response;
    if (inference_->ListModels(NewContext().get(), {}, &response).ok()) {
      std::vector<std::string> names;
      for (const v1::Model& model : response.models()) {
        names.push_back(model.name());
      }
      absl::StrAppend(&text, "\n  Models there are: ", JoinOr(names, "none"));
    }
  }
  return text;
}

int Client::Fail(Terminal& terminal, const grpc::Status& status, const Subject& subject) {
  terminal.out.flush();
  terminal.err << "batonctl: " << ExplainFailure(status, subject) << "\n";
  return kExitFailed;
}

void PrintJson(std::ostream& out, const google::protobuf::Message& message, bool one_line) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = !one_line;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  if (const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
      !status.ok()) {
    json = absl::StrCat("{\"error\": \"not representable as JSON\"}");
  }
  out << json << (one_line ? "\n" : "") << std::flush;
}

}  // namespace baton::ctl
