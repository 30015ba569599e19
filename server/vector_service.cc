#include "server/vector_service.h"

#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "server/translate_cluster.h"
#include "server/translate_vector.h"
#include "server/upsert_stream.h"

namespace baton {

grpc::ServerUnaryReactor* VectorService::CreateCollection(
    grpc::CallbackServerContext* context, const v1::CreateCollectionRequest* request,
    v1::CreateCollectionResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kCreateCollection, context);
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
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    RETURN_IF_ERROR(CheckCollection(request->collection()));
    return parts_.engine.SubmitDrop(request->collection(), call->Then<bool>([](bool) {}));
  }());
}

grpc::ServerUnaryReactor* VectorService::ListCollections(grpc::CallbackServerContext* context,
                                                         const v1::ListCollectionsRequest*,
                                                         v1::ListCollectionsResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kListCollections, context);
  for (const CollectionInfo& info : parts_.engine.ListCollections()) {
    ToProto(info, *response->add_collections());
  }
  return call->Answered(absl::OkStatus());
}

grpc::ServerUnaryReactor* VectorService::DescribeCollection(
    grpc::CallbackServerContext* context, const v1::DescribeCollectionRequest* request,
    v1::DescribeCollectionResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kDescribeCollection, context);
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
  return call->Answered([&]() -> absl::Status {
    RETURN_IF_ERROR(CheckCollection(request->collection()));
    ASSIGN_OR_RETURN(const CollectionInfo info,
                     parts_.engine.DescribeCollection(request->collection()));
    response->set_points(info.points);
    return absl::OkStatus();
  }());
}

grpc::ServerUnaryReactor* VectorService::Cluster(grpc::CallbackServerContext* context,
                                                 const v1::ClusterRequest* request,
                                                 v1::ClusterResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kCluster, context);
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
