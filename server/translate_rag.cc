#include "server/translate_rag.h"

#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "server/translate.h"
#include "server/translate_filter.h"
#include "server/translate_ids.h"
#include "server/translate_inference.h"

namespace baton {
namespace {

constexpr int64_t kQuestionBytesMax = 16 << 10;

static_assert(v1::AskFinished::GENERATED == static_cast<int>(AskMode::kGenerated) + 1);
static_assert(v1::RETRIEVAL_HYBRID == static_cast<int>(Retrieval::kHybrid) + 1);
static_assert(v1::AskFinished::NOTHING_FOUND == static_cast<int>(AskMode::kNothingFound) + 1);

}  // namespace

// The engine checks the documents: their ids, sizes and texts.
absl::StatusOr<IngestRequest> ToIngest(const v1::IngestRequest& proto, Envelope envelope) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  IngestRequest request{.envelope = std::move(envelope), .collection = proto.collection()};
  request.documents.reserve(static_cast<size_t>(proto.documents_size()));
  for (int i = 0; i < proto.documents_size(); ++i) {
    const v1::Document& document = proto.documents(i);
    ASSIGN_OR_RETURN(Payload metadata,
                     ToPayload(document.metadata(), StrCat("documents[", i, "].metadata")));
    request.documents.push_back({.id = document.id(),
                                 .title = document.title(),
                                 .text = document.text(),
                                 .metadata = std::move(metadata)});
  }
  if (proto.has_passage_chars_max()) request.passage_chars_max = proto.passage_chars_max();
  if (proto.has_passage_overlap_chars()) {
    request.passage_overlap_chars = proto.passage_overlap_chars();
  }
  return request;
}

absl::StatusOr<AskRequest> ToAsk(const v1::AskRequest& proto, Envelope envelope) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  RETURN_IF_ERROR(CheckBytes("question", proto.question(), {.min = 1, .max = kQuestionBytesMax}));
  AskRequest request{.envelope = std::move(envelope),
                     .collection = proto.collection(),
                     .question = proto.question(),
                     .model = proto.model(),
                     .sampling = ToSampling(proto.sampling()),
                     .max_tokens = std::nullopt,
                     .stop = ToStop(proto),
                     .retrieval_only = proto.retrieval_only()};
  if (proto.has_logprobs()) request.logprobs = proto.logprobs();
  RETURN_IF_ERROR(ValidateSampling(request.sampling));
  RETURN_IF_ERROR(ValidateStop(request.stop));
  RETURN_IF_ERROR(ValidateLogprobs(request.logprobs));
  ASSIGN_OR_RETURN(request.constraint, ToConstraint(proto));
  if (proto.has_verbatim()) request.verbatim = proto.verbatim();
  if (proto.has_filter()) {
    ASSIGN_OR_RETURN(request.filter, ToFilter(proto.filter()));
  }
  if (proto.retrieval() != v1::RETRIEVAL_UNSPECIFIED) {
    if (!v1::Retrieval_IsValid(proto.retrieval())) {
      return absl::InvalidArgumentError(
          StrCat("retrieval must be 1 to 3 (dense, text, hybrid), but is ",
                 static_cast<int>(proto.retrieval())));
    }
    request.retrieval = static_cast<Retrieval>(proto.retrieval() - 1);
  }
  if (proto.has_k()) request.k = proto.k();
  if (proto.has_n()) request.answers = proto.n();
  request.vector_name = proto.vector_name();
  request.partition = ToPartition(proto);
  if (proto.has_max_tokens()) request.max_tokens = proto.max_tokens();
  return request;
}

void ToProto(const IngestResult& result, v1::IngestResponse& proto) {
  proto.set_documents(result.documents);
  proto.set_passages(result.passages);
  proto.set_passages_removed(result.passages_removed);
  ToProto(result.timings, *proto.mutable_timings());
}

void ToProto(std::vector<Passage> passages, v1::Retrieved& proto) {
  for (Passage& passage : passages) {
    v1::Passage& added = *proto.add_passages();
    SetId(passage.id, added);
    added.set_document_id(std::move(passage.document_id));
    added.set_title(std::move(passage.title));
    added.set_text(std::move(passage.text));
    added.set_passage(passage.passage);
    added.set_begin(passage.begin);
    added.set_end(passage.end);
    added.set_score(passage.score);
  }
}

void ToProto(AskResult result, v1::AskFinished& proto) {
  proto.set_mode(static_cast<v1::AskFinished::Mode>(static_cast<int>(result.mode) + 1));
  proto.set_mode_reason(std::move(result.mode_reason));
  for (Citation& citation : result.citations) {
    v1::Citation& added = *proto.add_citations();
    added.set_number(citation.number);
    if (IsUuid(citation.passage_id)) {
      added.set_passage_uuid(IdText(citation.passage_id));
    } else {
      added.set_passage_id(LowerHalf(citation.passage_id));
    }
    added.set_document_id(std::move(citation.document_id));
    added.set_title(std::move(citation.title));
    added.set_quote(std::move(citation.quote));
    added.set_begin(citation.begin);
    added.set_end(citation.end);
  }
  if (result.mode == AskMode::kGenerated) {
    const GenerateResult& generated = result.generated;
    proto.set_finish_reason(ToProto(generated.reason));
    proto.set_prompt_tokens(generated.prompt_tokens);
    proto.set_cached_prompt_tokens(generated.cached_prompt_tokens);
    proto.set_generated_tokens(generated.generated_tokens);
    proto.set_decode_steps(generated.decode_steps);
    proto.set_draft_tokens(generated.draft_tokens);
    proto.set_draft_tokens_accepted(generated.draft_tokens_accepted);
    proto.set_preemptions(generated.preemptions);
    proto.set_seed(generated.seed);
    proto.set_model(generated.model);
    proto.set_index(generated.index);
    SetStop(generated.stop, proto);
  }
  ToProto(result.timings, *proto.mutable_timings());
}

}  // namespace baton
