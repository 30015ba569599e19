#include "server/access_scopes.h"

#include <algorithm>
#include <iterator>

namespace baton {
namespace {

struct MethodScopes {
  std::string_view method;
  Scopes scopes;
};

constexpr Scopes kRead = static_cast<Scopes>(Scope::kRead);
constexpr Scopes kWrite = static_cast<Scopes>(Scope::kWrite);
constexpr Scopes kGenerate = static_cast<Scopes>(Scope::kGenerate);
constexpr Scopes kAdmin = static_cast<Scopes>(Scope::kAdmin);

// read: what is stored. write: changes of that. generate: models' work. admin: the daemon itself.
// What runs a model over what is stored needs both.
constexpr MethodScopes kMethods[] = {
    {"InferenceService/Generate", kGenerate},
    {"InferenceService/Embed", kGenerate},
    {"InferenceService/Rerank", kGenerate},
    {"InferenceService/Tokenize", kGenerate},
    {"InferenceService/Detokenize", kGenerate},
    {"InferenceService/ListModels", kAnyToken},
    {"VectorService/CreateCollection", kWrite},
    {"VectorService/DropCollection", kWrite},
    {"VectorService/ListCollections", kRead},
    {"VectorService/DescribeCollection", kRead},
    {"VectorService/Upsert", kWrite},
    {"VectorService/UpsertStream", kWrite},
    {"VectorService/Delete", kWrite},
    {"VectorService/Get", kRead},
    {"VectorService/Search", kRead},
    {"VectorService/SearchBatch", kRead},
    {"VectorService/SearchRange", kRead},
    {"VectorService/SearchGroups", kRead},
    {"VectorService/Count", kRead},
    {"VectorService/Cluster", kRead},
    {"VectorService/Scroll", kRead},
    {"VectorService/Facet", kRead},
    {"VectorService/PatchPayload", kWrite},
    {"VectorService/CreatePayloadIndex", kWrite},
    {"VectorService/DropPayloadIndex", kWrite},
    {"VectorService/UpdateAliases", kWrite},
    {"VectorService/ListAliases", kRead},
    {"RagService/Ingest", kWrite},
    {"RagService/Ask", kRead | kGenerate},
    {"AdminService/Devices", kRead},
    {"AdminService/Explain", kRead},
    {"AdminService/Calibrate", kAdmin},
    {"AdminService/Power", kAdmin},
    {"AdminService/LoadModel", kAdmin},
    {"AdminService/UnloadModel", kAdmin},
    {"AdminService/CreateSnapshot", kAdmin},
    {"AdminService/ListSnapshots", kAdmin},
    {"AdminService/DeleteSnapshot", kAdmin},
    {"AdminService/VerifySnapshot", kAdmin},
    {"GRPCInferenceService/ServerLive", kAnyToken},
    {"GRPCInferenceService/ServerReady", kAnyToken},
    {"GRPCInferenceService/ModelReady", kAnyToken},
    {"GRPCInferenceService/ServerMetadata", kAnyToken},
    {"GRPCInferenceService/ModelMetadata", kAnyToken},
    {"GRPCInferenceService/ModelInfer", kGenerate},
    {"GRPCInferenceService/ModelStreamInfer", kGenerate},
    {"OpenAI/Models", kAnyToken},
    {"OpenAI/ChatCompletions", kGenerate},
    {"OpenAI/Completions", kGenerate},
    {"OpenAI/Embeddings", kGenerate},
};

}  // namespace

std::optional<Scopes> ScopesOf(std::string_view method) {
  const auto* const found = std::ranges::find(kMethods, method, &MethodScopes::method);
  if (found == std::end(kMethods)) return std::nullopt;
  return found->scopes;
}

}  // namespace baton
