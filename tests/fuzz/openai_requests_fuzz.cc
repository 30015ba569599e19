// A stranger's HTTP body, first byte says to which path: a request within the engine's bounds or an
// error that OpenAI's shape can hold, never a crash.
#include "server/openai_requests.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "server/json_text.h"
#include "server/openai_errors.h"

namespace {

void Check(bool good) {
  if (!good) std::abort();
}

void CheckError(const absl::Status& status) {
  const auto body = nlohmann::json::parse(baton::OpenAiErrorBody(status), nullptr, false);
  Check(body.is_object() && body["error"]["message"].is_string());
}

void CheckGeneration(const absl::StatusOr<baton::GenerationRequest>& parsed) {
  if (!parsed.ok()) return CheckError(parsed.status());
  Check(!parsed->requests.empty());
  for (const baton::GenerateRequest& request : parsed->requests) {
    Check(baton::ValidateGenerate(request).ok());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  baton::RawJsonValue(body, {"response_format", "json_schema", "schema"});
  switch (data[0] % 3) {
    case 0:
      CheckGeneration(baton::ParseChatCompletion(body, {}));
      break;
    case 1:
      CheckGeneration(baton::ParseCompletion(body, {}));
      break;
    default:
      if (const auto parsed = baton::ParseEmbeddings(body, {}); !parsed.ok()) {
        CheckError(parsed.status());
      } else {
        Check(!parsed->request.texts.empty());
      }
  }
  return 0;
}
