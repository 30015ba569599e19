#pragma once

#include "baton/v1/vector.grpc.pb.h"
#include "server/rpc.h"

namespace baton {

using VectorQueryMethods = v1::VectorService::WithCallbackMethod_SearchGroups<
    v1::VectorService::WithCallbackMethod_SearchRange<
        v1::VectorService::WithCallbackMethod_Scroll<v1::VectorService::WithCallbackMethod_Facet<
            v1::VectorService::WithCallbackMethod_PatchPayload<
                v1::VectorService::WithCallbackMethod_CreatePayloadIndex<
                    v1::VectorService::WithCallbackMethod_DropPayloadIndex<
                        v1::VectorService::WithCallbackMethod_UpdateAliases<
                            v1::VectorService::WithCallbackMethod_ListAliases<
                                v1::VectorService::Service>>>>>>>>>;
// All methods through the callback API; UpsertStream gets its messages as bytes, see there.
using VectorCallbackService = v1::VectorService::WithCallbackMethod_CreateCollection<
    v1::VectorService::WithCallbackMethod_DropCollection<
        v1::VectorService::WithCallbackMethod_ListCollections<
            v1::VectorService::WithCallbackMethod_DescribeCollection<
                v1::VectorService::WithCallbackMethod_Upsert<
                    v1::VectorService::WithRawCallbackMethod_UpsertStream<
                        v1::VectorService::WithCallbackMethod_Delete<
                            v1::VectorService::WithCallbackMethod_Get<
                                v1::VectorService::WithCallbackMethod_Search<
                                    v1::VectorService::WithCallbackMethod_SearchBatch<
                                        v1::VectorService::WithCallbackMethod_Count<
                                            v1::VectorService::WithCallbackMethod_Cluster<
                                                VectorQueryMethods>>>>>>>>>>>>;

// baton.v1.VectorService. Thread safe; no method blocks.
class VectorService final : public VectorCallbackService {
 public:
  explicit VectorService(const RpcParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* CreateCollection(grpc::CallbackServerContext* context,
                                             const v1::CreateCollectionRequest* request,
                                             v1::CreateCollectionResponse* response) override;
  grpc::ServerUnaryReactor* DropCollection(grpc::CallbackServerContext* context,
                                           const v1::DropCollectionRequest* request,
                                           v1::DropCollectionResponse* response) override;
  grpc::ServerUnaryReactor* ListCollections(grpc::CallbackServerContext* context,
                                            const v1::ListCollectionsRequest* request,
                                            v1::ListCollectionsResponse* response) override;
  grpc::ServerUnaryReactor* DescribeCollection(grpc::CallbackServerContext* context,
                                               const v1::DescribeCollectionRequest* request,
                                               v1::DescribeCollectionResponse* response) override;
  grpc::ServerUnaryReactor* Upsert(grpc::CallbackServerContext* context,
                                   const v1::UpsertRequest* request,
                                   v1::UpsertResponse* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* UpsertStream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context,
                                   const v1::DeleteRequest* request,
                                   v1::DeleteResponse* response) override;
  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const v1::GetRequest* request,
                                v1::GetResponse* response) override;
  grpc::ServerUnaryReactor* Search(grpc::CallbackServerContext* context,
                                   const v1::SearchRequest* request,
                                   v1::SearchResponse* response) override;
  grpc::ServerUnaryReactor* SearchBatch(grpc::CallbackServerContext* context,
                                        const v1::SearchBatchRequest* request,
                                        v1::SearchBatchResponse* response) override;
  grpc::ServerUnaryReactor* Count(grpc::CallbackServerContext* context,
                                  const v1::CountRequest* request,
                                  v1::CountResponse* response) override;
  grpc::ServerUnaryReactor* Cluster(grpc::CallbackServerContext* context,
                                    const v1::ClusterRequest* request,
                                    v1::ClusterResponse* response) override;
  grpc::ServerUnaryReactor* SearchRange(grpc::CallbackServerContext* context,
                                        const v1::SearchRangeRequest* request,
                                        v1::SearchRangeResponse* response) override;
  grpc::ServerUnaryReactor* SearchGroups(grpc::CallbackServerContext* context,
                                         const v1::SearchGroupsRequest* request,
                                         v1::SearchGroupsResponse* response) override;
  grpc::ServerUnaryReactor* Scroll(grpc::CallbackServerContext* context,
                                   const v1::ScrollRequest* request,
                                   v1::ScrollResponse* response) override;
  grpc::ServerUnaryReactor* Facet(grpc::CallbackServerContext* context,
                                  const v1::FacetRequest* request,
                                  v1::FacetResponse* response) override;
  grpc::ServerUnaryReactor* PatchPayload(grpc::CallbackServerContext* context,
                                         const v1::PatchPayloadRequest* request,
                                         v1::PatchPayloadResponse* response) override;
  grpc::ServerUnaryReactor* CreatePayloadIndex(grpc::CallbackServerContext* context,
                                               const v1::CreatePayloadIndexRequest* request,
                                               v1::CreatePayloadIndexResponse* response) override;
  grpc::ServerUnaryReactor* DropPayloadIndex(grpc::CallbackServerContext* context,
                                             const v1::DropPayloadIndexRequest* request,
                                             v1::DropPayloadIndexResponse* response) override;
  grpc::ServerUnaryReactor* UpdateAliases(grpc::CallbackServerContext* context,
                                          const v1::UpdateAliasesRequest* request,
                                          v1::UpdateAliasesResponse* response) override;
  grpc::ServerUnaryReactor* ListAliases(grpc::CallbackServerContext* context,
                                        const v1::ListAliasesRequest* request,
                                        v1::ListAliasesResponse* response) override;

 private:
  const RpcParts parts_;
};

}  // namespace baton
