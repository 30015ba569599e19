#include "server/translate_kserve.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "server/json_text.h"
#include "server/openai_requests.h"
#include "server/translate.h"

namespace baton {
namespace {

using InputTensor = inference::ModelInferRequest::InferInputTensor;
using OutputTensor = inference::ModelInferResponse::InferOutputTensor;

constexpr char kVersion1[] = "1";
constexpr char kTextInput[] = "text_input";
constexpr char kSamplingParameters[] = "sampling_parameters";
constexpr char kStream[] = "stream";
constexpr char kTextOutput[] = "text_output";
constexpr char kFinishReason[] = "finish_reason";
constexpr char kEmbedding[] = "embedding";
constexpr int64_t kElementsMax = 1024;
constexpr int64_t kTextBytesMax = 1 << 20;

bool IsEmbedder(const ModelReport& model) {
  return model.kind == ModelKind::kEmbedding || model.kind == ModelKind::kLexicalEmbedding;
}

absl::Status TensorError(std::string_view name, std::string_view what) {
  return absl::InvalidArgumentError(StrCat("input \"", Escaped(name), "\" ", what));
}

absl::Status CheckDatatype(const InputTensor& tensor, std::string_view wanted) {
  if (tensor.datatype() == wanted) return absl::OkStatus();
  return TensorError(tensor.name(), StrCat("must have the datatype ", wanted, ", but has \"",
                                           Escaped(tensor.datatype()), "\""));
}

// How many elements its shape says.
absl::StatusOr<int64_t> ElementsOf(const InputTensor& tensor) {
  int64_t elements = 1;
  for (const int64_t size : tensor.shape()) {
    if (size < 0 || size > kElementsMax || (elements *= size) > kElementsMax) {
      return TensorError(tensor.name(), StrCat("must have at most ", kElementsMax, " elements"));
    }
  }
  return elements;
}

absl::Status CheckElements(const InputTensor& tensor, int64_t wanted, int64_t has) {
  if (wanted == has) return absl::OkStatus();
  return TensorError(tensor.name(), StrCat("has ", has, " elements, but its shape says ", wanted));
}

// `raw`: its raw_input_contents; null where the request has none.
absl::StatusOr<std::vector<std::string>> ReadBytes(const InputTensor& tensor,
                                                   const std::string* raw) {
  RETURN_IF_ERROR(CheckDatatype(tensor, "BYTES"));
  ASSIGN_OR_RETURN(const int64_t elements, ElementsOf(tensor));
  std::vector<std::string> texts;
  if (raw == nullptr) {
    const auto& contents = tensor.contents().bytes_contents();
    texts.assign(contents.begin(), contents.end());
  } else {
    for (std::string_view rest = *raw; !rest.empty();) {
      uint32_t bytes = 0;
      if (rest.size() >= sizeof(bytes)) std::memcpy(&bytes, rest.data(), sizeof(bytes));
      if (rest.size() < sizeof(bytes) || rest.size() - sizeof(bytes) < bytes) {
        return TensorError(tensor.name(), "has raw contents that end within an element");
      }
      if (std::ssize(texts) == elements) {
        return TensorError(tensor.name(),
                           StrCat("has more elements than its shape says: ", elements));
      }
      texts.emplace_back(rest.substr(sizeof(bytes), bytes));
      rest.remove_prefix(sizeof(bytes) + bytes);
    }
  }
  RETURN_IF_ERROR(CheckElements(tensor, elements, std::ssize(texts)));
  for (size_t i = 0; i < texts.size(); ++i) {
    const nlohmann::json text = nlohmann::json::parse(
        nlohmann::json(texts[i]).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    if (text.get_ref<const std::string&>() != texts[i]) {
      return TensorError(tensor.name(), StrCat("must be UTF-8, but element ", i, " is not"));
    }
  }
  return texts;
}

absl::StatusOr<std::string> ReadText(const InputTensor& tensor, const std::string* raw) {
  ASSIGN_OR_RETURN(std::vector<std::string> texts, ReadBytes(tensor, raw));
  if (texts.size() == 1) return std::move(texts[0]);
  return TensorError(tensor.name(), StrCat("must have one element, but has ", texts.size()));
}

absl::StatusOr<bool> ReadBool(const InputTensor& tensor, const std::string* raw) {
  RETURN_IF_ERROR(CheckDatatype(tensor, "BOOL"));
  ASSIGN_OR_RETURN(const int64_t elements, ElementsOf(tensor));
  const int64_t has = raw != nullptr ? std::ssize(*raw) : tensor.contents().bool_contents_size();
  RETURN_IF_ERROR(CheckElements(tensor, elements, has));
  if (elements != 1) {
    return TensorError(tensor.name(), StrCat("must have one element, but has ", elements));
  }
  return raw != nullptr ? (*raw)[0] != 0 : tensor.contents().bool_contents(0);
}

// The value as JSON; empty where it says nothing.
absl::StatusOr<std::string> ToJson(const std::string& name,
                                   const inference::InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case inference::InferParameter::kBoolParam:
      return std::string(parameter.bool_param() ? "true" : "false");
    case inference::InferParameter::kInt64Param:
      return StrCat(parameter.int64_param());
    case inference::InferParameter::kUint64Param:
      return StrCat(parameter.uint64_param());
    case inference::InferParameter::kDoubleParam:
      if (std::isfinite(parameter.double_param())) return StrCat(parameter.double_param());
      return absl::InvalidArgumentError(
          StrCat("parameter \"", Escaped(name), "\" must be a finite number"));
    case inference::InferParameter::kStringParam:
      return nlohmann::json(parameter.string_param()).dump();
    case inference::InferParameter::PARAMETER_CHOICE_NOT_SET:
      return std::string();
  }
  return std::string();
}

// The fields of a completion's JSON that these say; a name that is in neither list of the answer's
// own is as good as unknown there.
absl::StatusOr<std::string> FieldsOf(const inference::ModelInferRequest& proto,
                                     const std::string& sampling_parameters) {
  std::string fields;
  const std::string_view reserved[] = {"prompt",         "model", "stream",
                                       "stream_options", "echo",  "logprobs"};
  const auto is_reserved = [&](std::string_view name) {
    return std::find(std::begin(reserved), std::end(reserved), name) != std::end(reserved);
  };
  if (!sampling_parameters.empty()) {
    RETURN_IF_ERROR(CheckJsonDepth(sampling_parameters));
    const auto json = nlohmann::json::parse(sampling_parameters, nullptr, false);
    if (!json.is_object()) return TensorError(kSamplingParameters, "must be a JSON object");
    for (const auto& [name, value] : json.items()) {
      if (is_reserved(name)) {
        return TensorError(kSamplingParameters, StrCat("must not have the field \"", name, "\""));
      }
    }
    const size_t begin = sampling_parameters.find('{') + 1;
    // As it was written, for the order of a schema's properties.
    if (!json.empty()) {
      fields += StrCat(",", std::string_view(sampling_parameters)
                                .substr(begin, sampling_parameters.rfind('}') - begin));
    }
  }
  for (const auto& [name, parameter] : proto.parameters()) {
    if (is_reserved(name)) continue;  // such as Triton's own: they say nothing here
    ASSIGN_OR_RETURN(const std::string value, ToJson(name, parameter));
    if (!value.empty()) fields += StrCat(",", nlohmann::json(name).dump(), ":", value);
  }
  return fields;
}

absl::StatusOr<GenerateRequest> ToGeneration(const inference::ModelInferRequest& proto,
                                             const std::string& text,
                                             const std::string& sampling_parameters,
                                             Envelope envelope) {
  if (text.empty()) return TensorError(kTextInput, "must not be empty");
  ASSIGN_OR_RETURN(const std::string fields, FieldsOf(proto, sampling_parameters));
  const std::string body =
      StrCat("{\"prompt\":", nlohmann::json(text).dump(),
             ",\"model\":", nlohmann::json(proto.model_name()).dump(), fields, "}");
  ASSIGN_OR_RETURN(GenerationRequest generation, ParseCompletion(body, std::move(envelope)));
  return std::move(generation.requests[0]);
}

bool IsWanted(const KserveAnswer& answer, std::string_view output) {
  return answer.outputs.empty() ||
         std::find(answer.outputs.begin(), answer.outputs.end(), output) != answer.outputs.end();
}

void SetHead(const KserveAnswer& answer, inference::ModelInferResponse& proto) {
  proto.set_model_name(answer.model);
  proto.set_model_version(kVersion1);
  proto.set_id(answer.id);
}

void AddBytes(const char* name, const std::vector<std::string>& values, const KserveAnswer& answer,
              inference::ModelInferResponse& proto) {
  if (!IsWanted(answer, name)) return;
  OutputTensor& tensor = *proto.add_outputs();
  tensor.set_name(name);
  tensor.set_datatype("BYTES");
  tensor.add_shape(std::ssize(values));
  if (!answer.raw) {
    for (const std::string& value : values) tensor.mutable_contents()->add_bytes_contents(value);
    return;
  }
  std::string& raw = *proto.add_raw_output_contents();
  for (const std::string& value : values) {
    const auto bytes = static_cast<uint32_t>(value.size());
    raw.append(reinterpret_cast<const char*>(&bytes), sizeof(bytes));
    raw += value;
  }
}

void AddTensor(
    const char* name, const char* datatype, std::vector<int64_t> shape,
    google::protobuf::RepeatedPtrField<inference::ModelMetadataResponse::TensorMetadata>& tensors) {
  auto& tensor = *tensors.Add();
  tensor.set_name(name);
  tensor.set_datatype(datatype);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
}

}  // namespace

absl::Status CheckKserveVersion(const std::string& model, const std::string& version) {
  if (version.empty() || version == kVersion1) return absl::OkStatus();
  return absl::NotFoundError(StrCat("model \"", Escaped(model), "\" has no version \"",
                                    Escaped(version), "\"; it has one, \"1\""));
}

absl::StatusOr<KserveRequest> ToKserve(const inference::ModelInferRequest& proto,
                                       const ModelReport& model, Envelope envelope) {
  RETURN_IF_ERROR(CheckKserveVersion(proto.model_name(), proto.model_version()));
  KserveRequest wanted{.answer = {.model = proto.model_name(), .id = proto.id()}};
  const int raw_count = proto.raw_input_contents_size();
  wanted.answer.raw = raw_count > 0;
  if (raw_count > 0 && raw_count != proto.inputs_size()) {
    return absl::InvalidArgumentError(StrCat("raw_input_contents must be one per input, but are ",
                                             raw_count, " of ", proto.inputs_size()));
  }
  std::optional<std::vector<std::string>> texts;
  std::string sampling_parameters;
  const bool embeds = IsEmbedder(model);
  for (int i = 0; i < proto.inputs_size(); ++i) {
    const InputTensor& tensor = proto.inputs(i);
    const std::string* raw = raw_count > 0 ? &proto.raw_input_contents(i) : nullptr;
    if (raw != nullptr && tensor.has_contents()) {
      return TensorError(tensor.name(), "must not have contents beside raw_input_contents");
    }
    if (tensor.name() == kTextInput) {
      ASSIGN_OR_RETURN(texts, ReadBytes(tensor, raw));
    } else if (tensor.name() == kSamplingParameters && !embeds) {
      ASSIGN_OR_RETURN(sampling_parameters, ReadText(tensor, raw));
    } else if (tensor.name() == kStream && !embeds) {
      ASSIGN_OR_RETURN(wanted.stream, ReadBool(tensor, raw));
    } else {
      return TensorError(tensor.name(), embeds ? "is not known; there is text_input"
                                               : "is not known; there are text_input, "
                                                 "sampling_parameters and stream");
    }
  }
  if (!texts.has_value()) return TensorError(kTextInput, "must be given");
  for (const auto& output : proto.outputs()) {
    const bool known = embeds ? output.name() == kEmbedding
                              : output.name() == kTextOutput || output.name() == kFinishReason;
    if (!known) {
      return absl::InvalidArgumentError(
          StrCat("output \"", Escaped(output.name()), "\" is not known; see ModelMetadata"));
    }
    wanted.answer.outputs.push_back(output.name());
  }
  if (embeds) {
    for (size_t i = 0; i < texts->size(); ++i) {
      RETURN_IF_ERROR(
          CheckBytes(StrCat("text_input[", i, "]"), (*texts)[i], {.min = 1, .max = kTextBytesMax}));
    }
    RETURN_IF_ERROR(CheckCount("text_input", std::ssize(*texts), {.min = 1, .max = kElementsMax}));
    wanted.request = EmbedRequest{
        .envelope = std::move(envelope), .model = proto.model_name(), .texts = *std::move(texts)};
    return wanted;
  }
  if (texts->size() != 1) {
    return TensorError(kTextInput, StrCat("must have one element, but has ", texts->size()));
  }
  ASSIGN_OR_RETURN(wanted.request,
                   ToGeneration(proto, (*texts)[0], sampling_parameters, std::move(envelope)));
  if (wanted.stream && std::get<GenerateRequest>(wanted.request).completions != 1) {
    return absl::InvalidArgumentError("n must be 1 where stream is true");
  }
  return wanted;
}

void ToProto(const KserveText& text, const KserveAnswer& answer,
             inference::ModelInferResponse& proto) {
  SetHead(answer, proto);
  AddBytes(kTextOutput, text.texts, answer, proto);
  if (text.finish_reasons.empty()) return;
  AddBytes(kFinishReason, text.finish_reasons, answer, proto);
  (*proto.mutable_parameters())["prompt_tokens"].set_int64_param(text.prompt_tokens);
  (*proto.mutable_parameters())["completion_tokens"].set_int64_param(text.completion_tokens);
}

void ToProto(const EmbedResult& result, const KserveAnswer& answer,
             inference::ModelInferResponse& proto) {
  SetHead(answer, proto);
  if (!IsWanted(answer, kEmbedding)) return;
  OutputTensor& tensor = *proto.add_outputs();
  tensor.set_name(kEmbedding);
  tensor.set_datatype("FP32");
  tensor.add_shape(std::ssize(result.embeddings));
  tensor.add_shape(result.embeddings.empty() ? 0 : std::ssize(result.embeddings[0]));
  std::string* raw = answer.raw ? proto.add_raw_output_contents() : nullptr;
  for (const std::vector<float>& values : result.embeddings) {
    if (raw != nullptr) {
      raw->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    } else {
      tensor.mutable_contents()->mutable_fp32_contents()->Add(values.begin(), values.end());
    }
  }
}

void ToProto(const ModelReport& model, inference::ModelMetadataResponse& proto) {
  proto.set_name(model.name);
  *proto.add_versions() = std::string(kVersion1);
  proto.set_platform(model.architecture.empty() ? "baton" : StrCat("gguf_", model.architecture));
  if (IsEmbedder(model)) {
    AddTensor(kTextInput, "BYTES", {-1}, *proto.mutable_inputs());
    AddTensor(kEmbedding, "FP32", {-1, model.embedding_dimension}, *proto.mutable_outputs());
    return;
  }
  AddTensor(kTextInput, "BYTES", {1}, *proto.mutable_inputs());
  AddTensor(kSamplingParameters, "BYTES", {1}, *proto.mutable_inputs());
  AddTensor(kStream, "BOOL", {1}, *proto.mutable_inputs());
  AddTensor(kTextOutput, "BYTES", {-1}, *proto.mutable_outputs());
  AddTensor(kFinishReason, "BYTES", {-1}, *proto.mutable_outputs());
}

}  // namespace baton
