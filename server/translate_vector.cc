#include "server/translate_vector.h"

#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "server/translate.h"
#include "server/translate_filter.h"
#include "server/translate_ids.h"

namespace baton {
namespace {

constexpr int64_t kPointsMax = 10'000;
constexpr int64_t kQueriesMax = 10'000;
constexpr int64_t kAliasActionsMax = 10'000;
// Points that one answer may hold: 10,000 queries of k 10,000 would be gigabytes.
constexpr int64_t kAnswerPointsMax = 1'000'000;

static_assert(v1::METRIC_COSINE == static_cast<int>(Metric::kCosine) + 1);
static_assert(v1::INDEX_KIND_HNSW == static_cast<int>(IndexKind::kHnsw) + 1);
static_assert(v1::INDEX_KIND_IVF_SQ == static_cast<int>(IndexKind::kIvfSq) + 1);
static_assert(v1::FUSION_KIND_WEIGHTED == static_cast<int>(FusionKind::kWeighted) + 1);
static_assert(v1::VECTOR_STORAGE_F32 == static_cast<int>(VectorStorage::kF32) + 1);
static_assert(v1::VECTOR_STORAGE_INT8 == static_cast<int>(VectorStorage::kInt8) + 1);
static_assert(v1::METRIC_L2 == static_cast<int>(Metric::kL2) + 1);

absl::StatusOr<SearchParams> ToParams(const v1::SearchParams& proto) {
  SearchParams params;
  params.k = proto.k();
  params.exact = proto.exact();
  if (proto.has_ef()) params.ef = proto.ef();
  if (proto.has_recall_target()) {
    if (proto.has_ef()) {
      return absl::InvalidArgumentError(
          "there are both params.ef and params.recall_target, allowed is one of them");
    }
    params.recall_target = proto.recall_target();
  }
  if (proto.has_with_payload()) params.with_payload = proto.with_payload();
  params.with_vectors = proto.with_vectors();
  if (proto.has_nprobe()) params.nprobe = proto.nprobe();
  if (proto.has_filter()) {
    ASSIGN_OR_RETURN(params.filter, ToFilter(proto.filter()));
  }
  if (proto.has_score_threshold()) params.score_threshold = proto.score_threshold();
  params.partition = ToPartition(proto);
  params.offset = proto.offset();
  params.allow_partial = proto.allow_partial();
  return params;
}

TextQuery ToText(const v1::TextQuery& proto) {
  TextQuery text{.text = proto.text(), .field = proto.field()};
  if (proto.has_k1()) text.k1 = proto.k1();
  if (proto.has_b()) text.b = proto.b();
  return text;
}

absl::StatusOr<FusionParams> ToFusion(const v1::Fusion& proto) {
  FusionParams fusion;
  if (proto.kind() != v1::FUSION_KIND_UNSPECIFIED) {
    if (!v1::FusionKind_IsValid(proto.kind())) {
      return absl::InvalidArgumentError(
          StrCat("fusion.kind must be 1 or 2 (reciprocal rank, weighted), but is ",
                 static_cast<int>(proto.kind())));
    }
    fusion.kind = static_cast<FusionKind>(proto.kind() - 1);
  }
  if (proto.has_rank_constant()) fusion.rank_constant = proto.rank_constant();
  if (proto.has_dense_weight()) fusion.dense_weight = proto.dense_weight();
  if (proto.has_text_weight()) fusion.text_weight = proto.text_weight();
  if (proto.has_candidates()) fusion.candidates = proto.candidates();
  return fusion;
}

template <class Request>
absl::Status CheckIds(const Request& proto) {
  return CheckCount("ids", int64_t{proto.ids_size()} + proto.uuids_size(),
                    {.min = 1, .max = kPointsMax});
}

// Either ids or a filter.
template <class Request>
absl::Status CheckChoice(const Request& proto) {
  if (!proto.has_filter() && proto.partition().empty()) {
    return CheckIds(proto);
  }
  if (proto.ids_size() + proto.uuids_size() == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("there are both ids and a ",
                                           proto.has_filter() ? "filter" : "partition",
                                           ", allowed is one of them"));
}

// A page's offset is the first id on it, in hexadecimal, or as a UUID.
constexpr std::string_view kOffsetPrefix = "id-";

absl::StatusOr<PointId> ToFirstId(std::string_view offset) {
  if (offset.empty()) return PointId{0};
  uint64_t id = 0;
  if (offset.substr(0, kOffsetPrefix.size()) == kOffsetPrefix) {
    const std::string_view digits = offset.substr(kOffsetPrefix.size());
    if (const auto uuid = ParseUuid(digits); uuid.has_value()) return *uuid;
    const char* const end = digits.data() + digits.size();
    const auto read = std::from_chars(digits.data(), end, id, 16);
    if (read.ec == std::errc() && read.ptr == end) return PointId(id);
  }
  return absl::InvalidArgumentError(
      StrCat("offset must be the next_offset of another page, but is \"", Escaped(offset), "\""));
}

// What a collection's unnamed vector and a named one have in common. `field`: how the client knows
// the message, with a dot.
template <class Spec>
absl::Status SetVectorSpec(const Spec& proto, const std::string& field, CollectionSpec& spec) {
  spec.dimension = proto.dimension();
  if (proto.metric() != v1::METRIC_UNSPECIFIED) {
    if (!v1::Metric_IsValid(proto.metric())) {
      return absl::InvalidArgumentError(StrCat(field,
                                               "metric must be 1 to 3 (cosine, dot, l2), but is ",
                                               static_cast<int>(proto.metric())));
    }
    spec.metric = static_cast<Metric>(proto.metric() - 1);
  }
  if (proto.has_hnsw_m()) spec.hnsw_m = proto.hnsw_m();
  if (proto.has_hnsw_ef_construction()) spec.hnsw_ef_construction = proto.hnsw_ef_construction();
  if (proto.index() != v1::INDEX_KIND_UNSPECIFIED) {
    if (!v1::IndexKind_IsValid(proto.index())) {
      return absl::InvalidArgumentError(
          StrCat(field, "index must be 1 to 3 (hnsw, ivf_pq, ivf_sq), but is ",
                 static_cast<int>(proto.index())));
    }
    spec.index = static_cast<IndexKind>(proto.index() - 1);
  }
  if (proto.has_ivf_lists()) spec.ivf_lists = proto.ivf_lists();
  if (proto.has_ivf_pq_bytes()) spec.ivf_pq_bytes = proto.ivf_pq_bytes();
  if (proto.has_ivf_pq_bits()) spec.ivf_pq_bits = proto.ivf_pq_bits();
  if (proto.storage() != v1::VECTOR_STORAGE_UNSPECIFIED) {
    if (!v1::VectorStorage_IsValid(proto.storage())) {
      return absl::InvalidArgumentError(
          StrCat(field, "storage must be 1 to 4 (f32, f16, bf16, int8), but is ",
                 static_cast<int>(proto.storage())));
    }
    spec.storage = static_cast<VectorStorage>(proto.storage() - 1);
  }
  return absl::OkStatus();
}

template <class Spec>
void VectorSpecToProto(const CollectionSpec& spec, Spec& proto) {
  proto.set_dimension(spec.dimension);
  proto.set_metric(static_cast<v1::Metric>(static_cast<int>(spec.metric) + 1));
  proto.set_hnsw_m(spec.hnsw_m);
  proto.set_hnsw_ef_construction(spec.hnsw_ef_construction);
  proto.set_index(static_cast<v1::IndexKind>(static_cast<int>(spec.index) + 1));
  proto.set_ivf_lists(spec.ivf_lists);
  proto.set_ivf_pq_bytes(spec.ivf_pq_bytes);
  proto.set_ivf_pq_bits(spec.ivf_pq_bits);
  proto.set_storage(static_cast<v1::VectorStorage>(static_cast<int>(spec.storage) + 1));
}

void SetVectors(const std::vector<NamedVector>& vectors,
                google::protobuf::RepeatedPtrField<v1::NamedVector>& proto) {
  for (const NamedVector& vector : vectors) {
    v1::NamedVector& added = *proto.Add();
    added.set_name(vector.name);
    added.mutable_values()->Add(vector.values.begin(), vector.values.end());
  }
}

void SetPoint(Point point, v1::Point& proto) {
  SetId(point.id, proto);
  proto.mutable_vector()->Add(point.vector.begin(), point.vector.end());
  SetVectors(point.named, *proto.mutable_vectors());
  ToProto(std::move(point.payload), *proto.mutable_payload());
}

void SetScored(ScoredPoint point, v1::ScoredPoint& proto) {
  SetId(point.id, proto);
  proto.set_score(point.score);
  ToProto(std::move(point.payload), *proto.mutable_payload());
  proto.mutable_vector()->Add(point.vector.begin(), point.vector.end());
  SetVectors(point.named, *proto.mutable_vectors());
  if (!point.parts.has_value()) return;
  v1::ScoreParts& parts = *proto.mutable_parts();
  if (point.parts->dense_rank > 0) {
    parts.set_dense_score(point.parts->dense_score);
    parts.set_dense_rank(point.parts->dense_rank);
  }
  if (point.parts->text_rank > 0) {
    parts.set_text_score(point.parts->text_score);
    parts.set_text_rank(point.parts->text_rank);
  }
}

}  // namespace

absl::StatusOr<CollectionSpec> ToSpec(const v1::CollectionSpec& proto) {
  CollectionSpec spec{.name = proto.name(), .partition_key = proto.partition_key()};
  RETURN_IF_ERROR(SetVectorSpec(proto, "spec.", spec));
  for (int i = 0; i < proto.vectors_size(); ++i) {
    const v1::NamedVectorSpec& vector = proto.vectors(i);
    CollectionSpec& added = spec.vectors.emplace_back(CollectionSpec{
        .name = proto.name(), .vector_name = vector.name(), .embedder = vector.embedder()});
    RETURN_IF_ERROR(SetVectorSpec(vector, StrCat("spec.vectors[", i, "]."), added));
  }
  return spec;
}

absl::StatusOr<UpsertRequest> ToUpsert(const v1::UpsertRequest& proto, Envelope envelope) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  RETURN_IF_ERROR(CheckCount("points", proto.points_size(), {.min = 1, .max = kPointsMax}));
  UpsertRequest request{.envelope = std::move(envelope), .collection = proto.collection()};
  request.points.reserve(static_cast<size_t>(proto.points_size()));
  for (int i = 0; i < proto.points_size(); ++i) {
    const v1::Point& point = proto.points(i);
    ASSIGN_OR_RETURN(Payload payload,
                     ToPayload(point.payload(), StrCat("points[", i, "].payload")));
    ASSIGN_OR_RETURN(const PointId id,
                     ToPointId(point.id(), point.uuid(), StrCat("points[", i, "].uuid")));
    request.points.push_back({.id = id,
                              .vector = {point.vector().begin(), point.vector().end()},
                              .payload = std::move(payload)});
    for (const v1::NamedVector& vector : point.vectors()) {
      request.points.back().named.push_back(
          {.name = vector.name(), .values = {vector.values().begin(), vector.values().end()}});
    }
  }
  return request;
}

