#include "engine/vector/vector_checks.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/vector/collection_view.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST_CASE("collection specs are checked") {
  REQUIRE_OK(CheckSpec(Spec("a.B-c_9", 1)));
  REQUIRE_OK(CheckSpec(Spec(std::string(128, 'x'), 65'536)));
  REQUIRE_STATUS(CheckSpec(Spec("", 4)), kInvalid, "name has 0 characters, allowed is 1 to 128");
  REQUIRE_STATUS(CheckSpec(Spec(std::string(129, 'x'), 4)), kInvalid, "name has 129");
  REQUIRE_STATUS(CheckSpec(Spec(".hidden", 4)), kInvalid, "not start with '.'");
  REQUIRE_STATUS(CheckSpec(Spec("a/b", 4)), kInvalid, "may hold only");
  REQUIRE_STATUS(CheckSpec(Spec("a", 0)), kInvalid, "dimension is 0, allowed is 1 to 65536");
  REQUIRE_STATUS(CheckSpec(Spec("a", 65'537)), kInvalid, "dimension is 65537");
  CollectionSpec spec = Spec("a", 4);
  spec.hnsw_m = 1;
  REQUIRE_STATUS(CheckSpec(spec), kInvalid, "hnsw_m is 1, allowed is 2 to 128");
  spec = Spec("a", 4);
  spec.hnsw_ef_construction = 5000;
  REQUIRE_STATUS(CheckSpec(spec), kInvalid, "hnsw_ef_construction is 5000");
  REQUIRE_STATUS(CheckSpec(Spec("a", 4, static_cast<Metric>(7))), kInvalid, "metric 7");
}

TEST_CASE("vectors are checked and the error names field, limit and value") {
  const CollectionSpec spec = Spec("docs", 3, Metric::kCosine);
  REQUIRE_OK(CheckVector(spec, "v", {1, 0, 0}));
  REQUIRE_STATUS(CheckVector(spec, "points[3].vector", {1, 2, 3, 4, 5}), kInvalid,
                 "points[3].vector has 5 values, but collection \"docs\" has dimension 3");
  REQUIRE_STATUS(CheckVector(spec, "v", {}), kInvalid, "v has 0 values");
  REQUIRE_STATUS(CheckVector(spec, "v", {1, std::nanf(""), 0}), kInvalid, "v[1] is nan");
  REQUIRE_STATUS(CheckVector(spec, "v", {1, 0, -std::numeric_limits<float>::infinity()}), kInvalid,
                 "v[2] is -inf");
  REQUIRE_STATUS(CheckVector(spec, "v", {1e16f, 0, 0}), kInvalid, "at most 1e+15");
  REQUIRE_STATUS(CheckVector(spec, "v", {0, -0.0f, 0}), kInvalid, "all zero");
  REQUIRE_OK(CheckVector(Spec("docs", 3, Metric::kL2), "v", {0, 0, 0}));
}

TEST_CASE("payloads are checked") {
  VectorOptions options;
  options.payload_keys_max = 2;
  options.payload_bytes_max = 40;
  REQUIRE_OK(CheckPayload(options, "p", {{"a", std::string("b")}, {"c", true}}));
  REQUIRE_STATUS(CheckPayload(options, "p", {{"a", true}, {"b", true}, {"c", true}}), kInvalid,
                 "p has 3 keys, allowed is 2");
  REQUIRE_STATUS(CheckPayload(options, "p", {{"", true}}), kInvalid, "a key of 0 bytes");
  REQUIRE_STATUS(CheckPayload(options, "p", {{std::string(257, 'k'), true}}), kInvalid,
                 "a key of 257 bytes, allowed is 1 to 256");
  REQUIRE_STATUS(CheckPayload(options, "p", {{"a", std::string(100, 'b')}}), kInvalid,
                 "p takes 110 bytes, allowed is 40");
}

TEST_CASE("queries are checked, and scaled under cosine only") {
  const CollectionView cosine(Spec("docs", 2, Metric::kCosine), 0, 0, {}, {});
  std::vector<float> query = {3, 4};
  REQUIRE_OK(PrepareQuery(cosine, query));
  REQUIRE(query == std::vector<float>{0.6f, 0.8f});
  query = {1e-30f, 0};
  REQUIRE_OK(PrepareQuery(cosine, query));
  REQUIRE(query == std::vector<float>{1, 0});
  query = {0, 0};
  REQUIRE_STATUS(PrepareQuery(cosine, query), kInvalid, "query is all zero");
  query = {1, 2, 3};
  REQUIRE_STATUS(PrepareQuery(cosine, query), kInvalid,
                 "query has 3 values, but collection \"docs\" has dimension 2");
  const CollectionView dot(Spec("docs", 2, Metric::kDot), 0, 0, {}, {});
  query = {3, 4};
  REQUIRE_OK(PrepareQuery(dot, query));
  REQUIRE(query == std::vector<float>{3, 4});
}

}  // namespace
}  // namespace baton
