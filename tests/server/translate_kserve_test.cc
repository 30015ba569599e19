#include "server/translate_kserve.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <string>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

using inference::ModelInferRequest;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

const ModelReport kWriter{.name = "m", .kind = ModelKind::kLanguage, .architecture = "llama"};
const ModelReport kEmbedder{
    .name = "e", .kind = ModelKind::kEmbedding, .architecture = "bert", .embedding_dimension = 2};

ModelInferRequest::InferInputTensor& AddInput(ModelInferRequest& proto, const char* name,
                                              const char* datatype, int64_t elements) {
  auto& tensor = *proto.add_inputs();
  tensor.set_name(name);
  tensor.set_datatype(datatype);
  tensor.add_shape(elements);
  return tensor;
}
void AddText(ModelInferRequest& proto, const char* name, const std::string& text) {
  AddInput(proto, name, "BYTES", 1).mutable_contents()->add_bytes_contents(text);
}
ModelInferRequest Asking(const std::string& text) {
  ModelInferRequest proto;
  proto.set_model_name("m");
  AddText(proto, "text_input", text);
  return proto;
}
std::string Raw(const std::string& text) {
  const auto bytes = static_cast<uint32_t>(text.size());
  return std::string(reinterpret_cast<const char*>(&bytes), sizeof(bytes)) + text;
}

TEST_CASE("a generation by tensors, parameters and both") {
  ModelInferRequest proto = Asking("once \"upon\"");
  proto.set_id("7");
  AddText(proto, "sampling_parameters", R"( {"max_tokens": 5, "stop": ["x"], "top_k": 3} )");
  (*proto.mutable_parameters())["temperature"].set_double_param(0.5);
  (*proto.mutable_parameters())["seed"].set_int64_param(-3);
  (*proto.mutable_parameters())["ignore_eos"].set_bool_param(true);
  (*proto.mutable_parameters())["sequence_id"].set_int64_param(1);  // Triton's, ignored
  const auto wanted = ToKserve(proto, kWriter, {});
  REQUIRE_OK(wanted);
  CHECK(wanted->answer.id == "7");
  CHECK_FALSE(wanted->answer.raw);
  CHECK_FALSE(wanted->stream);
  const auto& generate = std::get<GenerateRequest>(wanted->request);
  CHECK(std::get<std::string>(generate.prompt) == "once \"upon\"");
  CHECK(generate.model == "m");
  CHECK(generate.max_tokens == 5);
  CHECK(generate.stop.strings == std::vector<std::string>{"x"});
  CHECK(generate.sampling.top_k == 3);
  CHECK(generate.sampling.temperature == 0.5f);
  CHECK(generate.sampling.seed == static_cast<uint64_t>(-3));
  CHECK(generate.ignore_eos);
}

TEST_CASE("raw contents") {
  ModelInferRequest proto;
  proto.set_model_name("m");
  AddInput(proto, "text_input", "BYTES", 1);
  AddInput(proto, "stream", "BOOL", 1);
  proto.add_raw_input_contents(Raw("hello"));
  proto.add_raw_input_contents(std::string("\1", 1));
  const auto wanted = ToKserve(proto, kWriter, {});
  REQUIRE_OK(wanted);
  CHECK(wanted->answer.raw);
  CHECK(wanted->stream);
  CHECK(std::get<std::string>(std::get<GenerateRequest>(wanted->request).prompt) == "hello");

  inference::ModelInferResponse answer;
  ToProto(KserveText{.texts = {"ab"}, .finish_reasons = {"stop"}, .completion_tokens = 2},
          wanted->answer, answer);
  REQUIRE(answer.outputs_size() == 2);
  CHECK(answer.outputs(0).name() == "text_output");
  CHECK(answer.raw_output_contents(0) == Raw("ab"));
  CHECK(answer.parameters().at("completion_tokens").int64_param() == 2);

  for (const std::string& broken :
       {std::string("\5\0\0\0hell", 8), std::string("\5\0", 2), Raw("a") + Raw("b")}) {
    *proto.mutable_raw_input_contents(0) = broken;
    CHECK(ToKserve(proto, kWriter, {}).status().code() == kInvalid);
  }
  *proto.mutable_raw_input_contents(0) = "";
  REQUIRE_STATUS(ToKserve(proto, kWriter, {}), kInvalid,
                 "input \"text_input\" has 0 elements, but its shape says 1");
}

