#include "server/access_scopes.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>
#include <string>

#include "baton/v1/admin.pb.h"
#include "baton/v1/inference.pb.h"
#include "baton/v1/rag.pb.h"
#include "baton/v1/vector.pb.h"
#include "google/protobuf/descriptor.h"
#include "inference/kserve_v2.pb.h"
#include "server/rpc_metrics.h"

namespace baton {
namespace {

namespace protobuf = google::protobuf;

// So that the linker keeps their files, and the pool knows them.
const void* const kKept[] = {v1::DevicesRequest::descriptor(), v1::GenerateRequest::descriptor(),
                             v1::AskRequest::descriptor(), v1::SearchRequest::descriptor(),
                             inference::ModelInferRequest::descriptor()};

// "Service/Method" of every RPC in every file under proto/ but proto/qdrant, which is for a client.
std::set<std::string> MethodsOfProtos() {
  const std::filesystem::path root = BATON_SOURCE_DIR "/proto";
  std::set<std::string> methods;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".proto") continue;
    const std::string name = entry.path().lexically_relative(root).string();
    if (name.starts_with("qdrant/")) continue;
    INFO(name << " is not linked: name one of its messages in kKept");
    const protobuf::FileDescriptor* const file =
        protobuf::DescriptorPool::generated_pool()->FindFileByName(name);
    REQUIRE(file != nullptr);
    for (int i = 0; i < file->service_count(); ++i) {
      const protobuf::ServiceDescriptor* const service = file->service(i);
      for (int k = 0; k < service->method_count(); ++k) {
        methods.insert(service->name() + "/" + service->method(k)->name());
      }
    }
  }
  return methods;
}

TEST_CASE("every RPC of every proto has its scopes declared") {
  CHECK(kKept[0] != nullptr);
  const std::set<std::string> methods = MethodsOfProtos();
  // Those over HTTP have no proto.
  constexpr auto kOfProtos = static_cast<size_t>(Rpc::kOpenAiModels);
  CHECK(methods.size() >= kOfProtos);
  for (size_t rpc = kOfProtos; rpc < kRpcCount; ++rpc) {
    INFO(Name(static_cast<Rpc>(rpc)));
    CHECK(ScopesOf(Name(static_cast<Rpc>(rpc))).has_value());
  }
  for (const std::string& method : methods) {
    INFO(method << " belongs into the table of server/access_scopes.cc");
    CHECK(ScopesOf(method).has_value());
  }
  CHECK_FALSE(ScopesOf("RagService/Forget").has_value());
  CHECK_FALSE(ScopesOf("").has_value());
}

TEST_CASE("what changes something needs more than read") {
  const auto read = static_cast<Scopes>(Scope::kRead);
  for (const char* method :
       {"VectorService/Upsert", "VectorService/UpsertStream", "VectorService/Delete",
        "VectorService/DropCollection", "VectorService/PatchPayload", "RagService/Ingest",
        "AdminService/UnloadModel", "AdminService/DeleteSnapshot", "AdminService/Power"}) {
    INFO(method);
    CHECK((*ScopesOf(method) & ~read) != 0);
  }
  CHECK(*ScopesOf("RagService/Ask") == (Scope::kRead | Scope::kGenerate));
}

}  // namespace
}  // namespace baton
