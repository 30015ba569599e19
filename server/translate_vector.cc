#include "server/translate_vector.h"

#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "server/translate.h"

namespace baton {
namespace {

constexpr int64_t kPointsMax = 10'000;
constexpr int64_t kQueriesMax = 10'000;
// Points that one answer may hold: 10,000 queries of k 10,000 would be gigabytes.
constexpr int64_t kAnswerPointsMax = 1'000'000;

static_assert(v1::METRIC_COSINE == static_cast<int>(Metric::kCosine) + 1);
static_assert(v1::INDEX_KIND_HNSW == static_cast<int>(IndexKind::kHnsw) + 1);
static_assert(v1::INDEX_KIND_IVF_SQ == static_cast<int>(IndexKind::kIvfSq) + 1);
static_assert(v1::METRIC_L2 == static_cast<int>(Metric::kL2) + 1);

SearchParams ToParams(const v1::SearchParams& proto) {
  SearchParams params;
  params.k = proto.k();
  params.exact = proto.exact();
  if (proto.has_ef()) params.ef = proto.ef();
  if (proto.has_with_payload()) params.with_payload = proto.with_payload();
  params.with_vectors = proto.with_vectors();
  if (proto.has_nprobe()) params.nprobe = proto.nprobe();
  return params;
}

void SetScored(ScoredPoint point, v1::ScoredPoint& proto) {
  proto.set_id(point.id);
  proto.set_score(point.score);
  ToProto(std::move(point.payload), *proto.mutable_payload());
  proto.mutable_vector()->Add(point.vector.begin(), point.vector.end());
}

}  // namespace

absl::StatusOr<CollectionSpec> ToSpec(const v1::CollectionSpec& proto) {
  CollectionSpec spec{.name = proto.name(), .dimension = proto.dimension()};
  if (proto.metric() != v1::METRIC_UNSPECIFIED) {
    if (!v1::Metric_IsValid(proto.metric())) {
      return absl::InvalidArgumentError(
          StrCat("spec.metric must be 1 to 3 (cosine, dot, l2), but is ",
                 static_cast<int>(proto.metric())));
    }
    spec.metric = static_cast<Metric>(proto.metric() - 1);
  }
  if (proto.has_hnsw_m()) spec.hnsw_m = proto.hnsw_m();
  if (proto.has_hnsw_ef_construction()) spec.hnsw_ef_construction = proto.hnsw_ef_construction();
  if (proto.index() != v1::INDEX_KIND_UNSPECIFIED) {
    if (!v1::IndexKind_IsValid(proto.index())) {
      return absl::InvalidArgumentError(
          StrCat("spec.index must be 1 to 3 (hnsw, ivf_pq, ivf_sq), but is ",
                 static_cast<int>(proto.index())));
    }
    spec.index = static_cast<IndexKind>(proto.index() - 1);
  }
  if (proto.has_ivf_lists()) spec.ivf_lists = proto.ivf_lists();
  if (proto.has_ivf_pq_bytes()) spec.ivf_pq_bytes = proto.ivf_pq_bytes();
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
    request.points.push_back({.id = point.id(),
                              .vector = {point.vector().begin(), point.vector().end()},
                              .payload = std::move(payload)});
  }
  return request;
}

absl::StatusOr<DeleteRequest> ToDelete(const v1::DeleteRequest& proto, Envelope envelope) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  RETURN_IF_ERROR(CheckCount("ids", proto.ids_size(), {.min = 1, .max = kPointsMax}));
  return DeleteRequest{.envelope = std::move(envelope),
                       .collection = proto.collection(),
                       .ids = {proto.ids().begin(), proto.ids().end()}};
}

absl::StatusOr<GetRequest> ToGet(const v1::GetRequest& proto) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  RETURN_IF_ERROR(CheckCount("ids", proto.ids_size(), {.min = 1, .max = kPointsMax}));
  GetRequest request{.collection = proto.collection(),
                     .ids = {proto.ids().begin(), proto.ids().end()},
                     .with_vectors = proto.with_vectors()};
  if (proto.has_with_payload()) request.with_payload = proto.with_payload();
  return request;
}

absl::StatusOr<SearchRequest> ToSearch(const v1::SearchRequest& proto, Envelope envelope) {
  RETURN_IF_ERROR(CheckCollection(proto.collection()));
  SearchRequest request{.envelope = std::move(envelope), .collection = proto.collection()};
  request.queries.emplace_back(proto.vector().begin(), proto.vector().end());
  request.params = ToParams(proto.params());
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
  request.queries.reserve(static_cast<size_t>(proto.queries_size()));
  for (const v1::SearchBatchQuery& query : proto.queries()) {
    request.queries.emplace_back(query.vector().begin(), query.vector().end());
  }
  request.params = ToParams(proto.params());
  return request;
}

void ToProto(const CollectionInfo& info, v1::CollectionInfo& proto) {
  v1::CollectionSpec& spec = *proto.mutable_spec();
  spec.set_name(info.spec.name);
  spec.set_dimension(info.spec.dimension);
  spec.set_metric(static_cast<v1::Metric>(static_cast<int>(info.spec.metric) + 1));
  spec.set_hnsw_m(info.spec.hnsw_m);
  spec.set_hnsw_ef_construction(info.spec.hnsw_ef_construction);
  spec.set_index(static_cast<v1::IndexKind>(static_cast<int>(info.spec.index) + 1));
  spec.set_ivf_lists(info.spec.ivf_lists);
  spec.set_ivf_pq_bytes(info.spec.ivf_pq_bytes);
  proto.set_points(info.points);
  proto.set_points_unindexed(info.points_unindexed);
  proto.set_segments(info.segments);
  proto.set_embedder(info.embedder);
}

void ToProto(const UpsertResult& result, v1::UpsertResponse& proto) {
  proto.set_points(result.points);
  ToProto(result.timings, *proto.mutable_timings());
}

void ToProto(const DeleteResult& result, v1::DeleteResponse& proto) {
  proto.set_deleted(result.deleted);
}

void ToProto(std::vector<Point> points, v1::GetResponse& proto) {
  for (Point& point : points) {
    v1::Point& added = *proto.add_points();
    added.set_id(point.id);
    added.mutable_vector()->Add(point.vector.begin(), point.vector.end());
    ToProto(std::move(point.payload), *added.mutable_payload());
  }
}

void ToProto(SearchResult result, v1::SearchResponse& proto) {
  if (!result.results.empty()) {
    for (ScoredPoint& point : result.results.front()) {
      SetScored(std::move(point), *proto.add_points());
    }
  }
  ToProto(result.timings, *proto.mutable_timings());
}

void ToProto(SearchResult result, v1::SearchBatchResponse& proto) {
  for (std::vector<ScoredPoint>& points : result.results) {
    v1::SearchBatchResult& added = *proto.add_results();
    for (ScoredPoint& point : points) SetScored(std::move(point), *added.add_points());
  }
  ToProto(result.timings, *proto.mutable_timings());
}

}  // namespace baton
