#include "server/rpc_metrics.h"

namespace baton {
namespace {

constexpr std::array<std::string_view, kRpcCount> kNames = {
    "InferenceService/Generate",
    "InferenceService/Embed",
    "InferenceService/Rerank",
    "InferenceService/Tokenize",
    "InferenceService/Detokenize",
    "InferenceService/ListModels",
    "VectorService/CreateCollection",
    "VectorService/DropCollection",
    "VectorService/ListCollections",
    "VectorService/DescribeCollection",
    "VectorService/Upsert",
    "VectorService/UpsertStream",
    "VectorService/Delete",
    "VectorService/Get",
    "VectorService/Search",
    "VectorService/SearchBatch",
    "VectorService/Count",
    "VectorService/Cluster",
    "VectorService/SearchGroups",
    "VectorService/SearchRange",
    "VectorService/Scroll",
    "VectorService/Facet",
    "VectorService/PatchPayload",
    "VectorService/CreatePayloadIndex",
    "VectorService/DropPayloadIndex",
    "VectorService/UpdateAliases",
    "VectorService/ListAliases",
    "RagService/Ingest",
    "RagService/Ask",
    "AdminService/Devices",
    "AdminService/Explain",
    "AdminService/Calibrate",
    "AdminService/Power",
    "AdminService/LoadModel",
    "AdminService/UnloadModel",
    "AdminService/CreateSnapshot",
    "AdminService/ListSnapshots",
    "AdminService/DeleteSnapshot",
    "AdminService/VerifySnapshot",
    "GRPCInferenceService/ServerLive",
    "GRPCInferenceService/ServerReady",
    "GRPCInferenceService/ModelReady",
    "GRPCInferenceService/ServerMetadata",
    "GRPCInferenceService/ModelMetadata",
    "GRPCInferenceService/ModelInfer",
    "GRPCInferenceService/ModelStreamInfer",
    "OpenAI/Models",
    "OpenAI/ChatCompletions",
    "OpenAI/Completions",
    "OpenAI/Embeddings",
};
static_assert(static_cast<size_t>(Rpc::kOpenAiEmbeddings) + 1 == kRpcCount);

}  // namespace

std::string_view Name(Rpc rpc) { return kNames[static_cast<size_t>(rpc)]; }

RpcMetrics::RpcMetrics(Metrics& metrics, const Clock& clock) : metrics_(metrics), clock_(clock) {
  for (size_t i = 0; i < kRpcCount; ++i) {
    handles_[i] = {.ok = &metrics.Counter(MetricId::kRequests, {kNames[i], "OK"}),
                   .seconds = &metrics.Histogram(MetricId::kRequestSeconds, {kNames[i]})};
  }
}

RpcScope::RpcScope(RpcMetrics& metrics, Rpc rpc)
    : metrics_(metrics), rpc_(rpc), begin_us_(metrics.clock_.NowUs()) {
  ++metrics_.active_;
}

RpcScope::~RpcScope() {
  const RpcMetrics::Handles& handles = metrics_.handles_[static_cast<size_t>(rpc_)];
  handles.seconds->Observe(static_cast<double>(metrics_.clock_.NowUs() - begin_us_) * 1e-6);
  if (code_ == absl::StatusCode::kOk) {
    handles.ok->Increment();
  } else {
    metrics_.metrics_.Counter(MetricId::kRequests, {Name(rpc_), absl::StatusCodeToString(code_)})
        .Increment();
  }
  --metrics_.active_;
}

}  // namespace baton
