#include "server/vector_service.h"

#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "server/translate_cluster.h"
#include "server/translate_filter.h"
#include "server/translate_vector.h"
#include "server/upsert_stream.h"

namespace baton {

grpc::ServerUnaryReactor* VectorService::CreateCollection(
    grpc::CallbackServerContext* context, const v1::CreateCollectionRequest* request,
    v1::CreateCollectionResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kCreateCollection, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(CollectionSpec spec, ToSpec(request->spec()));
    return parts_.engine.SubmitCreate(
        std::move(spec), call->Then<CollectionInfo>([response](const CollectionInfo& info) {
          ToProto(info, *response->mutable_collection());
        }));
  }());
}

grpc::ServerUnaryReactor* VectorService::DropCollection(grpc::CallbackServerContext* context,
                                                        const v1::DropCollectionRequest* request,
                                                        v1::DropCollectionResponse*) {
  auto* call = new UnaryCall(parts_, Rpc::kDropCollection, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    RETURN_IF_ERROR(CheckCollection(request->collection()));
    return parts_.engine.SubmitDrop(request->collection(), call->Then<bool>([](bool) {}));
  }());
}

grpc::ServerUnaryReactor* VectorService::ListCollections(grpc::CallbackServerContext* context,
                                                         const v1::ListCollectionsRequest*,
                                                         v1::ListCollectionsResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kListCollections, context);
  if (call->Refused()) return call;
  for (const CollectionInfo& info : parts_.engine.ListCollections()) {
    ToProto(info, *response->add_collections());
  }
  return call->Answered(absl::OkStatus());
}

grpc::ServerUnaryReactor* VectorService::DescribeCollection(
    grpc::CallbackServerContext* context, const v1::DescribeCollectionRequest* request,
    v1::DescribeCollectionResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kDescribeCollection, context);
  if (call->Refused()) return call;
  return call->Answered([&]() -> absl::Status {
    RETURN_IF_ERROR(CheckCollection(request->collection()));
    ASSIGN_OR_RETURN(const CollectionInfo info,
                     parts_.engine.DescribeCollection(request->collection()));
    ToProto(info, *response->mutable_collection());
    return absl::OkStatus();
  }());
}

grpc::ServerUnaryReactor* VectorService::Upsert(grpc::CallbackServerContext* context,
                                                const v1::UpsertRequest* request,
                                                v1::UpsertResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kUpsert, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(UpsertRequest upsert, ToUpsert(*request, std::move(envelope)));
    return parts_.engine.Submit(std::move(upsert),
                                call->Then<UpsertResult>([response](const UpsertResult& result) {
                                  ToProto(result, *response);
                                }));
  }());
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* VectorService::UpsertStream(
    grpc::CallbackServerContext* context) {
  return new UpsertStreamCall(parts_, context);
}

grpc::ServerUnaryReactor* VectorService::Delete(grpc::CallbackServerContext* context,
                                                const v1::DeleteRequest* request,
                                                v1::DeleteResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kDelete, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(DeleteRequest deletion, ToDelete(*request, std::move(envelope)));
    return parts_.engine.Submit(std::move(deletion),
                                call->Then<DeleteResult>([response](const DeleteResult& result) {
                                  ToProto(result, *response);
                                }));
  }());
}

grpc::ServerUnaryReactor* VectorService::Get(grpc::CallbackServerContext* context,
                                             const v1::GetRequest* request,
                                             v1::GetResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kGet, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(GetRequest get, ToGet(*request));
    return parts_.engine.Submit(
        std::move(get), call->DeadlineUs(),
        call->Then<std::vector<Point>>(
            [response](std::vector<Point> points) { ToProto(std::move(points), *response); }));
  }());
}

grpc::ServerUnaryReactor* VectorService::Search(grpc::CallbackServerContext* context,
                                                const v1::SearchRequest* request,
                                                v1::SearchResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kSearch, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(SearchRequest search, ToSearch(*request, std::move(envelope)));
    return parts_.engine.Submit(std::move(search),
                                call->Then<SearchResult>([response](SearchResult result) {
                                  ToProto(std::move(result), *response);
                                }));
  }());
}

grpc::ServerUnaryReactor* VectorService::SearchBatch(grpc::CallbackServerContext* context,
                                                     const v1::SearchBatchRequest* request,
                                                     v1::SearchBatchResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kSearchBatch, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(SearchRequest search, ToSearch(*request, std::move(envelope)));
    return parts_.engine.Submit(std::move(search),
                                call->Then<SearchResult>([response](SearchResult result) {
                                  ToProto(std::move(result), *response);
                                }));
  }());
}

grpc::ServerUnaryReactor* VectorService::Count(grpc::CallbackServerContext* context,
                                               const v1::CountRequest* request,
                                               v1::CountResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kCount, context);
  if (call->Refused()) return call;
  if (!request->has_filter()) {  // may be in memory
    if (const absl::Status valid = CheckCollection(request->collection()); !valid.ok()) {
      return call->Answered(valid);
    }
    const auto info = parts_.engine.DescribeCollection(request->collection());
    if (!info.ok()) return call->Answered(info.status());
    const bool chooses = !request->partition().empty() || request->all_partitions();
    if (!chooses && info->spec.partition_key.empty()) {
      response->set_points(info->points);
      return call->Answered(absl::OkStatus());
    }
  }
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(CountRequest count, ToCount(*request));
    return parts_.engine.Submit(
        std::move(count), call->DeadlineUs(),
        call->Then<int64_t>([response](int64_t points) { response->set_points(points); }));
  }());
}

