#include "server/translate_inference.h"

#include <utility>
#include <variant>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/grammar/json_schema.h"
#include "engine/model/grammar/limits.h"
#include "server/translate.h"

namespace baton {
namespace {

constexpr int64_t kTextBytesMax = 4 << 20;
constexpr int64_t kTokensMax = 1 << 20;
constexpr int64_t kEmbedTextBytesMax = 1 << 20;
constexpr int64_t kEmbedTextsMax = 1024;

static_assert(v1::FINISH_REASON_STOP == static_cast<int>(FinishReason::kStop) + 1);
static_assert(v1::Model::KIND_RERANKER == static_cast<int>(ModelKind::kReranker));
static_assert(v1::RerankResponse::METHOD_EMBEDDING ==
              static_cast<int>(RerankMethod::kEmbedding) + 1);
static_assert(v1::Model::STATE_FAILED == static_cast<int>(ModelState::kFailed) + 1);
static_assert(v1::FINISH_REASON_STOP_TOKEN == static_cast<int>(FinishReason::kStopToken) + 1);

void ToProto(TokenLogprob token, v1::TokenLogprob& proto) {
  proto.set_id(token.id);
  proto.set_logprob(token.logprob);
  proto.set_text(std::move(token.text));
}

void ToProto(std::vector<TokenLogprobs> logprobs,
             google::protobuf::RepeatedPtrField<v1::TokenLogprobs>& proto) {
  for (TokenLogprobs& of_token : logprobs) {
    v1::TokenLogprobs& added = *proto.Add();
    ToProto(std::move(of_token.token), *added.mutable_token());
    for (TokenLogprob& other : of_token.top) ToProto(std::move(other), *added.add_top());
  }
}

ChatPrompt ToChat(const v1::ChatMessages& proto) {
  ChatPrompt chat{.messages = {},
                  .add_generation_prompt = proto.has_add_generation_prompt()
                                               ? proto.add_generation_prompt()
                                               : !proto.continue_final_message(),
                  .continue_final_message = proto.continue_final_message(),
                  .template_name = proto.template_name(),
                  .template_source = proto.template_(),
                  .template_arguments = proto.template_arguments(),
                  .tools = proto.tools()};
  for (const v1::ChatMessage& message : proto.messages()) {
    ChatMessage& added = chat.messages.emplace_back(ChatMessage{.role = message.role()});
    if (message.has_content()) added.content = message.content();
    if (message.has_name()) added.name = message.name();
    if (message.has_tool_calls()) added.tool_calls = message.tool_calls();
    if (message.has_tool_call_id()) added.tool_call_id = message.tool_call_id();
    if (message.has_reasoning_content()) added.reasoning_content = message.reasoning_content();
  }
  return chat;
}

}  // namespace

SamplingParams ToSampling(const v1::SamplingParams& proto) {
  SamplingParams sampling;
  if (proto.has_temperature()) sampling.temperature = proto.temperature();
  if (proto.has_top_k()) sampling.top_k = proto.top_k();
  if (proto.has_top_p()) sampling.top_p = proto.top_p();
  if (proto.has_min_p()) sampling.min_p = proto.min_p();
  if (proto.has_seed()) sampling.seed = proto.seed();
  sampling.logit_bias = {proto.logit_bias().begin(), proto.logit_bias().end()};
  if (proto.has_repetition_penalty()) sampling.repetition_penalty = proto.repetition_penalty();
  if (proto.has_penalty_last_n()) sampling.penalty_last_n = proto.penalty_last_n();
  sampling.presence_penalty = proto.presence_penalty();
  sampling.frequency_penalty = proto.frequency_penalty();
  return sampling;
}

absl::StatusOr<TextConstraint> CheckConstraint(TextConstraint constraint) {
  const size_t bytes_max = constraint.kind == TextConstraint::Kind::kGrammar
                               ? GrammarLimits().text_bytes_max
                               : kJsonSchemaBytesMax;
  RETURN_IF_ERROR(CheckBytes(FieldOf(constraint.kind), constraint.text,
                             {.min = 1, .max = static_cast<int64_t>(bytes_max)}));
  return constraint;
}

absl::StatusOr<GenerateRequest> ToGenerate(const v1::GenerateRequest& proto, Envelope envelope) {
  GenerateRequest request{.envelope = std::move(envelope),
                          .model = proto.model(),
                          .prompt = {},
                          .sampling = ToSampling(proto.sampling()),
                          .max_tokens = std::nullopt,
                          .ignore_eos = proto.ignore_eos(),
                          .stop = ToStop(proto),
                          .constraint = {},
                          .logprobs = std::nullopt,
                          .completions = proto.has_n() ? proto.n() : 1,
                          .echo = proto.echo()};
  switch (proto.prompt_case()) {
    case v1::GenerateRequest::kText:
      RETURN_IF_ERROR(CheckBytes("text", proto.text(), {.min = 1, .max = kTextBytesMax}));
      request.prompt = proto.text();
      break;
    case v1::GenerateRequest::kTokens:
      RETURN_IF_ERROR(
          CheckCount("tokens.ids", proto.tokens().ids_size(), {.min = 1, .max = kTokensMax}));
      request.prompt =
          std::vector<TokenId>(proto.tokens().ids().begin(), proto.tokens().ids().end());
      break;
    case v1::GenerateRequest::kMessages:
      request.prompt = ToChat(proto.messages());
      break;
    case v1::GenerateRequest::PROMPT_NOT_SET:
      return absl::InvalidArgumentError("prompt must be given, as text, tokens or messages");
  }
  ASSIGN_OR_RETURN(request.constraint, ToConstraint(proto));
  if (proto.has_logprobs()) request.logprobs = proto.logprobs();
  RETURN_IF_ERROR(ValidateGenerate(request));
  if (proto.has_max_tokens()) request.max_tokens = proto.max_tokens();
  return request;
}

absl::StatusOr<EmbedRequest> ToEmbed(const v1::EmbedRequest& proto, Envelope envelope) {
  RETURN_IF_ERROR(CheckCount("texts", proto.texts_size(), {.min = 1, .max = kEmbedTextsMax}));
  for (int i = 0; i < proto.texts_size(); ++i) {
    RETURN_IF_ERROR(CheckBytes(StrCat("texts[", i, "]"), proto.texts(i),
                               {.min = 1, .max = kEmbedTextBytesMax}));
  }
  return EmbedRequest{.envelope = std::move(envelope),
                      .model = proto.model(),
                      .texts = {proto.texts().begin(), proto.texts().end()}};
}

absl::StatusOr<RerankRequest> ToRerank(const v1::RerankRequest& proto, Envelope envelope) {
  constexpr CountBounds kBytes = {.min = 1, .max = kEmbedTextBytesMax};
  RETURN_IF_ERROR(CheckBytes("query", proto.query(), kBytes));
  RETURN_IF_ERROR(
      CheckCount("documents", proto.documents_size(), {.min = 1, .max = kEmbedTextsMax}));
  for (int i = 0; i < proto.documents_size(); ++i) {
    RETURN_IF_ERROR(CheckBytes(StrCat("documents[", i, "]"), proto.documents(i), kBytes));
  }
  RerankRequest request{.envelope = std::move(envelope),
                        .model = proto.model(),
                        .query = proto.query(),
                        .documents = {proto.documents().begin(), proto.documents().end()},
                        .top_n = std::nullopt,
                        .return_documents = proto.return_documents()};
  if (proto.has_top_n()) request.top_n = proto.top_n();
  return request;
}

absl::Status CheckTokenize(const v1::TokenizeRequest& proto) {
  return CheckBytes("text", proto.text(), {.min = 0, .max = kTextBytesMax});
}

absl::Status CheckDetokenize(const v1::DetokenizeRequest& proto) {
  return CheckCount("ids", proto.ids_size(), {.min = 0, .max = kTokensMax});
}

v1::FinishReason ToProto(FinishReason reason) {
  return static_cast<v1::FinishReason>(static_cast<int>(reason) + 1);
}

void ToProto(PromptChunk chunk, v1::EchoedPrompt& proto) {
  proto.mutable_ids()->Add(chunk.ids.begin(), chunk.ids.end());
  proto.set_text(std::move(chunk.text));
  ToProto(std::move(chunk.logprobs), *proto.mutable_logprobs());
}

void ToProto(TokenChunk chunk, v1::GeneratedTokens& proto) {
  proto.mutable_ids()->Add(chunk.ids.begin(), chunk.ids.end());
  proto.set_text(std::move(chunk.text));
  proto.set_index(chunk.index);
  ToProto(std::move(chunk.logprobs), *proto.mutable_logprobs());
}

bool Append(const v1::GeneratedTokens& next, v1::GeneratedTokens& tokens) {
  if (next.index() != tokens.index()) return false;
  tokens.mutable_ids()->MergeFrom(next.ids());
  tokens.mutable_text()->append(next.text());
  tokens.mutable_logprobs()->MergeFrom(next.logprobs());
  return true;
}

void ToProto(const GenerateResult& result, v1::GenerateFinished& proto) {
  proto.set_reason(ToProto(result.reason));
  proto.set_prompt_tokens(result.prompt_tokens);
  proto.set_cached_prompt_tokens(result.cached_prompt_tokens);
  proto.set_generated_tokens(result.generated_tokens);
  proto.set_decode_steps(result.decode_steps);
  proto.set_draft_tokens(result.draft_tokens);
  proto.set_draft_tokens_accepted(result.draft_tokens_accepted);
  proto.set_preemptions(result.preemptions);
  proto.set_seed(result.seed);
  proto.set_model(result.model);
  ToProto(result.timings, *proto.mutable_timings());
  proto.set_index(result.index);
  SetStop(result.stop, proto);
}

void ToProto(const EmbedResult& result, v1::EmbedResponse& proto) {
  for (const std::vector<float>& embedding : result.embeddings) {
    proto.add_embeddings()->mutable_values()->Add(embedding.begin(), embedding.end());
  }
  for (const EmbedInput& input : result.inputs) {
    v1::EmbedInput& added = *proto.add_inputs();
    added.set_tokens(input.tokens);
    added.set_truncated(input.truncated);
  }
  proto.set_model(result.model);
  ToProto(result.timings, *proto.mutable_timings());
}

void ToProto(RerankResult result, v1::RerankResponse& proto) {
  for (RankedDocument& ranked : result.documents) {
    v1::RerankResult& added = *proto.add_results();
    added.set_index(ranked.index);
    added.set_score(ranked.score);
    added.set_raw_score(ranked.raw_score);
    added.set_truncated(ranked.truncated);
    added.set_document(std::move(ranked.document));
  }
  proto.set_method(static_cast<v1::RerankResponse::Method>(static_cast<int>(result.method) + 1));
  proto.set_model(result.model);
  proto.set_query_truncated(result.query_truncated);
  ToProto(result.timings, *proto.mutable_timings());
}

void ToProto(const ModelReport& report, v1::Model& proto) {
  proto.set_name(report.name);
  proto.set_kind(static_cast<v1::Model::Kind>(report.kind));
  proto.set_architecture(report.architecture);
  proto.set_context_tokens(report.context_tokens);
  proto.set_vocabulary(report.vocabulary);
  proto.set_embedding_dimension(report.embedding_dimension);
  proto.set_parameters(report.parameters);
  proto.set_weight_bytes(report.weight_bytes);
  proto.set_path(report.path);
  proto.set_state(static_cast<v1::Model::State>(static_cast<int>(report.state) + 1));
  proto.set_detail(report.detail);
  proto.set_memory_bytes(report.memory_bytes);
  proto.set_kv_type(report.kv_type);
  proto.set_kv_token_bytes(report.kv_token_bytes);
  if (report.kv_offload_space.empty()) return;
  v1::KvOffload& offload = *proto.mutable_kv_offload();
  offload.set_space(report.kv_offload_space);
  offload.set_bytes(report.kv_offload_bytes);
  offload.set_blocks(report.kv_offload_blocks);
  offload.set_blocks_used(report.kv_offload_blocks_used);
  offload.set_blocks_stored(report.kv_offload_blocks_stored);
  offload.set_blocks_reloaded(report.kv_offload_blocks_reloaded);
}

}  // namespace baton
