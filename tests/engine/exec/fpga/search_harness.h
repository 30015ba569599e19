#pragma once

#include <algorithm>
#include <functional>
#include <future>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/exec/plugin_walk_search.h"
#include "engine/vector/distance.h"
#include "engine/vector/segment.h"
#include "engine/vector/view_part.h"
#include "tests/engine/exec/fpga/fpga_harness.h"
#include "tests/engine/exec/fpga/strict_walk.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {

inline constexpr int kSearchDimension = 64;

inline CollectionSpec GraphSpec(Metric metric = Metric::kL2, const std::string& name = "c") {
  CollectionSpec spec = Spec(name, kSearchDimension, metric);
  spec.hnsw_m = 8;
  spec.hnsw_ef_construction = 60;
  return spec;
}

// A store whose segments are large enough for walks to pay.
struct FpgaStore {
  explicit FpgaStore(const CollectionSpec& spec, int64_t seal_points = 1600) {
    VectorOptions options = TestOptions(dir.path());
    options.seal_points = seal_points;
    auto opened = VectorStore::Open(options, metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
    REQUIRE_OK(store->CreateCollection(spec, ""));
  }
  std::shared_ptr<const CollectionView> View(const std::string& name = "c") const {
    auto view = store->View(name);
    REQUIRE_OK(view);
    return *view;
  }
  std::vector<float> Vector() {
    std::vector<float> vector = RandomVector(random, kSearchDimension);
    if (!whole) return vector;
    for (float& value : vector) value = std::clamp(std::round(value * 25), -127.0f, 127.0f);
    return vector;
  }
  void Upsert(int64_t first, int64_t count, const std::string& name = "c") {
    constexpr int64_t kPointsOfWrite = 5000;
    const int64_t end = first + count;
    while (first < end) {
      std::vector<Point> points;
      for (; first < end && std::ssize(points) < kPointsOfWrite; ++first) {
        points.push_back(MakePoint(static_cast<PointId>(first), Vector(), {{"n", first % 7}}));
      }
      REQUIRE_OK(CommitOne(*store, name, std::move(points)).status);
    }
  }
  void Delete(std::vector<PointId> ids) {
    REQUIRE_OK(CommitOne(*store, "c", {}, std::move(ids)).status);
  }
  std::vector<std::vector<float>> Queries(int count, const std::string& name = "c") {
    const auto view = View(name);
    std::vector<std::vector<float>> queries;
    for (int i = 0; i < count; ++i) {
      queries.push_back(Vector());
      REQUIRE_OK(PrepareQuery(*view, queries.back()));
    }
    return queries;
  }

  TempDir dir;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
  std::mt19937 random{3};
  bool whole = false;  // vectors of whole numbers up to 127, which codes keep
};

// The skill on a card of its own.
struct FpgaSearch {
  explicit FpgaSearch(int64_t memory_mb = 64, int64_t run_timeout_ms = 10000,
                      const baton_executor_plugin* table = nullptr)
      : device(Open(memory_mb, run_timeout_ms, table)),
        search(device, {.threads = 3, .queue_batches = 64}, SystemClock()) {}

  static std::shared_ptr<PluginDevice> Open(int64_t memory_mb, int64_t run_timeout_ms,
                                            const baton_executor_plugin* table = nullptr) {
    FpgaOptions options = EmulatedFpga();
    options.search_memory_mb = memory_mb;
    options.run_timeout_ms = run_timeout_ms;
    auto opened = TryOpenFpga(options, table);
    REQUIRE_OK(opened);
    return *opened;
  }
  std::future<SearchBatchResult> Submit(std::shared_ptr<const CollectionView> view,
                                        std::vector<std::vector<float>> queries,
                                        const SearchParams& params,
                                        TimeUs deadline_us = kNoDeadline) {
    auto promise = std::make_shared<std::promise<SearchBatchResult>>();
    std::future<SearchBatchResult> future = promise->get_future();
    search.Execute({.view = std::move(view),
                    .queries = std::move(queries),
                    .params = params,
                    .deadline_us = deadline_us},
                   [promise](SearchBatchResult result) { promise->set_value(std::move(result)); });
    return future;
  }
  std::vector<std::vector<Neighbor>> Must(std::shared_ptr<const CollectionView> view,
                                          const std::vector<std::vector<float>>& queries,
                                          const SearchParams& params) {
    SearchBatchResult result = Submit(std::move(view), queries, params).get();
    REQUIRE_OK(result.status);
    CHECK(result.unsearched_points == 0);
    return std::move(result.neighbors);
  }