TEST_CASE("embeddings") {
  ModelInferRequest proto;
  proto.set_model_name("e");
  auto& tensor = AddInput(proto, "text_input", "BYTES", 2);
  tensor.mutable_contents()->add_bytes_contents("a");
  tensor.mutable_contents()->add_bytes_contents("b");
  const auto wanted = ToKserve(proto, kEmbedder, {});
  REQUIRE_OK(wanted);
  CHECK(std::get<EmbedRequest>(wanted->request).texts == std::vector<std::string>{"a", "b"});
  inference::ModelInferResponse answer;
  ToProto(EmbedResult{.embeddings = {{1, 2}, {3, 4}}}, wanted->answer, answer);
  REQUIRE(answer.outputs_size() == 1);
  CHECK(answer.outputs(0).datatype() == "FP32");
  CHECK(answer.outputs(0).shape(1) == 2);
  CHECK(answer.outputs(0).contents().fp32_contents(3) == 4);
}

TEST_CASE("mistakes name the tensor, the parameter or the version") {
  const auto status = [](const ModelInferRequest& proto) {
    return ToKserve(proto, kWriter, {}).status();
  };
  ModelInferRequest none;
  REQUIRE_STATUS(status(none), kInvalid, "input \"text_input\" must be given");
  ModelInferRequest proto = Asking("a");
  proto.set_model_version("2");
  REQUIRE_STATUS(status(proto), absl::StatusCode::kNotFound, "no version \"2\"");
  proto = Asking("a");
  AddText(proto, "image", "x");
  REQUIRE_STATUS(status(proto), kInvalid, "input \"image\" is not known");
  proto = Asking("a");
  proto.mutable_inputs(0)->set_datatype("FP32");
  REQUIRE_STATUS(status(proto), kInvalid, "must have the datatype BYTES");
  proto = Asking("a");
  proto.mutable_inputs(0)->set_shape(0, int64_t{1} << 62);
  REQUIRE_STATUS(status(proto), kInvalid, "at most 1024 elements");
  proto.mutable_inputs(0)->set_shape(0, -1);
  REQUIRE_STATUS(status(proto), kInvalid, "at most 1024 elements");
  REQUIRE_STATUS(status(Asking("\xff")), kInvalid, "must be UTF-8");
  REQUIRE_STATUS(status(Asking("")), kInvalid, "must not be empty");
  for (const auto& [text, says] :
       {std::pair("[1]", "must be a JSON object"), std::pair("{", "must be a JSON object"),
        std::pair("{\"stream\": true}", "the field \"stream\""),
        std::pair("{\"n\": \"x\"}", "n must be an integer")}) {
    proto = Asking("a");
    AddText(proto, "sampling_parameters", text);
    REQUIRE_STATUS(status(proto), kInvalid, says);
  }
  proto = Asking("a");
  (*proto.mutable_parameters())["temperature"].set_string_param("hot");
  REQUIRE_STATUS(status(proto), kInvalid, "temperature must be a number");
  proto = Asking("a");
  proto.add_outputs()->set_name("logits");
  REQUIRE_STATUS(status(proto), kInvalid, "output \"logits\" is not known");
  proto = Asking("a");
  AddInput(proto, "stream", "BOOL", 1).mutable_contents()->add_bool_contents(true);
  (*proto.mutable_parameters())["n"].set_int64_param(2);
  REQUIRE_STATUS(status(proto), kInvalid, "n must be 1 where stream is true");
  proto = Asking("a");
  proto.add_raw_input_contents(Raw("a"));
  proto.add_raw_input_contents(Raw("a"));
  REQUIRE_STATUS(status(proto), kInvalid, "must be one per input");
}

}  // namespace
}  // namespace baton
