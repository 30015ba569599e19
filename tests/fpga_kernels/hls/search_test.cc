#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <random>
#include <set>

#include "fpga_kernels/hls/flat_scan.h"
#include "fpga_kernels/hls/hnsw_search.h"
#include "fpga_kernels/hls/pq_scan.h"

namespace baton::fpga {
namespace {

using Hits = std::vector<std::pair<int64_t, uint32_t>>;  // score, id

// The nearest first; of equal ones the lower id.
bool NearerHit(const std::pair<int64_t, uint32_t>& a, const std::pair<int64_t, uint32_t>& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

Hits HitsOf(const SearchHit* hits, size_t count) {
  Hits found;
  for (size_t i = 0; i < count && hits[i].id != UINT32_MAX; ++i) {
    found.emplace_back(hits[i].score, hits[i].id);
  }
  return found;
}

enum class Numbers { kRandom, kFew, kExtreme };

struct Codes {
  Codes(int64_t count, int64_t dimension, Numbers numbers, std::mt19937_64& random)
      : beats((dimension + 63) / 64), bytes(count * beats * 64) {
    for (int64_t row = 0; row < count; ++row) {
      for (int64_t i = 0; i < dimension; ++i) {
        bytes[row * beats * 64 + i] = static_cast<int8_t>(numbers == Numbers::kRandom ? random()
                                                          : numbers == Numbers::kFew  ? random() % 2
                                                          : random() % 2 == 0         ? 127
                                                                                      : -128);
      }
    }
  }
  const int8_t* row(int64_t i) const { return &bytes[i * beats * 64]; }
  const Beat* data() const { return reinterpret_cast<const Beat*>(bytes.data()); }
  int64_t Product(const int8_t* query, int64_t i) const {
    int64_t sum = 0;
    for (int64_t d = 0; d < beats * 64; ++d) sum += query[d] * row(i)[d];
    return sum;
  }

  int64_t beats;
  std::vector<int8_t> bytes;
};

struct Metric {
  uint32_t shift;
  std::vector<int32_t> biases;
};

Metric MetricOf(bool l2, const Codes& codes, int64_t count) {
  Metric metric = {.shift = l2 ? 1u : 0u, .biases = std::vector<int32_t>(count)};
  for (int64_t i = 0; l2 && i < count; ++i) {
    metric.biases[i] = -static_cast<int32_t>(codes.Product(codes.row(i), i));
  }
  return metric;
}

TEST_CASE("a flat scan finds the nearest, in order, however many tie") {
  std::mt19937_64 random(1);
  for (const int64_t count : {0, 1, 5, 64, 65, 700}) {
    for (const int64_t dimension : {1, 63, 64, 65, 768, 4096}) {
      if (count * dimension > 400000) continue;
      for (const Numbers numbers : {Numbers::kRandom, Numbers::kFew, Numbers::kExtreme}) {
        const Codes codes(count, dimension, numbers, random);
        const Codes query(1, dimension, numbers, random);
        const Metric metric = MetricOf(dimension % 2 == 0, codes, count);
        std::vector<CodeLabel> labels;
        Hits want;
        for (int64_t i = 0; i < count; ++i) {
          labels.push_back(
              {.id = static_cast<uint32_t>((i * 7919) % 104729), .bias = metric.biases[i]});
          want.emplace_back(codes.Product(query.row(0), i) * (1 << metric.shift) + metric.biases[i],
                            labels.back().id);
        }
        std::sort(want.begin(), want.end(), NearerHit);
        for (const uint32_t kept : {1u, 10u, 64u}) {
          const FlatScanArgs args = {.count = static_cast<uint32_t>(count),
                                     .beats = static_cast<uint32_t>(codes.beats),
                                     .kept = kept,
                                     .shift = metric.shift};
          std::vector<SearchHit> hits(kept);
          Stream<Beat, 32> beats("beats");
          Stream<CodeLabel, 4> label_stream("labels");
          Stream<Scored, 4> scores("scores");
          {
            BATON_DATAFLOW(region);
            BATON_PROCESS(region, flat_scan(&args, query.data(), codes.data(), labels.data(),
                                            hits.data(), beats, label_stream, scores));
            BATON_PROCESS(region, distance_engine(beats, label_stream, scores));
          }
          REQUIRE(TakeDataflowFailure() == "");
          const Hits nearest(want.begin(),
                             want.begin() + std::min<int64_t>(kept, std::ssize(want)));
          CHECK(HitsOf(hits.data(), hits.size()) == nearest);
        }
      }
    }
  }
}

// A graph of random links, with levels as they are numbered: node 0 is on all.
struct Graph {
  Graph(uint32_t node_count, uint32_t degree_max, uint32_t level_count, std::mt19937_64& random)
      : nodes(node_count), degree(degree_max) {
    args.degree = degree;
    args.upper_degree = degree / 2;
    links = Level(nodes, degree, random);
    uint32_t on_level = nodes;
    for (uint32_t level = 0; level < level_count && on_level > 1; ++level) {
      on_level = (on_level + 7) / 8;
      args.level_at[level] = static_cast<uint32_t>(upper_links.size());
      const std::vector<uint32_t> more = Level(on_level, degree / 2, random);
      upper_links.insert(upper_links.end(), more.begin(), more.end());
      ++args.levels;
    }
    upper_links.push_back(0);  // never empty
  }
  static std::vector<uint32_t> Level(uint32_t nodes, uint32_t degree, std::mt19937_64& random) {
    std::vector<uint32_t> links(size_t{nodes} * degree, kNoLink);
    for (uint32_t node = 0; node < nodes; ++node) {
      std::set<uint32_t> to;
      const uint32_t wanted = static_cast<uint32_t>(random() % (degree + 1));
      if (node + 1 < nodes && wanted > 0) to.insert(node + 1);
      while (to.size() < std::min(wanted, nodes))
        to.insert(static_cast<uint32_t>(random() % nodes));
      std::copy(to.begin(), to.end(), links.begin() + size_t{node} * degree);
    }
    return links;
  }
  uint32_t nodes;
  uint32_t degree;
  HnswArgs args = {};
  std::vector<uint32_t> links;
  std::vector<uint32_t> upper_links;
};

// Best-first as the paper has it, with two queues.
template <class Score>
Hits NaiveWalk(const Graph& g, uint32_t ef, Score score) {
  std::pair<int64_t, uint32_t> at(score(0), 0);
  for (uint32_t level = g.args.levels; level > 0; --level) {
    for (bool moved = true; moved;) {
      moved = false;
      const auto from = at.second;
      for (uint32_t i = 0; i < g.args.upper_degree; ++i) {
        const uint32_t node =
            g.upper_links[g.args.level_at[level - 1] + size_t{from} * g.args.upper_degree + i];
        if (node == kNoLink) continue;
        const std::pair<int64_t, uint32_t> next(score(node), node);
        if (!NearerHit(next, at)) continue;
        at = next;
        moved = true;
      }
    }
  }
  const auto nearer = [](const auto& a, const auto& b) { return NearerHit(a, b); };
  std::set<std::pair<int64_t, uint32_t>, decltype(nearer)> nearest(nearer);
  std::set<std::pair<int64_t, uint32_t>, decltype(nearer)> to_follow(nearer);
  std::set<uint32_t> visited = {at.second};
  nearest.insert(at);
  to_follow.insert(at);
  while (!to_follow.empty()) {
    const auto from = *to_follow.begin();
    to_follow.erase(to_follow.begin());
    if (nearest.size() == ef && NearerHit(*nearest.rbegin(), from)) break;
    for (uint32_t i = 0; i < g.degree; ++i) {
      const uint32_t node = g.links[size_t{from.second} * g.degree + i];
      if (node == kNoLink || !visited.insert(node).second) continue;
      const std::pair<int64_t, uint32_t> met(score(node), node);
      if (nearest.size() == ef && !NearerHit(met, *nearest.rbegin())) continue;
      nearest.insert(met);
      to_follow.insert(met);
      if (nearest.size() > ef) nearest.erase(std::prev(nearest.end()));
    }
  }
  return Hits(nearest.begin(), nearest.end());
}

struct WalkCase {
  uint32_t nodes;
  uint32_t degree;
  uint32_t ef;
  uint32_t wanted;
  int64_t dimension;
  Numbers numbers = Numbers::kRandom;
  bool l2 = false;
  bool some_dead = false;
  bool fine = false;
};

template <int depth>
std::string Search(const HnswArgs& args, const Graph& g, const Codes& queries, const Codes& codes,
                   const std::vector<int32_t>& biases, const std::vector<uint32_t>& live,
                   const std::vector<int16_t>& fine_queries, const std::vector<int16_t>& fine,
                   std::vector<SearchHit>* hits) {
  Stream<Beat, 32> beats("beats");
  Stream<CodeLabel, 4> labels("labels");
  Stream<Scored, depth> scores("scores");
  {
    BATON_DATAFLOW(region);
    BATON_PROCESS(region, hnsw_search(&args, queries.data(), codes.data(), biases.data(),
                                      g.links.data(), g.upper_links.data(), live.data(),
                                      reinterpret_cast<const Beat*>(fine_queries.data()),
                                      reinterpret_cast<const Beat*>(fine.data()), hits->data(),
                                      beats, labels, scores));
    BATON_PROCESS(region, distance_engine(beats, labels, scores));
  }
  return TakeDataflowFailure();
}

void CheckWalks(const WalkCase& c, uint32_t query_count, uint64_t seed) {
  std::mt19937_64 random(seed);
  const Graph g(c.nodes, c.degree, 3, random);
  const Codes codes(c.nodes, c.dimension, c.numbers, random);
  const Codes queries(query_count, c.dimension, c.numbers, random);
  const Metric metric = MetricOf(c.l2, codes, c.nodes);
  std::vector<uint32_t> live(c.nodes / 32 + 1);
  for (uint32_t& word : live) word = static_cast<uint32_t>(random());
  // Finer vectors: the codes' eight bits and eight more.
  std::vector<int16_t> fine(codes.bytes.size());
  for (size_t i = 0; i < fine.size(); ++i) {
    fine[i] = static_cast<int16_t>(codes.bytes[i] * 256 + static_cast<int>(random() % 256));
  }
  std::vector<int16_t> fine_queries(queries.bytes.size());
  for (size_t i = 0; i < fine_queries.size(); ++i) {
    fine_queries[i] = static_cast<int16_t>(queries.bytes[i] * 256);
  }
  HnswArgs args = g.args;
  args.nodes = c.nodes;
  args.beats = static_cast<uint32_t>(codes.beats);
  args.shift = metric.shift;
  args.ef = c.ef;
  args.wanted = c.wanted;
  args.queries = query_count;
  args.some_dead = c.some_dead ? 1 : 0;
  args.fine_beats = c.fine ? 2 * args.beats : 0;
  std::vector<SearchHit> hits(query_count * c.wanted);
  REQUIRE(Search<kHnswScoresDepth>(args, g, queries, codes, metric.biases, live, fine_queries, fine,
                                   &hits) == "");
  int same = 0;
  for (uint32_t query = 0; query < query_count; ++query) {
    Hits want = NaiveWalk(g, c.ef, [&](uint32_t node) {
      return codes.Product(queries.row(query), node) * (1 << metric.shift) + metric.biases[node];
    });
    if (c.some_dead) {
      std::erase_if(want, [&](const auto& hit) {
        return (live[hit.second / 32] >> (hit.second % 32) & 1) == 0;
      });
    }
    if (c.fine) {
      const int64_t width = codes.beats * 64;
      for (auto& [score, id] : want) {
        int64_t product = 0;
        int64_t square = 0;
        for (int64_t i = 0; i < width; ++i) {
          const int64_t value = fine[id * width + i];
          product += value * fine_queries[query * width + i];
          square += value * value;
        }
        score = c.l2 ? 2 * product - square : product;
      }
      std::sort(want.begin(), want.end(), NearerHit);
    }
    if (want.size() > c.wanted) want.resize(c.wanted);
    if (HitsOf(&hits[size_t{query} * c.wanted], c.wanted) == want) ++same;
  }
  CHECK(same == static_cast<int>(query_count));
}

TEST_CASE("walks find what best-first finds, in its order") {
  CheckWalks({.nodes = 2000, .degree = 16, .ef = 64, .wanted = 10, .dimension = 96}, 400, 1);
  CheckWalks({.nodes = 2000, .degree = 16, .ef = 64, .wanted = 10, .dimension = 96, .l2 = true},
             400, 2);
  CheckWalks({.nodes = 3000,
              .degree = 32,
              .ef = 256,
              .wanted = 100,
              .dimension = 20,
              .numbers = Numbers::kFew},
             200, 3);
}

TEST_CASE("walks of small graphs and of long or extreme codes") {
  CheckWalks({.nodes = 1, .degree = 4, .ef = 10, .wanted = 10, .dimension = 3}, 3, 4);
  CheckWalks({.nodes = 2, .degree = 4, .ef = 1, .wanted = 1, .dimension = 64}, 3, 5);
  CheckWalks({.nodes = 33,
              .degree = 128,
              .ef = 256,
              .wanted = 256,
              .dimension = 4096,
              .numbers = Numbers::kExtreme,
              .l2 = true},
             3, 6);
}

TEST_CASE("walks with the dead left out and with finer scores") {
  const WalkCase c = {.nodes = 1500, .degree = 16, .ef = 100, .wanted = 20, .dimension = 65};
  WalkCase dead = c;
  dead.some_dead = true;
  CheckWalks(dead, 30, 7);
  WalkCase fine = c;
  fine.fine = true;
  CheckWalks(fine, 30, 8);
  fine.l2 = true;
  fine.some_dead = true;
  CheckWalks(fine, 30, 9);
}

TEST_CASE("scores that have no room before a node's codes are sent are a deadlock") {
  std::mt19937_64 random(10);
  Graph g(200, 64, 0, random);
  std::iota(g.links.begin(), g.links.begin() + 64, 1);
  const Codes codes(200, 768, Numbers::kRandom, random);
  HnswArgs args = g.args;
  args.nodes = 200;
  args.beats = 12;
  args.ef = args.wanted = 10;
  args.queries = 1;
  std::vector<SearchHit> hits(10);
  const std::string failure = Search<4>(args, g, codes, codes, std::vector<int32_t>(200),
                                        std::vector<uint32_t>(7), {}, {}, &hits);
  CHECK_THAT(failure, Catch::Matchers::Contains("writes stream scores, full at depth 4"));
}

TEST_CASE("a scan of probed lists finds the nearest rows") {
  std::mt19937_64 random(11);
  for (const uint32_t groups : {1u, 3u, 24u, 128u}) {
    for (const bool some_dead : {false, true}) {
      const std::vector<uint32_t> list_rows = {70, 0, 33, 5, 32, 1};
      std::vector<PqProbe> probes;
      std::vector<uint32_t> rows;
      for (const uint32_t count : list_rows) {
        probes.push_back({.first_block = static_cast<uint32_t>(rows.size() / 32),
                          .rows = count,
                          .base = static_cast<int32_t>(random() % 2000) - 1000});
        for (uint32_t i = 0; i < (count + 31) / 32 * 32; ++i) {
          rows.push_back(i < count ? static_cast<uint32_t>(rows.size() * 31 % 499) : UINT32_MAX);
        }
      }
      const size_t blocks = rows.size() / 32;
      std::vector<uint8_t> lines(blocks * groups * 64);
      for (uint8_t& byte : lines) byte = static_cast<uint8_t>(random());
      std::vector<uint8_t> tables(size_t{groups} * 64);
      for (uint8_t& entry : tables) {
        entry = static_cast<uint8_t>(groups == 128 ? 127 : random() % 128);
      }
      std::vector<int32_t> terms(rows.size());
      for (int32_t& term : terms) term = static_cast<int32_t>(random() % 100);
      std::vector<uint32_t> live(16);
      for (uint32_t& word : live) word = static_cast<uint32_t>(random());
      for (const uint32_t kept : {1u, 7u, 64u}) {
        const PqScanArgs args = {.probes = static_cast<uint32_t>(probes.size()),
                                 .groups = groups,
                                 .factor = 3,
                                 .kept = kept,
                                 .some_dead = some_dead ? 1u : 0u};
        std::vector<SearchHit> hits(kept);
        pq_scan(&args, probes.data(), reinterpret_cast<const Beat*>(tables.data()),
                reinterpret_cast<const Beat*>(lines.data()), terms.data(), rows.data(), live.data(),
                hits.data());
        REQUIRE(TakeDataflowFailure() == "");
        Hits want;
        for (const PqProbe& probe : probes) {
          for (uint32_t i = 0; i < probe.rows; ++i) {
            const size_t at = size_t{probe.first_block} * 32 + i;
            if (some_dead && (live[rows[at] / 32] >> (rows[at] % 32) & 1) == 0) continue;
            int64_t sum = 0;
            for (uint32_t m = 0; m < 4 * groups; ++m) {
              const uint8_t byte =
                  lines[(at / 32 * groups + m / 4) * 64 + m % 4 / 2 * 32 + at % 32];
              sum += tables[m * 16 + (m % 2 == 0 ? byte % 16 : byte / 16)];
            }
            want.emplace_back(-(probe.base + terms[at] + 3 * sum), rows[at]);
          }
        }
        std::sort(want.begin(), want.end(), NearerHit);
        if (want.size() > kept) want.resize(kept);
        CHECK(HitsOf(hits.data(), hits.size()) == want);
      }
    }
  }
}

}  // namespace
}  // namespace baton::fpga