absl::StatusOr<DeleteRequest> ToDelete(const v1::DeleteRequest& proto, Envelope envelope) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  RETURN_IF_ERROR(CheckChoice(proto));
  DeleteRequest request{
      .envelope = std::move(envelope), .collection = proto.collection(), .ids = {}};
  request.partition = ToPartition(proto);
  ASSIGN_OR_RETURN(request.ids, ToPointIds(proto.ids(), proto.uuids()));
  if (proto.has_filter() || !proto.partition().empty()) {
    ASSIGN_OR_RETURN(request.filter, ToFilter(proto.filter()));
  }
  return request;
}

absl::StatusOr<GetRequest> ToGet(const v1::GetRequest& proto) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  RETURN_IF_ERROR(CheckIds(proto));
  GetRequest request{.collection = proto.collection(), .with_vectors = proto.with_vectors()};
  ASSIGN_OR_RETURN(request.ids, ToPointIds(proto.ids(), proto.uuids()));
  if (proto.has_with_payload()) request.with_payload = proto.with_payload();
  return request;
}

absl::StatusOr<SearchRequest> ToSearch(const v1::SearchRequest& proto, Envelope envelope) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  SearchRequest request{.envelope = std::move(envelope), .collection = proto.collection()};
  request.vector_name = proto.vector_name();
  request.queries.emplace_back(proto.vector().begin(), proto.vector().end());
  ASSIGN_OR_RETURN(request.params, ToParams(proto.params()));
  if (proto.has_text()) request.texts.push_back(ToText(proto.text()));
  ASSIGN_OR_RETURN(request.fusion, ToFusion(proto.fusion()));
  return request;
}

