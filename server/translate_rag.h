#pragma once

#include "absl/status/statusor.h"
#include "baton/v1/rag.pb.h"
#include "engine/request/rag_request.h"

// RagService's messages and the engine's.
namespace baton {

absl::StatusOr<IngestRequest> ToIngest(const v1::IngestRequest& proto, Envelope envelope);
absl::StatusOr<AskRequest> ToAsk(const v1::AskRequest& proto, Envelope envelope);

void ToProto(const IngestResult& result, v1::IngestResponse& proto);
void ToProto(std::vector<Passage> passages, v1::Retrieved& proto);
void ToProto(AskResult result, v1::AskFinished& proto);

}  // namespace baton