grpc::ServerUnaryReactor* VectorService::SearchRange(grpc::CallbackServerContext* context,
                                                     const v1::SearchRangeRequest* request,
                                                     v1::SearchRangeResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kSearchRange, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(SearchRequest search, ToSearch(*request, std::move(envelope)));
    return parts_.engine.Submit(std::move(search),
                                call->Then<SearchResult>([response](SearchResult result) {
                                  ToProto(std::move(result), *response);
                                }));
  }());
}

grpc::ServerUnaryReactor* VectorService::SearchGroups(grpc::CallbackServerContext* context,
                                                      const v1::SearchGroupsRequest* request,
                                                      v1::SearchGroupsResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kSearchGroups, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(SearchGroupsRequest search, ToSearchGroups(*request, std::move(envelope)));
    return parts_.engine.Submit(
        std::move(search), call->Then<SearchGroupsResult>([response](SearchGroupsResult result) {
          ToProto(std::move(result), *response);
        }));
  }());
}

grpc::ServerUnaryReactor* VectorService::Scroll(grpc::CallbackServerContext* context,
                                                const v1::ScrollRequest* request,
                                                v1::ScrollResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kScroll, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(ScrollRequest scroll, ToScroll(*request));
    return parts_.engine.Submit(std::move(scroll), call->DeadlineUs(),
                                call->Then<ScrollResult>([response](ScrollResult result) {
                                  ToProto(std::move(result), *response);
                                }));
  }());
}

grpc::ServerUnaryReactor* VectorService::Facet(grpc::CallbackServerContext* context,
                                               const v1::FacetRequest* request,
                                               v1::FacetResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kFacet, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(FacetRequest facet, ToFacet(*request));
    return parts_.engine.Submit(
        std::move(facet), call->DeadlineUs(),
        call->Then<std::vector<FacetHit>>(
            [response](const std::vector<FacetHit>& hits) { ToProto(hits, *response); }));
  }());
}

grpc::ServerUnaryReactor* VectorService::PatchPayload(grpc::CallbackServerContext* context,
                                                      const v1::PatchPayloadRequest* request,
                                                      v1::PatchPayloadResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kPatchPayload, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(PatchPayloadRequest patch, ToPatch(*request, std::move(envelope)));
    return parts_.engine.Submit(std::move(patch), call->Then<PatchPayloadResult>(
                                                      [response](const PatchPayloadResult& result) {
                                                        response->set_points(result.points);
                                                      }));
  }());
}

grpc::ServerUnaryReactor* VectorService::CreatePayloadIndex(
    grpc::CallbackServerContext* context, const v1::CreatePayloadIndexRequest* request,
    v1::CreatePayloadIndexResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kCreatePayloadIndex, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    RETURN_IF_ERROR(CheckCollection(request->collection()));
    ASSIGN_OR_RETURN(const PayloadIndexKind kind, ToKind(request->kind()));
    return parts_.engine.SubmitCreateIndex(
        request->collection(), {.field = request->field(), .kind = kind},
        call->Then<CollectionInfo>([response](const CollectionInfo& info) {
          ToProto(info, *response->mutable_collection());
        }));
  }());
}

grpc::ServerUnaryReactor* VectorService::DropPayloadIndex(
    grpc::CallbackServerContext* context, const v1::DropPayloadIndexRequest* request,
    v1::DropPayloadIndexResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kDropPayloadIndex, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    RETURN_IF_ERROR(CheckCollection(request->collection()));
    return parts_.engine.SubmitDropIndex(
        request->collection(), request->field(),
        call->Then<CollectionInfo>([response](const CollectionInfo& info) {
          ToProto(info, *response->mutable_collection());
        }));
  }());
}

grpc::ServerUnaryReactor* VectorService::UpdateAliases(grpc::CallbackServerContext* context,
                                                       const v1::UpdateAliasesRequest* request,
                                                       v1::UpdateAliasesResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kUpdateAliases, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(std::vector<AliasAction> actions, ToAliasActions(*request));
    return parts_.engine.SubmitAliases(std::move(actions), call->Then<bool>([this, response](bool) {
      ToProto(parts_.engine.ListAliases(), "", *response->mutable_aliases());
    }));
  }());
}

grpc::ServerUnaryReactor* VectorService::ListAliases(grpc::CallbackServerContext* context,
                                                     const v1::ListAliasesRequest* request,
                                                     v1::ListAliasesResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kListAliases, context);
  if (call->Refused()) return call;
  return call->Answered([&]() -> absl::Status {
    std::string collection = request->collection();
    if (!collection.empty()) {
      ASSIGN_OR_RETURN(const CollectionInfo info, parts_.engine.DescribeCollection(collection));
      collection = info.spec.name;
    }
    ToProto(parts_.engine.ListAliases(), collection, *response->mutable_aliases());
    return absl::OkStatus();
  }());
}

grpc::ServerUnaryReactor* VectorService::Cluster(grpc::CallbackServerContext* context,
                                                 const v1::ClusterRequest* request,
                                                 v1::ClusterResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kCluster, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(ClusterRequest cluster, ToCluster(*request, std::move(envelope)));
    return parts_.engine.Submit(std::move(cluster),
                                call->Then<ClusterResult>([response](ClusterResult result) {
                                  ToProto(std::move(result), *response);
                                }));
  }());
}

}  // namespace baton