absl::StatusOr<SearchRequest> ToSearch(const v1::SearchBatchRequest& proto, Envelope envelope) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  RETURN_IF_ERROR(CheckCount("queries", proto.queries_size(), {.min = 1, .max = kQueriesMax}));
  const int64_t points = int64_t{proto.queries_size()} * proto.params().k();
  if (points > kAnswerPointsMax) {
    return absl::InvalidArgumentError(
        StrCat("queries times params.k must be at most ", kAnswerPointsMax, ", but is ", points));
  }
  SearchRequest request{.envelope = std::move(envelope), .collection = proto.collection()};
  request.vector_name = proto.vector_name();
  request.queries.reserve(static_cast<size_t>(proto.queries_size()));
  for (const v1::SearchBatchQuery& query : proto.queries()) {
    request.queries.emplace_back(query.vector().begin(), query.vector().end());
    if (query.has_text()) request.texts.push_back(ToText(query.text()));
  }
  ASSIGN_OR_RETURN(request.fusion, ToFusion(proto.fusion()));
  ASSIGN_OR_RETURN(request.params, ToParams(proto.params()));
  return request;
}

absl::StatusOr<SearchRequest> ToSearch(const v1::SearchRangeRequest& proto, Envelope envelope) {
  constexpr int32_t kLimit = 10'000;
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  const v1::SearchParams& params = proto.params();
  if (params.k() != 0 || params.has_offset() || params.has_score_threshold()) {
    return absl::InvalidArgumentError(
        "params.k, params.offset and params.score_threshold must be left out: a search of a range "
        "has limit and score_threshold");
  }
  SearchRequest request{.envelope = std::move(envelope), .collection = proto.collection()};
  request.vector_name = proto.vector_name();
  request.queries.emplace_back(proto.vector().begin(), proto.vector().end());
  ASSIGN_OR_RETURN(request.params, ToParams(params));
  request.params.k = proto.has_limit() ? proto.limit() : kLimit;
  if (proto.has_score_threshold()) request.params.score_threshold = proto.score_threshold();
  request.is_range = true;
  return request;
}

