// A segment's graph as a card holds it, walked by the C model of the kernel, beside a strict
// best-first walk over the engine's own graph.
#include "engine/exec/fpga/plugin/graph_image.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <iostream>
#include <random>

#include "engine/vector/sealed_graph.h"
#include "fpga_kernels/hls/hnsw_search.h"
#include "tests/engine/exec/fpga/strict_walk.h"
#include "tests/support/figure.h"
#include "tests/support/status_matchers.h"

namespace baton::fpga {
namespace {

struct Case {
  baton::Metric metric = baton::Metric::kL2;
  int64_t rows = 4000;
  int32_t dimension = 48;
  bool whole = true;  // values are whole numbers up to 127, which codes keep exactly
  bool some_dead = false;
  uint32_t ef = 64;
  uint32_t wanted = 10;
};

struct Segment {
  explicit Segment(const Case& c) : random(c.rows + c.dimension) {
    std::normal_distribution<float> normal(0, c.whole ? 25 : 0.3f);
    vectors.resize(static_cast<size_t>(c.rows * c.dimension));
    for (float& value : vectors) value = Value(normal(random), c.whole);
    rows = {.vectors = vectors.data(),
            .rows = c.rows,
            .dimension = c.dimension,
            .metric = c.metric,
            .m = 12,
            .ef_construction = 100};
    auto built = SealedGraph::Build(rows, [] { return false; });
    REQUIRE_OK(built);
    graph = *std::move(built);
    row_of.resize(graph->nodes());
    graph->ForEachRow([&](uint32_t node, int64_t row) { row_of[node] = row; });
    const uint32_t room = 24;
    for (uint32_t node = 0; node < graph->nodes(); ++node) Append(node, 0, room, &links);
    for (int level = 1;; ++level) {
      uint32_t count = 0;
      while (count < graph->nodes() && graph->LevelOf(count) >= level) ++count;
      if (count == 0) break;
      level_nodes.push_back(count);
      for (uint32_t node = 0; node < count; ++node) Append(node, level, 12, &upper_links);
    }
  }
  static float Value(float value, bool whole) {
    return whole ? std::clamp(std::round(value), -127.0f, 127.0f) : value;
  }
  void Append(uint32_t node, int level, uint32_t room, std::vector<uint32_t>* to) const {
    const auto of = graph->Links(node, level);
    to->insert(to->end(), of.begin(), of.end());
    to->insert(to->end(), room - of.size(), kNoLink);
  }
  GraphShape Shape() const {
    return {
        .metric = rows.metric == baton::Metric::kL2 ? BATON_METRIC_L2 : BATON_METRIC_INNER_PRODUCT,
        .dimension = rows.dimension,
        .nodes = graph->nodes(),
        .degree = 24,
        .upper_degree = 12,
        .level_nodes = level_nodes,
        .links = links,
        .upper_links = upper_links};
  }
  baton_rows_source Source() {
    return {.context = this, .read = [](void* context, int64_t first, int64_t count, float* out) {
              const auto& self = *static_cast<Segment*>(context);
              const int64_t dimension = self.rows.dimension;
              for (int64_t i = 0; i < count; ++i) {
                std::memcpy(out + i * dimension,
                            self.vectors.data() + self.row_of[first + i] * dimension,
                            sizeof(float) * static_cast<size_t>(dimension));
              }
            }};
  }

