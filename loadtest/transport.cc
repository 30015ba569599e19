#include "loadtest/transport.h"

#include <fstream>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "loadtest/grpc_transport.h"
#include "loadtest/http_transport.h"

namespace baton::load {
namespace {

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path);
  std::string token;
  if (!file || !std::getline(file, token)) {
    return absl::InvalidArgumentError(StrCat("cannot read a bearer token from ", path));
  }
  while (!token.empty() && (token.back() == '\r' || token.back() == ' ')) token.pop_back();
  for (const char c : token) {
    if (c <= ' ' || c > '~') {
      return absl::InvalidArgumentError(
          StrCat(path, ": a bearer token is of visible ASCII characters"));
    }
  }
  return token;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeTransport(const Scenario& scenario) {
  ASSIGN_OR_RETURN(std::string token, ReadToken(scenario.bearer_token_path));
  switch (scenario.api) {
    case Api::kBaton:
      return MakeGrpcTransport(scenario, MakeBatonCodec(), std::move(token));
    case Api::kQdrant:
      return MakeGrpcTransport(scenario, MakeQdrantCodec(), std::move(token));
    case Api::kOpenAi:
      return MakeHttpTransport(scenario, std::move(token));
  }
  return absl::InternalError("unknown api");
}

}  // namespace baton::load
