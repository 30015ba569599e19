#include "tests/bench/build_rate.h"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "engine/vector/sealed_graph.h"
#include "tests/bench/bench_tools.h"
#include "tests/bench/hnswlib_peer.h"

namespace baton {
namespace {

constexpr int32_t kM = 16;
constexpr int32_t kEfConstruction = 200;
constexpr int32_t kK = 10;
constexpr int64_t kEf = 64;

double ThreadSeconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

bool Never() { return false; }

double RecallOf(const VectorSet& set, const SealedGraph& graph) {
  std::vector<std::vector<int64_t>> rows(set.limits.size());
  std::vector<GraphNeighbor> found;
  for (size_t q = 0; q < rows.size(); ++q) {
    graph.Search(
        set.query(static_cast<int64_t>(q)), kEf, kK, [](int64_t) { return true; }, &found);
    std::sort(found.begin(), found.end(), [](const GraphNeighbor& a, const GraphNeighbor& b) {
      return a.distance < b.distance;
    });
    found.resize(std::min<size_t>(found.size(), kK));
    for (const GraphNeighbor& neighbor : found) rows[q].push_back(neighbor.row);
  }
  return set.Recall(rows, kK);
}

double RecallOf(const VectorSet& set, HnswlibPeer& peer) {
  peer.SetEf(kEf);
  std::vector<std::vector<int64_t>> rows(set.limits.size());
  for (size_t q = 0; q < rows.size(); ++q) {
    peer.Search(set.query(static_cast<int64_t>(q)), kK, &rows[q]);
  }
  return set.Recall(rows, kK);
}

}  // namespace

BuildRate MeasureBuildRate(const VectorSet& set, int rounds) {
  const GraphRows rows{.vectors = set.base.data(),
                       .rows = set.rows(),
                       .dimension = static_cast<int32_t>(set.dimension),
                       .metric = set.metric,
                       .m = kM,
                       .ef_construction = kEfConstruction};
  const auto count = static_cast<double>(set.rows());
  std::vector<double> ours;
  std::vector<double> peers;
  std::vector<double> ratios;
  BuildRate rate;
  for (int round = 0; round < rounds; ++round) {
    double begin = ThreadSeconds();
    std::unique_ptr<SealedGraph> graph = OrDie(SealedGraph::Build(rows, Never));
    ours.push_back(count / (ThreadSeconds() - begin));
    if (round == 0) rate.ours_recall = RecallOf(set, *graph);
    graph.reset();
    begin = ThreadSeconds();
    HnswlibPeer peer(set.metric, set.dimension, set.rows(), kM, kEfConstruction);
    for (int64_t row = 0; row < set.rows(); ++row) peer.Add(row, set.row(row));
    peers.push_back(count / (ThreadSeconds() - begin));
    ratios.push_back(ours.back() / peers.back());
    if (round == 0) rate.peer_recall = RecallOf(set, peer);
  }
  rate.twin_recall = RecallOf(set, *OrDie(SealedGraph::BuildByHnswlib(rows, Never)));
  rate.ours_per_s = Median(ours);
  rate.peer_per_s = Median(peers);
  rate.ratio = Median(ratios);
  return rate;
}

}  // namespace baton
