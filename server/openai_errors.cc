#include "server/openai_errors.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr absl::string_view kFieldPayload = "baton.http/field";
constexpr std::string_view kJson = "application/json";

// Names of the protos that HTTP bodies do not have, and what they are called there: wherever they
// stand in a message, and at its beginning.
constexpr std::pair<std::string_view, std::string_view> kRenamed[] = {
    {"sampling.", ""},
    {"messages.messages", "messages"},
    {"messages.template_arguments", "chat_template_kwargs"},
    {"messages.template", "chat_template"},
    {"messages.add_generation_prompt", "add_generation_prompt"},
    {"messages.continue_final_message", "continue_final_message"},
    {"messages.tools", "tools"},
};
constexpr std::pair<std::string_view, std::string_view> kRenamedFirst[] = {
    {"json_schema", "response_format.json_schema.schema"},
    {"json_object", "response_format"},
    {"grammar", "guided_grammar"},
    {"prompt.tokens", "prompt"},
    {"texts", "input"},
};

// "stop[3]" of "stop[3] must be ...": what of the message may be a field.
std::string_view LeadingField(std::string_view message) {
  const size_t end = message.find_first_not_of(
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.[]");
  return message.substr(0, end);
}

struct ErrorKind {
  int http;
  std::string_view type;
  std::string_view code;  // empty: null
};
ErrorKind ErrorKindOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
      return {400, "invalid_request_error", ""};
    case absl::StatusCode::kUnauthenticated:
      return {401, "invalid_request_error", "invalid_api_key"};
    case absl::StatusCode::kPermissionDenied:
      return {403, "invalid_request_error", "insufficient_permissions"};
    case absl::StatusCode::kNotFound:
      return {404, "invalid_request_error", "model_not_found"};
    case absl::StatusCode::kResourceExhausted:
      return {429, "rate_limit_error", "rate_limit_exceeded"};
    case absl::StatusCode::kCancelled:
      return {499, "server_error", "cancelled"};
    case absl::StatusCode::kUnimplemented:
      return {501, "server_error", "not_implemented"};
    case absl::StatusCode::kUnavailable:
      return {503, "server_error", "service_unavailable"};
    case absl::StatusCode::kDeadlineExceeded:
      return {504, "server_error", "timeout"};
    default:
      return {500, "server_error", ""};
  }
}

std::string ErrorBody(std::string_view message, std::string_view type, std::string_view param,
                      std::string_view code) {
  const auto or_null = [](std::string_view text) {
    return text.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(text);
  };
  const nlohmann::ordered_json body = {
      {"error",
       {{"message", message}, {"type", type}, {"param", or_null(param)}, {"code", or_null(code)}}}};
  return body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

// The milliseconds in a message that ends in "retry in N ms"; -1 where there are none.
int64_t RetryMs(std::string_view message) {
  constexpr std::string_view kBefore = "retry in ";
  const size_t at = message.rfind(kBefore);
  if (at == message.npos || !message.ends_with(" ms")) return -1;
  const std::string_view digits =
      message.substr(at + kBefore.size(), message.size() - at - kBefore.size() - 3);
  int64_t ms = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), ms);
  return error == std::errc() && end == digits.data() + digits.size() ? ms : -1;
}

}  // namespace

absl::Status FieldError(std::string_view field, std::string_view what) {
  absl::Status status = absl::InvalidArgumentError(StrCat(field, " ", what));
  status.SetPayload(kFieldPayload, absl::Cord(absl::string_view(field.data(), field.size())));
  return status;
}

absl::Status WithHttpFields(const absl::Status& status) {
  if (status.ok() || status.GetPayload(kFieldPayload).has_value()) return status;
  std::string message(status.message());
  for (const auto& [from, to] : kRenamed) {
    for (size_t at = 0; (at = message.find(from, at)) != message.npos; at += to.size()) {
      message.replace(at, from.size(), to);
    }
  }
  for (const auto& [from, to] : kRenamedFirst) {
    if (!std::string_view(message).starts_with(from)) continue;
    message.replace(0, from.size(), to);
    break;
  }
  absl::Status renamed(status.code(), message);
  if (ErrorKindOf(status.code()).http == 400) {
    std::string_view field = LeadingField(message);
    // A sentence that begins with a word which is no field says "A prompt ..." or "the texts ...".
    constexpr std::string_view kNoFields[] = {"a", "A", "the", "The", "no"};
    if (std::find(std::begin(kNoFields), std::end(kNoFields), field) == std::end(kNoFields)) {
      renamed.SetPayload(kFieldPayload, absl::Cord(absl::string_view(field.data(), field.size())));
    }
  } else if (status.code() == absl::StatusCode::kNotFound) {
    renamed.SetPayload(kFieldPayload, absl::Cord("model"));
  }
  return renamed;
}

int HttpCodeOf(absl::StatusCode code) { return ErrorKindOf(code).http; }

std::string OpenAiErrorBody(const absl::Status& status) {
  const absl::Status named = WithHttpFields(status);
  const ErrorKind kind = ErrorKindOf(named.code());
  std::string field;
  if (const auto payload = named.GetPayload(kFieldPayload); payload.has_value()) {
    field = std::string(*payload);
  }
  const std::string message(named.message());
  std::string_view code = kind.code;
  // "prompt has 9000 tokens, but the context of model ...": clients tell it from other mistakes.
  if (kind.http == 400 && message.starts_with("prompt has ")) code = "context_length_exceeded";
  return ErrorBody(message, kind.type, field, code);
}

HttpReply OpenAiError(const absl::Status& status) {
  HttpReply reply{
      .code = HttpCodeOf(status.code()), .type = kJson, .body = OpenAiErrorBody(status)};
  const int64_t retry_ms =
      RetryMs(std::string_view(status.message().data(), status.message().size()));
  if (retry_ms >= 0) {
    reply.headers.emplace_back("Retry-After", StrCat((retry_ms + 999) / 1000));
    reply.headers.emplace_back("retry-after-ms", StrCat(retry_ms));
  }
  if (reply.code == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

HttpReply OpenAiRefusal(int code, std::string_view message) {
  const bool ours = code >= 500 && code != 505;
  HttpReply reply{.code = code,
                  .type = kJson,
                  .body = ErrorBody(message, ours ? "server_error" : "invalid_request_error", "",
                                    code == 404   ? "unknown_url"
                                    : code == 503 ? "service_unavailable"
                                                  : "")};
  if (code == 503) reply.headers.emplace_back("Retry-After", "1");
  return reply;
}

}  // namespace baton
