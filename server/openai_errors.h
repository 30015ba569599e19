#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/http_server.h"

// Errors as OpenAI's HTTP API has them: {"error": {"message", "type", "param", "code"}}.
namespace baton {

// An INVALID_ARGUMENT about a field of a request's body, such as "messages[0].content".
absl::Status FieldError(std::string_view field, std::string_view what);
// The engine's errors name fields as the protos do ("sampling.top_p"); this one, as HTTP clients
// know them ("top_p").
absl::Status WithHttpFields(const absl::Status& status);

// The HTTP status that stands for a code.
int HttpCodeOf(absl::StatusCode code);
// {"error": {...}}; valid UTF-8 whatever the message is.
std::string OpenAiErrorBody(const absl::Status& status);
// The whole answer, with when to retry where the status says so.
HttpReply OpenAiError(const absl::Status& status);
// What HttpServer refuses by itself.
HttpReply OpenAiRefusal(int code, std::string_view message);

}  // namespace baton