absl::StatusOr<SearchGroupsRequest> ToSearchGroups(const v1::SearchGroupsRequest& proto,
                                                   Envelope envelope) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  SearchGroupsRequest request{.envelope = std::move(envelope),
                              .collection = proto.collection(),
                              .query = {proto.vector().begin(), proto.vector().end()}};
  ASSIGN_OR_RETURN(request.params, ToParams(proto.params()));
  request.vector_name = proto.vector_name();
  request.group_by.field = proto.group_by();
  if (proto.has_group_size()) request.group_by.group_size = proto.group_size();
  return request;
}

absl::StatusOr<CountRequest> ToCount(const v1::CountRequest& proto) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  CountRequest request{.collection = proto.collection()};
  request.partition = ToPartition(proto);
  if (proto.has_filter()) {
    ASSIGN_OR_RETURN(request.filter, ToFilter(proto.filter()));
  }
  return request;
}

absl::StatusOr<ScrollRequest> ToScroll(const v1::ScrollRequest& proto) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  ScrollRequest request{.collection = proto.collection()};
  request.partition = ToPartition(proto);
  if (proto.has_filter()) {
    ASSIGN_OR_RETURN(request.filter, ToFilter(proto.filter()));
  }
  if (proto.has_limit()) request.limit = proto.limit();
  RETURN_IF_ERROR(CheckCount("limit", request.limit, {.min = 1, .max = kPointsMax}));
  ASSIGN_OR_RETURN(request.first, ToFirstId(proto.offset()));
  if (proto.has_with_payload()) request.with_payload = proto.with_payload();
  request.with_vectors = proto.with_vectors();
  return request;
}

