#pragma once

#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model_report.h"
#include "engine/request/embed_request.h"
#include "engine/request/generate_request.h"
#include "inference/kserve_v2.pb.h"

// The Open Inference Protocol's messages and the engine's; what they mean stands in the proto.
namespace baton {

// How a ModelInferRequest wants its answer.
struct KserveAnswer {
  std::string model;
  std::string id;
  bool raw = false;                       // tensors as raw_output_contents
  std::vector<std::string> outputs = {};  // empty: all
};

struct KserveRequest {
  KserveAnswer answer;
  std::variant<GenerateRequest, EmbedRequest> request;
  bool stream = false;
};

// What a generation has given so far, or adds; one of each per completion.
struct KserveText {
  std::vector<std::string> texts;
  std::vector<std::string> finish_reasons;  // empty: not yet
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
};

// `model`: that the request names, as ListModels has it. INVALID_ARGUMENT names the tensor or
// parameter that is wrong; NOT_FOUND: there is no such version.
absl::StatusOr<KserveRequest> ToKserve(const inference::ModelInferRequest& proto,
                                       const ModelReport& model, Envelope envelope);
absl::Status CheckKserveVersion(const std::string& model, const std::string& version);

void ToProto(const KserveText& text, const KserveAnswer& answer,
             inference::ModelInferResponse& proto);
void ToProto(const EmbedResult& result, const KserveAnswer& answer,
             inference::ModelInferResponse& proto);
void ToProto(const ModelReport& model, inference::ModelMetadataResponse& proto);

}  // namespace baton
