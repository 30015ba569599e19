// Graph walks and product quantiser scans through XRT, as the C models run them. Flat scans:
// xrt_runs_test.cc.
#include <catch2/catch.hpp>
#include <chrono>
#include <random>

#include "fpga_kernels/card_args.h"
#include "fpga_kernels/hls/hnsw_search.h"
#include "fpga_kernels/hls/pq_scan.h"
#include "tests/fpga_emulation/xrt_card.h"

namespace baton::fpga {
namespace {

std::vector<Beat> RandomBeats(size_t count, std::mt19937_64& random) {
  std::vector<Beat> beats(count);
  for (Beat& beat : beats) {
    for (uint8_t& byte : beat.bytes) byte = static_cast<uint8_t>(random());
  }
  return beats;
}

// A graph of random links: what a walk finds there means nothing, and must be the same.
struct GraphCase {
  GraphCase(uint32_t nodes, uint32_t query_count, std::mt19937_64& random) {
    args = {{.nodes = nodes,
             .beats = 2,
             .shift = 1,
             .degree = 16,
             .upper_degree = 8,
             .levels = 2,
             .ef = 40,
             .wanted = 10,
             .queries = query_count,
             .some_dead = 1,
             .fine_beats = 4}};
    const uint32_t level_nodes[] = {nodes / 10, nodes / 50};
    queries = RandomBeats(query_count * 2, random);
    codes = RandomBeats(nodes * 2, random);
    fine_queries = RandomBeats(query_count * 4, random);
    fine = RandomBeats(nodes * 4, random);
    for (uint32_t i = 0; i < nodes; ++i) {
      biases.push_back(-static_cast<int32_t>(random() % 1000000));
      for (uint32_t link = 0; link < 16; ++link) {
        links.push_back(link == 15 ? kNoLink : static_cast<uint32_t>(random() % nodes));
      }
    }
    for (uint32_t level = 0; level < 2; ++level) {
      args[0].level_at[level] = static_cast<uint32_t>(upper_links.size());
      for (uint32_t i = 0; i < level_nodes[level] * 8; ++i) {
        upper_links.push_back(static_cast<uint32_t>(random() % level_nodes[level]));
      }
    }
    for (uint32_t i = 0; i < (nodes + 31) / 32; ++i)
      live.push_back(static_cast<uint32_t>(random()));
  }

  std::vector<SearchHit> Model() const {
    std::vector<SearchHit> hits(size_t{args[0].queries} * args[0].wanted);
    Stream<Beat, 32> to_engine("to_engine");
    Stream<CodeLabel, 32> labels("labels");
    Stream<Scored, kHnswScoresDepth> scores("scores");
    {
      BATON_DATAFLOW(region);
      BATON_PROCESS(region, distance_engine(to_engine, labels, scores));
      BATON_PROCESS(region,
                    hnsw_search(args.data(), queries.data(), codes.data(), biases.data(),
                                links.data(), upper_links.data(), live.data(), fine_queries.data(),
                                fine.data(), hits.data(), to_engine, labels, scores));
    }
    REQUIRE(TakeDataflowFailure() == "");
    return hits;
  }