  std::shared_ptr<PluginDevice> device;
  PluginWalkSearch search;
};

// What the CPU finds in strict best-first walks on the same codes: knows neither the plug-in nor
// SearchView, but for how many candidates those keep. Of segments whose walk does not pay, all
// rows.
class StrictCpu {
 public:
  explicit StrictCpu(std::shared_ptr<const CollectionView> view) : view_(std::move(view)) {
    const int32_t dimension = view_->spec().dimension;
    for (const CollectionView::SegmentPart& part : view_->segments()) {
      const SealedGraph& graph = *part.segment->index().graph();
      std::vector<float>& vectors = vectors_.emplace_back(graph.nodes() * size_t(dimension));
      rows_.emplace_back(graph.nodes());
      graph.ForEachRow([&](uint32_t node, int64_t row) {
        rows_.back()[node].push_back(row);
        part.segment->ReadVectors(row, 1, vectors.data() + size_t{node} * size_t(dimension));
      });
    }
    for (size_t i = 0; i < view_->segments().size(); ++i) {
      const auto& part = view_->segments()[i];
      walks_.emplace_back(*part.segment->index().graph(), view_->spec().metric, vectors_[i]);
    }
  }

  // Of all points, or of those that `accepts`: a filter, as its index knows it.
  using Accepts = std::function<bool(PointId)>;
  std::vector<Neighbor> Search(const std::vector<float>& query, int64_t k, int64_t ef,
                               const Accepts& accepts = nullptr) const {
    const SearchParams params{.k = static_cast<int32_t>(k), .ef = static_cast<int32_t>(ef)};
    const auto matches = [&](PointId id) { return accepts == nullptr || accepts(id); };
    std::vector<Neighbor> found;
    const CollectionSpec& spec = view_->spec();
    const DistanceFn distance = DistanceFor(spec.metric);
    const auto add = [&](const float* vector, PointId id) {
      Neighbor& neighbor = found.emplace_back(Neighbor{.id = id});
      distance(query.data(), vector, 1, spec.dimension, &neighbor.distance);
    };
    for (const ViewPart& part : ViewPart::AllOf(*view_)) {
      if (!part.grows()) continue;
      std::vector<float> vector(query.size());
      for (int64_t row = 0; row < part.rows(); ++row) {
        const RowBlock block = part.Row(row);
        if (!block.LiveAt(view_->sequence(), 0) || !matches(block.ids[0])) continue;
        part.ReadVectors(row, 1, vector.data());
        add(vector.data(), block.ids[0]);
      }
    }
    for (size_t i = 0; i < walks_.size(); ++i) {
      const CollectionView::SegmentPart& part = view_->segments()[i];
      const int64_t rows = part.segment->rows();
      // With deletions more are kept: as view_search.cc says.
      const int64_t wanted = std::max(ef, k);
      const int64_t between = k * (rows - part.live) / part.live;
      int64_t kept = std::min(wanted * rows / part.live, wanted + 2 * between);
      if (!WalkPays(spec, rows, kept)) kept = 0;
      if (accepts != nullptr) {
        int64_t all = 0;
        for (int64_t row = 0; row < rows; ++row) all += matches(part.segment->data().ids[row]);
        kept = MatchingWalkEf(*view_, part, params,
                              static_cast<double>(all) / static_cast<double>(rows));
      }
      int64_t left = std::min(kept, 2 * k + 32);
      const bool walks = kept > 0 && kept <= 256;
      const size_t before = found.size();
      std::vector<uint32_t> nodes(rows_[i].size());
      std::iota(nodes.begin(), nodes.end(), 0);
      if (walks) nodes = walks_[i].Walk(query, size_t(kept));
      const auto add_node = [&](uint32_t node) {
        for (const int64_t row : rows_[i][node]) {
          const PointId id = part.segment->data().ids[row];
          if (!part.segment->LiveAt(view_->sequence(), row) || !matches(id)) continue;
          add(vectors_[i].data() + node * query.size(), id);
          --left;
        }
      };
      for (const uint32_t node : nodes) {
        if (walks && left <= 0) break;
        add_node(node);
      }
      if (!walks) continue;
      for (const uint32_t node : part.segment->index().graph()->unreached()) add_node(node);
      if (found.size() < before + size_t(std::min(k, part.live))) ++too_few_;
    }
    std::sort(found.begin(), found.end());
    // What is not reached may have been met.
    found.erase(std::unique(found.begin(), found.end()), found.end());
    found.resize(std::min<size_t>(found.size(), size_t(k)));
    return found;
  }

  // Walks so far that met fewer than are to be found: what they lack is for SearchView to find.
  int64_t too_few() const { return too_few_; }

 private:
  const std::shared_ptr<const CollectionView> view_;
  mutable int64_t too_few_ = 0;
  std::vector<std::vector<float>> vectors_;              // [segments], [nodes, dimension]
  std::vector<std::vector<std::vector<int64_t>>> rows_;  // [segments][nodes]
  std::vector<fpga::StrictWalk> walks_;
};

}  // namespace baton
