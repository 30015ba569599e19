#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/ids.h"
#include "engine/request/filter.h"
#include "engine/request/hints.h"
#include "engine/request/route.h"

namespace baton {

using PayloadValue = std::variant<std::string, int64_t, double, bool, std::vector<std::string>,
                                  std::vector<int64_t>>;
using Payload = std::map<std::string, PayloadValue>;

// A vector beside the unnamed one.
struct NamedVector {
  std::string name;
  std::vector<float> values;  // [dimension of that name]
  friend bool operator==(const NamedVector&, const NamedVector&) = default;
};

struct Point {
  PointId id = 0;
  std::vector<float> vector;  // [dimension]; empty where the collection has no unnamed vector
  Payload payload;
  std::vector<NamedVector> named = {};  // each name once; any may be lacking
};

enum class Metric : uint8_t { kCosine, kDot, kL2 };

// What sealed segments are searched by: a graph; or an inverted file, which takes a fraction of its
// memory and some times its time, of product codes or of one byte per value.
enum class IndexKind : uint8_t { kHnsw, kIvfPq, kIvfSq };

// What each value of a vector is stored as: VectorFormat.
enum class VectorStorage : uint8_t { kF32, kF16, kBf16, kInt8 };

// A collection and its unnamed vector; or a named vector of one.
struct CollectionSpec {
  std::string name;
  int32_t dimension = 0;  // 0: there are only named vectors
  Metric metric = Metric::kCosine;
  int32_t hnsw_m = 16;
  int32_t hnsw_ef_construction = 200;
  IndexKind index = IndexKind::kHnsw;
  int32_t ivf_lists = 0;     // of each segment; 0: by its size
  int32_t ivf_pq_bytes = 0;  // of a row's code under kIvfPq; 0: by the dimension
  int32_t ivf_pq_bits = 4;   // of each part of it: 4 or 8
  VectorStorage storage = VectorStorage::kF32;
  std::vector<CollectionSpec> vectors = {};  // the named ones, in the order they were given
  // A field of every point's payload that says whose it is, see partition.h; empty: there is none.
  std::string partition_key = {};
  // ---- Of a named vector; empty otherwise
  std::string vector_name = {};
  std::string embedder = {};  // what Ask embeds questions by; empty: nothing does
};

// What there is of a named vector.
struct NamedVectorInfo {
  std::string name;
  int64_t points = 0;  // that have it
  int64_t points_unindexed = 0;
  int32_t segments = 0;
};

// A payload index that is being made of the points there are.
struct ComingIndex {
  PayloadIndex index;
  int64_t points_done = 0;
};

struct CollectionInfo {
  CollectionSpec spec;
  int64_t points = 0;
  int64_t points_unindexed = 0;
  int32_t segments = 0;
  std::string embedder;                            // empty: points came by Upsert alone
  std::vector<PayloadIndex> payload_indexes = {};  // by field
  std::vector<ComingIndex> coming_indexes = {};    // at most one
  std::vector<std::string> aliases = {};           // in their order
  std::vector<NamedVectorInfo> vectors = {};       // as in spec.vectors
};

// A name that stands for a collection wherever one is named, but where it is dropped.
struct Alias {
  std::string name;
  std::string collection;
  friend bool operator==(const Alias&, const Alias&) = default;
};

// One step of a change of aliases.
struct AliasAction {
  enum class Kind : uint8_t { kSet, kRename, kDelete };
  Kind kind = Kind::kSet;
  std::string alias;
  std::string collection = {};  // of kSet: what the alias stands for from then on
  std::string new_name = {};    // of kRename
};

// Whose points a request means, where the collection has a partition key.
struct PartitionChoice {
  std::string name = {};
  bool all = false;  // instead: everybody's
};

// Of a client that names no points: those that match. Null: it names them.
using FilterPtr = std::shared_ptr<const Filter>;

struct UpsertRequest {
  Envelope envelope;
  std::string collection;
  std::vector<Point> points;  // 1 to 10,000; the last of several with one id wins
};
struct UpsertResult {
  int64_t points = 0;
  Timings timings;
};

struct DeleteRequest {
  Envelope envelope;
  std::string collection;
  std::vector<PointId> ids;
  FilterPtr filter = nullptr;      // instead of ids
  PartitionChoice partition = {};  // with a filter, or alone: all of its points
};
struct DeleteResult {
  int64_t deleted = 0;
};

// Changes of payloads, in this order.
struct PayloadPatch {
  std::vector<PointId> ids;  // those that do not exist are ignored
  bool clear = false;        // delete all keys
  std::vector<std::string> delete_keys = {};
  Payload set = {};
};
struct PatchPayloadRequest {
  Envelope envelope;
  std::string collection;
  PayloadPatch patch;
  FilterPtr filter = nullptr;      // instead of patch.ids
  PartitionChoice partition = {};  // with a filter
};
struct PatchPayloadResult {
  int64_t points = 0;
};

struct GetRequest {
  std::string collection;
  std::vector<PointId> ids;
  bool with_vectors = false;
  bool with_payload = true;
};

struct SearchParams {
  int32_t k = 0;  // 1 to 10,000
  bool exact = false;
  int32_t ef = 64;  // 1 to 100,000
  // 0.5 to 0.999: instead of ef, of each segment's graph so many as find this share of the nearest.
  std::optional<double> recall_target = {};
  bool with_payload = true;
  bool with_vectors = false;
  // Lists of an inverted file to look at, 1 to 65,536; absent: by how many there are.
  std::optional<int32_t> nprobe = {};
  FilterPtr filter = nullptr;                 // null: all points
  std::optional<float> score_threshold = {};  // only this score or a better one
  int32_t offset = 0;                         // of the nearest, so many are left out
  PartitionChoice partition = {};
  bool allow_partial = false;  // what cannot be read is left out and counted, no error
};

// Words to look for, in a field with a text index; how they are scored: view_text.h.
struct TextQuery {
  std::string text;
  std::string field = {};  // empty: the only one that has a text index
  double k1 = 1.2;         // 0 to 100
  double b = 0.75;         // 0 to 1
};

// How what is near by vector and what is near by text become one list: fusion.h.
enum class FusionKind : uint8_t { kReciprocalRank, kWeighted };
struct FusionParams {
  FusionKind kind = FusionKind::kReciprocalRank;
  int32_t rank_constant = 60;  // of kReciprocalRank, 1 to 10,000
  double dense_weight = 1;     // 0 to 1,000,000, as the other; not both 0
  double text_weight = 1;
  // Of each list, so many of the best; absent: 100, or k + offset where that is more.
  std::optional<int32_t> candidates = {};
};

struct SearchRequest {
  Envelope envelope;
  std::string collection;
  // [queries][dimension]; or each empty, where there are texts: then those alone are looked for.
  std::vector<std::vector<float>> queries;
  SearchParams params;
  std::vector<TextQuery> texts = {};  // [queries], or empty: there are none
  FusionParams fusion = {};           // where there are both
  bool is_range = false;         // one query, all within params.score_threshold, at most params.k
  std::string vector_name = {};  // which vector the queries are compared with; empty: the unnamed
};

// What the score of a hit by vector and text was made of. A rank is from 1, of the candidates by
// that part alone; 0: it is not one of them, and has no score.
struct ScoreParts {
  float dense_score = 0;
  int32_t dense_rank = 0;
  float text_score = 0;
  int32_t text_rank = 0;
  friend bool operator==(const ScoreParts&, const ScoreParts&) = default;
};

struct ScoredPoint {
  PointId id = 0;
  // By the metric: cosine, inner product, or squared L2 distance; by text: BM25; by both: as fused.
  float score = 0;
  Payload payload;
  std::vector<float> vector;
  std::optional<ScoreParts> parts = {};  // of a search by text, or by both
  std::vector<NamedVector> named = {};
};
struct SearchResult {
  std::vector<std::vector<ScoredPoint>> results;  // one per query, nearest first
  Timings timings;
  int64_t unsearched_points = 0;  // under SearchParams::allow_partial
  bool more = false;              // of a range: there are others behind these
};

// Of the k nearest values of a field, the nearest points.
struct GroupBy {
  std::string field;
  int32_t group_size = 1;  // 1 to 100
};
struct SearchGroupsRequest {
  Envelope envelope;
  std::string collection;
  std::vector<float> query;
  SearchParams params;  // k: groups
  GroupBy group_by;
  std::string vector_name = {};  // as SearchRequest's
};
struct SearchGroup {
  FilterValue value;
  std::vector<ScoredPoint> points;
};
struct SearchGroupsResult {
  std::vector<SearchGroup> groups;  // by their nearest point
  Timings timings;
  int64_t unsearched_points = 0;  // as of SearchResult
};

struct CountRequest {
  std::string collection;
  FilterPtr filter = nullptr;
  PartitionChoice partition = {};
};

struct ScrollRequest {
  std::string collection;
  FilterPtr filter = nullptr;
  int32_t limit = 100;  // 1 to 10,000
  PointId first = 0;    // no id below it
  bool with_payload = true;
  bool with_vectors = false;
  PartitionChoice partition = {};
};
struct ScrollResult {
  std::vector<Point> points;
  std::optional<PointId> next;  // `first` of the next page; nothing after the last
};

struct FacetRequest {
  std::string collection;
  std::string field;
  FilterPtr filter = nullptr;
  int32_t limit = 10;  // 1 to 10,000
  PartitionChoice partition = {};
};
struct FacetHit {
  FilterValue value;
  int64_t points = 0;
  friend bool operator==(const FacetHit&, const FacetHit&) = default;
};

}  // namespace baton
