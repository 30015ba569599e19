#include "loadtest/transport.h"

#include "engine/base/status_macros.h"
#include "loadtest/grpc_transport.h"
#include "loadtest/http_transport.h"

namespace baton::load {
absl::StatusOr<std::unique_ptr<Transport>> MakeTransport(const Scenario& scenario) {
  ASSIGN_OR_RETURN(ClientCredentials credentials, ReadClientCredentials(scenario.connection));
  switch (scenario.api) {
    case Api::kBaton:
      return MakeGrpcTransport(scenario, MakeBatonCodec(), std::move(credentials));
    case Api::kQdrant:
      return MakeGrpcTransport(scenario, MakeQdrantCodec(), std::move(credentials));
    case Api::kOpenAi:
      return MakeHttpTransport(scenario, std::move(credentials));
  }
  return absl::InternalError("unknown api");
}

}  // namespace baton::load