  std::mt19937 random;
  std::vector<float> vectors;
  GraphRows rows;
  std::unique_ptr<SealedGraph> graph;
  std::vector<int64_t> row_of;
  std::vector<uint32_t> links, upper_links, level_nodes;
};

// How many of 1,000 queries the card answers with the oracle's nodes in its order.
int SameOrder(const Case& c) {
  Segment segment(c);
  GraphImage image;
  const Fault made = GraphImage::Make(segment.Shape(), segment.Source(), &image);
  INFO(made.message());
  REQUIRE_FALSE(made.failed());
  constexpr uint32_t kQueries = 1000;
  std::vector<float> queries;
  std::normal_distribution<float> normal(0, c.whole ? 25 : 0.3f);
  for (uint32_t i = 0; i < kQueries * static_cast<uint32_t>(c.dimension); ++i) {
    queries.push_back(Segment::Value(normal(segment.random), c.whole));
  }
  std::vector<int8_t> codes;
  image.EncodeQueries(queries, &codes);
  std::vector<uint32_t> live(image.nodes() / 32 + 1);
  for (uint32_t& word : live) word = static_cast<uint32_t>(segment.random());
  HnswArgs args;
  REQUIRE_FALSE(
      image
          .ArgsFor({.ef = c.ef, .wanted = c.wanted, .queries = kQueries, .some_dead = c.some_dead},
                   &args)
          .failed());
  std::vector<SearchHit> hits(kQueries * c.wanted);
  const uint8_t* const bytes = image.bytes().data();
  {
    Stream<Beat, 32> beats("beats");
    Stream<CodeLabel, 32> labels("labels");
    Stream<Scored, kHnswScoresDepth> scores("scores");
    BATON_DATAFLOW(region);
    BATON_PROCESS(region,
                  hnsw_search(&args, reinterpret_cast<const Beat*>(codes.data()),
                              reinterpret_cast<const Beat*>(bytes + image.parts().codes),
                              reinterpret_cast<const int32_t*>(bytes + image.parts().biases),
                              reinterpret_cast<const uint32_t*>(bytes + image.parts().links),
                              reinterpret_cast<const uint32_t*>(bytes + image.parts().upper_links),
                              live.data(), nullptr, nullptr, hits.data(), beats, labels, scores));
    BATON_PROCESS(region, distance_engine(beats, labels, scores));
  }
  REQUIRE(TakeDataflowFailure() == "");
  std::vector<float> vectors(size_t{image.nodes()} * static_cast<size_t>(c.dimension));
  const baton_rows_source source = segment.Source();
  source.read(source.context, 0, image.nodes(), vectors.data());
  const StrictWalk oracle(*segment.graph, c.metric, vectors);
  int same = 0;
  for (uint32_t query = 0; query < kQueries; ++query) {
    std::vector<uint32_t> want =
        oracle.Walk(std::span(queries).subspan(query * c.dimension, c.dimension), c.ef);
    if (c.some_dead) {
      std::erase_if(want, [&](uint32_t node) { return (live[node / 32] >> node % 32 & 1) == 0; });
    }
    want.resize(std::min<size_t>(want.size(), c.wanted));
    std::vector<uint32_t> got;
    for (uint32_t i = 0; i < c.wanted; ++i) {
      const SearchHit& hit = hits[query * c.wanted + i];
      if (hit.id != UINT32_MAX) got.push_back(hit.id);
    }
    if (got == want) ++same;
  }
  PrintFigure("hnsw.same_order_share", static_cast<double>(same) / kQueries);
  return same;
}

}  // namespace

TEST_CASE("walks of an engine's graph on a card give the ids of strict best-first and its order") {
  CHECK(SameOrder({}) == 1000);
  CHECK(SameOrder({.metric = baton::Metric::kDot, .dimension = 100}) == 1000);
  CHECK(SameOrder({.rows = 2000, .dimension = 64, .whole = false, .some_dead = true, .ef = 128}) ==
        1000);
}

TEST_CASE("whole numbers are their own codes and a query of any size has its own step") {
  Segment segment({.rows = 300, .dimension = 8});
  segment.vectors[3] = 100;
  GraphImage image;
  REQUIRE_FALSE(GraphImage::Make(segment.Shape(), segment.Source(), &image).failed());
  const std::vector<float> whole = {1, -2, 3, -4, 5, -6, 127, -127};
  std::vector<int8_t> codes;
  uint8_t near = 2;
  image.EncodeQueries(whole, &codes, &near);
  CHECK(near == 1);
  for (size_t d = 0; d < whole.size(); ++d) CHECK(codes[d] == static_cast<int8_t>(whole[d]));
  // Farther than codes reach: under L2 that is said, and an inner product does not mind.
  std::vector<float> far = whole;
  far[0] = 500;
  image.EncodeQueries(far, &codes, &near);
  CHECK(near == 0);
  segment.rows.metric = baton::Metric::kDot;
  REQUIRE_FALSE(GraphImage::Make(segment.Shape(), segment.Source(), &image).failed());
  for (const float scale : {1e-6f, 1.0f, 1e6f}) {
    std::vector<float> scaled = far;
    for (float& value : scaled) value *= scale;
    image.EncodeQueries(scaled, &codes, &near);
    CHECK(near == 1);
    CHECK(codes[0] == 127);
    CHECK(codes[7] == -32);
  }
}

TEST_CASE("a graph whose codes would not tell near vectors apart is refused") {
  Segment segment({.rows = 600, .dimension = 16, .whole = false});
  GraphImage image;
  REQUIRE_FALSE(GraphImage::Make(segment.Shape(), segment.Source(), &image).failed());
  segment.vectors[17] = 4000;  // one value, and all others are a step or none
  const Fault refused = GraphImage::Make(segment.Shape(), segment.Source(), &image);
  CHECK(refused.code() == BATON_UNIMPLEMENTED);
  CHECK_THAT(refused.message(), Catch::Contains("the limit is nine of ten"));
}

TEST_CASE("loading a graph stops when it is asked to") {
  Segment segment({.rows = 300, .dimension = 8});
  GraphImage image;
  CHECK(GraphImage::Make(
            segment.Shape(), segment.Source(), [] { return true; }, &image)
            .code() == BATON_CANCELLED);
}

TEST_CASE("graphs and searches that are beyond the card are refused by name") {
  Segment segment({.rows = 300, .dimension = 8});
  GraphImage image;
  GraphShape shape = segment.Shape();
  shape.dimension = 4097;
  CHECK(GraphImage::Make(shape, segment.Source(), &image).message() ==
        "vectors of 4097 dimensions, the FPGA's limit is 1 to 4096");
  shape = segment.Shape();
  shape.nodes = (1u << 22) + 1;
  CHECK_THAT(GraphImage::Make(shape, segment.Source(), &image).message(),
             Catch::Contains("nodes must be at most 4194304"));
  shape = segment.Shape();
  std::vector<uint32_t> links = segment.links;
  links[5] = shape.nodes;
  shape.links = links;
  CHECK_THAT(GraphImage::Make(shape, segment.Source(), &image).message(),
             Catch::Contains("a link of level 0 leads to node"));
  shape = segment.Shape();
  std::vector<uint32_t> levels = {shape.nodes + 1};
  shape.level_nodes = levels;
  CHECK(GraphImage::Make(shape, segment.Source(), &image).code() == BATON_INVALID_ARGUMENT);
  segment.vectors[11] = NAN;
  CHECK(GraphImage::Make(segment.Shape(), segment.Source(), &image).message() ==
        "a vector of a graph is not finite");
  segment.vectors[11] = 1;
  REQUIRE_FALSE(GraphImage::Make(segment.Shape(), segment.Source(), &image).failed());
  HnswArgs args;
  CHECK_THAT(image.ArgsFor({.ef = 257, .wanted = 1, .queries = 1}, &args).message(),
             Catch::Contains("ef must be 1 to 256"));
  CHECK(image.ArgsFor({.ef = 10, .wanted = 11, .queries = 1}, &args).code() == BATON_UNIMPLEMENTED);
}

}  // namespace baton::fpga