absl::StatusOr<FacetRequest> ToFacet(const v1::FacetRequest& proto) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  FacetRequest request{.collection = proto.collection(), .field = proto.field()};
  request.partition = ToPartition(proto);
  if (proto.has_filter()) {
    ASSIGN_OR_RETURN(request.filter, ToFilter(proto.filter()));
  }
  if (proto.has_limit()) request.limit = proto.limit();
  RETURN_IF_ERROR(CheckCount("limit", request.limit, {.min = 1, .max = kPointsMax}));
  return request;
}

absl::StatusOr<PatchPayloadRequest> ToPatch(const v1::PatchPayloadRequest& proto,
                                            Envelope envelope) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  RETURN_IF_ERROR(CheckChoice(proto));
  PatchPayloadRequest request{.envelope = std::move(envelope), .collection = proto.collection()};
  request.partition = ToPartition(proto);
  ASSIGN_OR_RETURN(request.patch.ids, ToPointIds(proto.ids(), proto.uuids()));
  request.patch.clear = proto.clear();
  request.patch.delete_keys = {proto.delete_keys().begin(), proto.delete_keys().end()};
  ASSIGN_OR_RETURN(request.patch.set, ToPayload(proto.set(), "set"));
  if (proto.has_filter() || !proto.partition().empty()) {
    ASSIGN_OR_RETURN(request.filter, ToFilter(proto.filter()));
  }
  return request;
}

absl::StatusOr<std::vector<AliasAction>> ToAliasActions(const v1::UpdateAliasesRequest& proto) {
  RETURN_IF_ERROR(CheckCount("actions", proto.actions_size(), {.min = 1, .max = kAliasActionsMax}));
  std::vector<AliasAction> actions;
  for (const v1::AliasAction& action : proto.actions()) {
    switch (action.action_case()) {
      case v1::AliasAction::kCreate:
        actions.push_back({.kind = AliasAction::Kind::kSet,
                           .alias = action.create().alias(),
                           .collection = action.create().collection()});
        break;
      case v1::AliasAction::kRename:
        actions.push_back({.kind = AliasAction::Kind::kRename,
                           .alias = action.rename().alias(),
                           .new_name = action.rename().new_alias()});
        break;
      case v1::AliasAction::kDelete:
        actions.push_back({.kind = AliasAction::Kind::kDelete, .alias = action.delete_().alias()});
        break;
      case v1::AliasAction::ACTION_NOT_SET:
        return absl::InvalidArgumentError(
            StrCat("actions[", actions.size(), "] is empty: it must be create, rename or delete"));
    }
  }
  return actions;
}

void ToProto(const std::vector<Alias>& aliases, const std::string& collection,
             google::protobuf::RepeatedPtrField<v1::Alias>& proto) {
  for (const Alias& alias : aliases) {
    if (!collection.empty() && alias.collection != collection) continue;
    v1::Alias& added = *proto.Add();
    added.set_alias(alias.name);
    added.set_collection(alias.collection);
  }
}

