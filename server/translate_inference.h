#pragma once

#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "baton/v1/inference.pb.h"
#include "engine/model_report.h"
#include "engine/request/embed_request.h"
#include "engine/request/generate_request.h"
#include "engine/request/rerank_request.h"

// InferenceService's messages and the engine's.
namespace baton {

SamplingParams ToSampling(const v1::SamplingParams& proto);
absl::StatusOr<TextConstraint> CheckConstraint(TextConstraint constraint);
// What the text of a GenerateRequest or AskRequest must look like.
template <class Request>
absl::StatusOr<TextConstraint> ToConstraint(const Request& proto) {
  using Kind = TextConstraint::Kind;
  if (proto.has_grammar()) return CheckConstraint({Kind::kGrammar, proto.grammar()});
  if (proto.has_json_schema()) return CheckConstraint({Kind::kJsonSchema, proto.json_schema()});
  return TextConstraint{.kind = proto.json_object() ? Kind::kJsonObject : Kind::kNone};
}
// What ends that text.
template <class Request>
StopConditions ToStop(const Request& proto) {
  return {.strings = {proto.stop().begin(), proto.stop().end()},
          .tokens = {proto.stop_token_ids().begin(), proto.stop_token_ids().end()},
          .include = proto.include_stop(),
          .min_tokens = proto.min_tokens()};
}
// What ended it, where one of those did.
template <class Finished>
void SetStop(const decltype(GenerateResult::stop)& stop, Finished& proto) {
  if (const auto* text = std::get_if<std::string>(&stop)) proto.set_stop_string(*text);
  if (const auto* token = std::get_if<TokenId>(&stop)) proto.set_stop_token(*token);
}
absl::StatusOr<GenerateRequest> ToGenerate(const v1::GenerateRequest& proto, Envelope envelope);
absl::StatusOr<EmbedRequest> ToEmbed(const v1::EmbedRequest& proto, Envelope envelope);
absl::StatusOr<RerankRequest> ToRerank(const v1::RerankRequest& proto, Envelope envelope);
absl::Status CheckTokenize(const v1::TokenizeRequest& proto);
absl::Status CheckDetokenize(const v1::DetokenizeRequest& proto);

v1::FinishReason ToProto(FinishReason reason);
void ToProto(PromptChunk chunk, v1::EchoedPrompt& proto);
void ToProto(TokenChunk chunk, v1::GeneratedTokens& proto);
// Makes one message of two that follow each other. False: they are of different completions.
bool Append(const v1::GeneratedTokens& next, v1::GeneratedTokens& tokens);
void ToProto(const GenerateResult& result, v1::GenerateFinished& proto);
void ToProto(const EmbedResult& result, v1::EmbedResponse& proto);
void ToProto(RerankResult result, v1::RerankResponse& proto);
void ToProto(const ModelReport& report, v1::Model& proto);

}  // namespace baton
