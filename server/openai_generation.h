#pragma once

#include <memory>

#include "server/http_server.h"
#include "server/openai_requests.h"
#include "server/openai_service.h"

namespace baton {

// Has the prompts of a chat or completion generated, and answers the exchange: whole, or as a
// stream of server-sent events. The engine's loop only appends to what is to be sent; everything
// else happens on the connection's strand. Tokens that a slow reader has left unread become one
// event, up to server.stream_pending_bytes_max: beyond that its requests are cancelled and the
// stream ends with an error. They are cancelled, too, where the client goes.
struct GenerationCall {
  std::shared_ptr<OpenAiContext> context;
  Rpc rpc;
  std::shared_ptr<HttpExchange> exchange;
  Access::Grant grant;
};
void StartGeneration(GenerationCall call, GenerationRequest request);

}  // namespace baton