  std::vector<HnswArgs> args;
  std::vector<Beat> queries, codes, fine_queries, fine;
  std::vector<int32_t> biases;
  std::vector<uint32_t> links, upper_links, live;
};

bool Same(const std::vector<SearchHit>& a, const std::vector<SearchHit>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(SearchHit)) == 0;
}

TEST_CASE("walks of a graph on every unit are the C model's, run after run") {
  std::mt19937_64 random(1);
  const GraphCase graph(2000, 30, random);
  const std::vector<SearchHit> want = graph.Model();
  const XrtCard card;
  for (int unit = 0; unit < 4; ++unit) {
    const xrt::kernel kernel = card.Kernel("hnsw_search", unit);
    xrt::run run(kernel);
    std::vector<xrt::bo> buffers;
    const auto place = [&](int argument, const auto& values) {
      buffers.push_back(card.Buffer(kernel, argument, values));
      run.set_arg(argument, buffers.back());
    };
    place(kHnswSearchArgs, graph.args);
    place(kHnswSearchQueries, graph.queries);
    place(kHnswSearchCodes, graph.codes);
    place(kHnswSearchBiases, graph.biases);
    place(kHnswSearchLinks, graph.links);
    place(kHnswSearchUpperLinks, graph.upper_links);
    place(kHnswSearchLive, graph.live);
    place(kHnswSearchFineQueries, graph.fine_queries);
    place(kHnswSearchFine, graph.fine);
    xrt::bo hits = card.Buffer(kernel, kHnswSearchHits, want.size() * sizeof(SearchHit));
    run.set_arg(kHnswSearchHits, hits);
    for (int round = 0; round < 2; ++round) {
      run.start();
      REQUIRE(run.wait(std::chrono::seconds(60)) == ERT_CMD_STATE_COMPLETED);
      INFO("unit " << unit);
      CHECK(Same(ReadBuffer<SearchHit>(hits, want.size()), want));
    }
  }
}

TEST_CASE("scans of product quantiser codes are the C model's, with and without deletions") {
  std::mt19937_64 random(2);
  const std::vector<PqProbe> probes = {{.first_block = 0, .rows = 33, .base = 5},
                                       {.first_block = 3, .rows = 100, .base = -9},
                                       {.first_block = 2, .rows = 1, .base = 0}};
  constexpr uint32_t kGroups = 5;
  constexpr uint32_t kBlocks = 8;
  std::vector<Beat> tables = RandomBeats(kGroups, random);
  for (Beat& beat : tables) {
    for (uint8_t& byte : beat.bytes) byte &= 127;
  }
  const std::vector<Beat> blocks = RandomBeats(kBlocks * kGroups, random);
  std::vector<int32_t> terms;
  std::vector<uint32_t> rows;
  for (uint32_t i = 0; i < kBlocks * kPqRowsOfBlock; ++i) {
    terms.push_back(static_cast<int32_t>(random() % 5000));
    rows.push_back(i);
  }
  std::vector<uint32_t> live;
  for (uint32_t i = 0; i < kBlocks; ++i) live.push_back(static_cast<uint32_t>(random()));
  const XrtCard card;
  const xrt::kernel kernel = card.Kernel("pq_scan", 3);
  for (const uint32_t some_dead : {0u, 1u}) {
    const std::vector<PqScanArgs> args = {
        {.probes = 3, .groups = kGroups, .factor = 7, .kept = 20, .some_dead = some_dead}};
    std::vector<SearchHit> want(20);
    pq_scan(args.data(), probes.data(), tables.data(), blocks.data(), terms.data(), rows.data(),
            live.data(), want.data());
    REQUIRE(TakeDataflowFailure() == "");
    xrt::run run(kernel);
    std::vector<xrt::bo> buffers;
    const auto place = [&](int argument, const auto& values) {
      buffers.push_back(card.Buffer(kernel, argument, values));
      run.set_arg(argument, buffers.back());
    };
    place(kPqScanArgs, args);
    place(kPqScanProbes, probes);
    place(kPqScanTables, tables);
    place(kPqScanBlocks, blocks);
    place(kPqScanTerms, terms);
    place(kPqScanRows, rows);
    // Not set where it may not be read.
    if (some_dead != 0) place(kPqScanLive, live);
    xrt::bo hits = card.Buffer(kernel, kPqScanHits, want.size() * sizeof(SearchHit));
    run.set_arg(kPqScanHits, hits);
    run.start();
    REQUIRE(run.wait(std::chrono::seconds(20)) == ERT_CMD_STATE_COMPLETED);
    CHECK(Same(ReadBuffer<SearchHit>(hits, want.size()), want));
  }
}

}  // namespace
}  // namespace baton::fpga
