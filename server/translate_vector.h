#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "baton/v1/vector.pb.h"
#include "engine/base/clock.h"
#include "engine/request/vector_request.h"

// VectorService's messages and the engine's. The engine knows the collection and checks vectors,
// payloads and the collection's parameters against it.
namespace baton {

absl::StatusOr<CollectionSpec> ToSpec(const v1::CollectionSpec& proto);
absl::StatusOr<UpsertRequest> ToUpsert(const v1::UpsertRequest& proto, Envelope envelope);
absl::StatusOr<DeleteRequest> ToDelete(const v1::DeleteRequest& proto, Envelope envelope);
absl::StatusOr<GetRequest> ToGet(const v1::GetRequest& proto);
absl::StatusOr<SearchRequest> ToSearch(const v1::SearchRequest& proto, Envelope envelope);
absl::StatusOr<SearchRequest> ToSearch(const v1::SearchBatchRequest& proto, Envelope envelope);
absl::StatusOr<SearchRequest> ToSearch(const v1::SearchRangeRequest& proto, Envelope envelope);
absl::StatusOr<SearchGroupsRequest> ToSearchGroups(const v1::SearchGroupsRequest& proto,
                                                   Envelope envelope);
absl::StatusOr<CountRequest> ToCount(const v1::CountRequest& proto);
absl::StatusOr<ScrollRequest> ToScroll(const v1::ScrollRequest& proto);
absl::StatusOr<FacetRequest> ToFacet(const v1::FacetRequest& proto);
absl::StatusOr<PatchPayloadRequest> ToPatch(const v1::PatchPayloadRequest& proto,
                                            Envelope envelope);
absl::StatusOr<std::vector<AliasAction>> ToAliasActions(const v1::UpdateAliasesRequest& proto);

void ToProto(const CollectionInfo& info, v1::CollectionInfo& proto);
// Those of one collection, or, where it is empty, all.
void ToProto(const std::vector<Alias>& aliases, const std::string& collection,
             google::protobuf::RepeatedPtrField<v1::Alias>& proto);
void ToProto(const UpsertResult& result, v1::UpsertResponse& proto);
void ToProto(const DeleteResult& result, v1::DeleteResponse& proto);
void ToProto(std::vector<Point> points, v1::GetResponse& proto);
// `result` holds one query's points.
void ToProto(SearchResult result, v1::SearchResponse& proto);
void ToProto(SearchResult result, v1::SearchRangeResponse& proto);
void ToProto(SearchResult result, v1::SearchBatchResponse& proto);
void ToProto(SearchGroupsResult result, v1::SearchGroupsResponse& proto);
void ToProto(ScrollResult result, v1::ScrollResponse& proto);
void ToProto(const std::vector<FacetHit>& hits, v1::FacetResponse& proto);

}  // namespace baton