void ToProto(const CollectionInfo& info, v1::CollectionInfo& proto) {
  v1::CollectionSpec& spec = *proto.mutable_spec();
  spec.set_name(info.spec.name);
  spec.set_partition_key(info.spec.partition_key);
  VectorSpecToProto(info.spec, spec);
  for (const CollectionSpec& vector : info.spec.vectors) {
    v1::NamedVectorSpec& added = *spec.add_vectors();
    added.set_name(vector.vector_name);
    added.set_embedder(vector.embedder);
    VectorSpecToProto(vector, added);
  }
  for (const NamedVectorInfo& vector : info.vectors) {
    v1::NamedVectorInfo& added = *proto.add_vectors();
    added.set_name(vector.name);
    added.set_points(vector.points);
    added.set_points_unindexed(vector.points_unindexed);
    added.set_segments(vector.segments);
  }
  proto.set_points(info.points);
  proto.set_points_unindexed(info.points_unindexed);
  proto.set_segments(info.segments);
  proto.set_embedder(info.embedder);
  proto.mutable_aliases()->Add(info.aliases.begin(), info.aliases.end());
  for (const PayloadIndex& index : info.payload_indexes) {
    v1::PayloadIndex& added = *proto.add_payload_indexes();
    added.set_field(index.field);
    added.set_kind(ToProto(index.kind));
  }
  for (const ComingIndex& coming : info.coming_indexes) {
    v1::ComingPayloadIndex& added = *proto.add_coming_payload_indexes();
    added.mutable_index()->set_field(coming.index.field);
    added.mutable_index()->set_kind(ToProto(coming.index.kind));
    added.set_points_done(coming.points_done);
  }
}

void ToProto(const UpsertResult& result, v1::UpsertResponse& proto) {
  proto.set_points(result.points);
  ToProto(result.timings, *proto.mutable_timings());
}

void ToProto(const DeleteResult& result, v1::DeleteResponse& proto) {
  proto.set_deleted(result.deleted);
}

void ToProto(std::vector<Point> points, v1::GetResponse& proto) {
  for (Point& point : points) SetPoint(std::move(point), *proto.add_points());
}

void ToProto(SearchResult result, v1::SearchResponse& proto) {
  if (!result.results.empty()) {
    for (ScoredPoint& point : result.results.front()) {
      SetScored(std::move(point), *proto.add_points());
    }
  }
  proto.set_unsearched_points(result.unsearched_points);
  ToProto(result.timings, *proto.mutable_timings());
}

void ToProto(SearchResult result, v1::SearchRangeResponse& proto) {
  if (!result.results.empty()) {
    for (ScoredPoint& point : result.results.front()) {
      SetScored(std::move(point), *proto.add_points());
    }
  }
  proto.set_more(result.more);
  proto.set_unsearched_points(result.unsearched_points);
  ToProto(result.timings, *proto.mutable_timings());
}

void ToProto(SearchResult result, v1::SearchBatchResponse& proto) {
  for (std::vector<ScoredPoint>& points : result.results) {
    v1::SearchBatchResult& added = *proto.add_results();
    for (ScoredPoint& point : points) SetScored(std::move(point), *added.add_points());
  }
  proto.set_unsearched_points(result.unsearched_points);
  ToProto(result.timings, *proto.mutable_timings());
}

void ToProto(SearchGroupsResult result, v1::SearchGroupsResponse& proto) {
  for (SearchGroup& group : result.groups) {
    v1::SearchGroup& added = *proto.add_groups();
    ToProto(group.value, *added.mutable_value());
    for (ScoredPoint& point : group.points) SetScored(std::move(point), *added.add_points());
  }
  proto.set_unsearched_points(result.unsearched_points);
  ToProto(result.timings, *proto.mutable_timings());
}

void ToProto(ScrollResult result, v1::ScrollResponse& proto) {
  for (Point& point : result.points) SetPoint(std::move(point), *proto.add_points());
  if (!result.next.has_value()) return;
  if (IsUuid(*result.next)) {
    proto.set_next_offset(StrCat(kOffsetPrefix, IdText(*result.next)));
    return;
  }
  char digits[16];
  const auto written = std::to_chars(digits, digits + sizeof(digits), LowerHalf(*result.next), 16);
  proto.set_next_offset(
      StrCat(kOffsetPrefix, std::string_view(digits, static_cast<size_t>(written.ptr - digits))));
}

void ToProto(const std::vector<FacetHit>& hits, v1::FacetResponse& proto) {
  for (const FacetHit& hit : hits) {
    v1::FacetHit& added = *proto.add_hits();
    ToProto(hit.value, *added.mutable_value());
    added.set_points(hit.points);
  }
}

}  // namespace baton
