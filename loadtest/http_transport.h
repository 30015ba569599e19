#pragma once

#include <memory>
#include <string>

#include "loadtest/transport.h"

namespace baton::load {

// An OpenAI-compatible server: generate is POST /v1/completions, chat POST /v1/chat/completions,
// both streamed, with usage. One thread drives all transfers.
std::unique_ptr<Transport> MakeHttpTransport(const Scenario& scenario,
                                             ClientCredentials credentials);

// A gRPC code's name for an HTTP status, so that errors of both compare.
std::string CodeOfHttp(long status);

}  // namespace baton::load
