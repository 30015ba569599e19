#include "engine/vector/view_search.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/buffer_scan.h"
#include "engine/vector/distance.h"
#include "engine/vector/growing_buffer.h"
#include "engine/vector/payload_sidecar.h"
#include "engine/vector/segment.h"
#include "engine/vector/top_k.h"
#include "engine/vector/view_filter.h"

namespace baton {
namespace {

// A scan compares a tile of rows with a block of queries before it goes on: the tile is read from
// memory once per block and stays in the second-level cache (1 MiB and more where it matters)
// together with the queries.
constexpr int64_t kTileBytes = 128 << 10;
constexpr int64_t kTileRowsMax = 512;
constexpr size_t kQueryBlock = 32;
// With inverted files that a device scans: some hundred queries at a time keep it busy.
constexpr size_t kProbedBlock = 512;

// At some 4 multiplications per nanosecond, about a millisecond.
constexpr int64_t kPollMultiplications = 4 << 20;

// Whether a walk along rows that match is quicker than comparing with all of them: `share` of the
// rows do.
bool MatchingWalkPays(const CollectionSpec& spec, double rows, double share, int64_t ef) {
  const double matches = rows * share;
  if (matches < 8 * static_cast<double>(ef)) return false;
  const double links = 2.0 * spec.hnsw_m;
  // To find so many rows as a node has links, it looks at so many more; where those are more than
  // the links of links, the walk finds fewer and gets lost. Looking at a row costs about as much as
  // kLook multiplications (measured), comparing it what WalkPays says.
  constexpr double kLook = 40;
  constexpr double kMatchesPastLinks = 16;
  if (links * links * share < kMatchesPastLinks) return false;
  const double walk = static_cast<double>(ef) * links * (spec.dimension + 64 + kLook / share);
  return walk < matches * (spec.dimension + 64);
}

// Candidates to keep as the request says; 0: recall_target takes comparing with all.
int64_t EfOf(const CollectionView::SegmentPart& part, const SearchParams& params) {
  if (!params.recall_target.has_value()) return std::max(params.ef, params.k);
  return part.segment->recall().EfFor(*params.recall_target, params.k);
}

// Candidates to keep so that the k nearest of `count` rows are found as surely as if there were no
// others. Those are among the nearest k * rows / count, and what surely finds 10 is not far from
// finding 20: more candidates by what comes between, twice, keep the recall. Measured on vectors of
// 128 values, half of them deleted.
int64_t EfAmong(int64_t wanted, int64_t k, int64_t rows, int64_t count) {
  const int64_t between = k * (rows - count) / count;
  return std::min(wanted * rows / count, wanted + 2 * between);
}

struct MatchingPlan {
  double share = 0;  // of the rows that match and are live
  int64_t ef = 0;
  bool walk_pays = false;
};
// `filter_share`: of the rows that match, live or not.
MatchingPlan PlanMatching(const CollectionView& view, const CollectionView::SegmentPart& part,
                          const SearchParams& params, double filter_share) {
  const bool is_ivf = part.segment->index().ivf() != nullptr;
  const double rows = static_cast<double>(part.segment->rows());
  MatchingPlan plan = {.share = filter_share * static_cast<double>(part.live) / rows,
                       .ef = is_ivf ? std::max(params.ef, params.k) : EfOf(part, params)};
  // Lists are worth looking at where they hold more than would be rescored anyway.
  plan.walk_pays = !params.exact && plan.ef > 0 &&
                   (is_ivf ? rows * plan.share > 8.0 * static_cast<double>(plan.ef)
                           : MatchingWalkPays(view.spec(), rows, plan.share, plan.ef));
  return plan;
}

// Of a walk elsewhere: its codes may be coarser than ours.
int64_t WalkedNodes(int64_t wanted, int64_t ef) { return std::min(ef, 2 * wanted + 32); }

// Segments that are not looked at.
using Skipped = absl::flat_hash_set<const Segment*>;

// Who does parts of a search in its place; null: nobody.
struct Elsewhere {
  ViewWalker* walker = nullptr;
  ViewProber* prober = nullptr;
};

// A block of queries over one view.
class BlockSearch {
 public:
  // `filter`: null for all points.
  BlockSearch(const CollectionView& view, std::span<const std::vector<float>> queries,
              const SearchParams& params, const ViewFilter* filter, const Skipped& skipped,
              SearchPoll poll, const Elsewhere& elsewhere)
      : view_(view),
        queries_(queries),
        params_(params),
        filter_(filter),
        skipped_(skipped),
        poll_(poll),
        walker_(elsewhere.walker),
        prober_(elsewhere.prober),
        dimension_(view.spec().dimension),
        distance_(DistanceFor(view.spec().metric)),
        stored_distance_(StoredDistanceFor(FormatOf(view.spec()))),
        tile_rows_(std::clamp<int64_t>(
            kTileBytes / (dimension_ * static_cast<int64_t>(sizeof(float))), 1, kTileRowsMax)),
        met_(queries.size()),
        tops_(queries.size(), TopK(params.k, view.points(), FarthestAllowed(view, params))) {}

  // Segments first: after them it is known how far is too far, which scans by codes live on.
  absl::Status Run() {
    RETURN_IF_ERROR(SearchSegments());
    for (const CollectionView::BufferPart& part : view_.buffers()) {
      std::optional<PartFilter> filter;
      if (filter_ != nullptr) filter.emplace(*filter_, view_, part);
      RETURN_IF_ERROR(ScanBuffer(part, filter));
    }
    return absl::OkStatus();
  }

  // A segment that was looked at although its file cannot be read: what it did not give was taken
  // for zeros. Null: there is none.
  const Segment* FindUnreadable() const {
    for (const CollectionView::SegmentPart& part : view_.segments()) {
      const Segment* const segment = part.segment.get();
      if (segment->unreadable() && !skipped_.contains(segment)) return segment;
    }
    return nullptr;
  }

  std::vector<std::vector<Neighbor>> Take() {
    std::vector<std::vector<Neighbor>> neighbors;
    for (TopK& top : tops_) neighbors.push_back(top.Take());
    return neighbors;
  }

 private:
  absl::Status SearchSegments() {
    rescores_together_ = view_.segments().size() > 1;
    for (const CollectionView::SegmentPart& part : view_.segments()) {
      if (skipped_.contains(part.segment.get())) continue;
      if (filter_ != nullptr) {
        RETURN_IF_ERROR(SearchMatching(part));
        continue;
      }
      if (part.segment->index().ivf() != nullptr && !params_.exact) {
        const auto live = [&](int64_t row) { return part.segment->LiveAt(view_.sequence(), row); };
        if (IsProbedThere(part)) {
          RETURN_IF_ERROR(ProbeThere(part, {}, live));
          continue;
        }
        for (size_t query = 0; query < queries_.size(); ++query) {
          RETURN_IF_ERROR(Probe(part, query, live));
        }
        continue;
      }
      const int64_t ef = WalkEf(view_, part, params_);
      if (ef == 0) {
        RETURN_IF_ERROR(ScanAll(part, 0, queries_.size()));
        continue;
      }
      if (walker_ != nullptr && walker_->Takes({view_, part}, ef)) {
        Leave({.graph = {view_, part}, .ef = ef, .wanted = WalkedNodes(params_.k, ef)},
              std::nullopt);
        continue;
      }
      for (size_t query = 0; query < queries_.size(); ++query) {
        RETURN_IF_ERROR(WalkOrScan(part, ef, query));
      }
    }
    RETURN_IF_ERROR(TakeWalks());
    return RescoreTogether();
  }

  static bool AllRows(int64_t) { return true; }

  // Queries [begin, end) against the rows of a block that `matches`, by their place in it. The rows
  // are those of `segment`, if not null.
  template <class Matches>
  absl::Status Scan(const RowBlock& block, const Segment* segment, size_t begin, size_t end,
                    Matches matches) {
    float distances[kTileRowsMax];
    const StoredRows& rows = block.vectors;
    const bool stored = rows.bytes != nullptr;
    // Rows that are not floats are made such once for several queries.
    const bool direct =
        stored && (rows.format.storage() == VectorStorage::kF32 || end - begin <= 2);
    if (!direct) tile_.resize(static_cast<size_t>(tile_rows_ * dimension_));
    for (int64_t first = 0; first < block.count; first += tile_rows_) {
      const int64_t count = std::min(tile_rows_, block.count - first);
      if (stored && !direct) {
        rows.format.Decode(rows.At(first), count, tile_.data());
      } else if (!stored && segment != nullptr) {
        segment->ReadVectors(first, count, tile_.data());
      }
      for (size_t query = begin; query < end; ++query) {
        if (direct) {
          stored_distance_(queries_[query].data(), rows.At(first), count, dimension_, distances);
        } else {
          distance_(queries_[query].data(), tile_.data(), count, dimension_, distances);
        }
        TopK& top = tops_[query];
        for (int64_t i = 0; i < count; ++i) {
          const Neighbor neighbor{distances[i], block.ids[first + i]};
          if (top.Wants(neighbor) && block.LiveAt(view_.sequence(), first + i) &&
              matches(first + i)) {
            top.Add(neighbor);
          }
        }
      }
      RETURN_IF_ERROR(Worked(count * dimension_ * static_cast<int64_t>(end - begin)));
    }
    return absl::OkStatus();
  }

  absl::Status ScanBuffer(const CollectionView::BufferPart& part,
                          const std::optional<PartFilter>& filter) {
    if (BufferScan::HasCodes(view_) && !by_code_.has_value()) by_code_.emplace(view_, queries_);
    for (int64_t first = 0; first < part.rows;) {
      const RowBlock block = part.buffer->Block(first, part.rows);
      const auto matches = [&](int64_t row) {
        return !filter.has_value() || filter->Accepts(first + row);
      };
      if (by_code_.has_value()) {
        by_code_->Scan(block, part.buffer->Codes(first, part.rows), matches, tops_);
        RETURN_IF_ERROR(Worked(block.count * dimension_ * std::ssize(queries_)));
      } else {
        RETURN_IF_ERROR(Scan(block, nullptr, 0, queries_.size(), matches));
      }
      first += block.count;
    }
    return absl::OkStatus();
  }

  // ---- Walks that are made elsewhere, those of all segments together

  void Leave(GraphWalk walk, std::optional<PartFilter> filter) {
    walks_.push_back(std::move(walk));
    walk_filters_.push_back(std::move(filter));
  }

  absl::Status TakeWalks() {
    if (walks_.empty()) return absl::OkStatus();
    std::vector<GraphWalked> walked;
    RETURN_IF_ERROR(walker_->Walk(walks_, queries_, poll_, &walked));
    for (size_t i = 0; i < walks_.size(); ++i) {
      for (size_t query = 0; query < queries_.size(); ++query) {
        RETURN_IF_ERROR(TakeWalk(walks_[i], walk_filters_[i], walked[i], query));
      }
    }
    return absl::OkStatus();
  }

  absl::Status TakeWalk(const GraphWalk& walk, const std::optional<PartFilter>& filter,
                        const GraphWalked& walked, size_t query) {
    const CollectionView::SegmentPart& part = walk.graph.part();
    const Segment& segment = *part.segment;
    const auto stride = static_cast<size_t>(walked.stride);
    if (walked.walked[query] != 0) {
      std::span<const uint32_t> nodes = std::span(walked.nodes).subspan(query * stride, stride);
      nodes = nodes.first(std::find(nodes.begin(), nodes.end(), UINT32_MAX) - nodes.begin());
      segment.index().graph()->SearchNodes(
          queries_[query].data(), nodes, walk.wanted,
          [&](int64_t row) {
            return (!filter.has_value() || filter->Accepts(row)) &&
                   segment.LiveAt(view_.sequence(), row);
          },
          &found_);
      RETURN_IF_ERROR(Worked(std::ssize(nodes) * dimension_));
      if (std::ssize(found_) >= std::min<int64_t>(params_.k, part.live)) {
        AddFound(segment, query);
        return absl::OkStatus();
      }
    }
    if (filter.has_value()) return SearchMatchingHere(part, *filter, query, query + 1);
    return WalkOrScan(part, walk.ef, query);
  }

  absl::Status ScanAll(const CollectionView::SegmentPart& part, size_t begin, size_t end) {
    const Segment& segment = *part.segment;
    return Scan(segment.Block(0, segment.rows()), &segment, begin, end, AllRows);
  }

  absl::Status WalkOrScan(const CollectionView::SegmentPart& part, int64_t ef, size_t query) {
    ASSIGN_OR_RETURN(const bool enough, Walk(part, ef, query));
    return enough ? absl::OkStatus() : ScanAll(part, query, query + 1);
  }

  // False where the graph did not yield as many live rows as there are to be found.
  absl::StatusOr<bool> Walk(const CollectionView::SegmentPart& part, int64_t ef, size_t query) {
    const Segment& segment = *part.segment;
    const int64_t wanted = std::min<int64_t>(params_.k, part.live);
    const auto live = [&](int64_t row) { return segment.LiveAt(view_.sequence(), row); };
    const SealedGraph& graph = *segment.index().graph();
    const float* const vector = queries_[query].data();
    for (; WalkPays(view_.spec(), segment.rows(), ef); ef *= 2) {
      if (rescores_together_) {
        graph.Find(vector, ef, wanted, live, &found_);
      } else {
        graph.Search(vector, ef, wanted, live, &found_);
      }
      RETURN_IF_ERROR(Worked(ef * 2 * view_.spec().hnsw_m * dimension_));
      if (std::ssize(found_) < wanted) continue;
      if (rescores_together_) {
        for (const GraphNeighbor& near : found_) met_[query].push_back({near, &segment});
      } else {
        AddFound(segment, query);
      }
      return true;
    }
    return false;
  }

  // Of what walks of all segments met, the nearest by their codes: so that many segments take no
  // more looks at vectors than one, which may have to come from the disk.
  absl::Status RescoreTogether() {
    if (!rescores_together_) return absl::OkStatus();
    const int64_t rescored = SealedGraph::RescoredRows(params_.k);
    for (size_t query = 0; query < queries_.size(); ++query) {
      std::vector<Met>& met = met_[query];
      // Those that are to be rescored in any case, then the others.
      const auto others = std::partition(met.begin(), met.end(), [](const Met& row) {
        return row.near.distance == -std::numeric_limits<float>::infinity();
      });
      if (met.end() - others > rescored) {
        std::nth_element(others, others + rescored, met.end(), [](const Met& a, const Met& b) {
          return a.near.distance < b.near.distance;
        });
        met.erase(others + rescored, met.end());
      }
      std::sort(met.begin(), met.end(), [](const Met& a, const Met& b) {
        return std::pair(a.segment->number(), a.near.row) <
               std::pair(b.segment->number(), b.near.row);
      });
      for (size_t first = 0; first < met.size();) {
        const Segment& segment = *met[first].segment;
        found_.clear();
        for (; first < met.size() && met[first].segment == &segment; ++first) {
          found_.push_back(met[first].near);
        }
        segment.index().graph()->Rescore(queries_[query].data(), found_);
        AddFound(segment, query);
      }
      RETURN_IF_ERROR(Worked(std::ssize(met) * dimension_));
    }
    return absl::OkStatus();
  }

  // The nearest rows of an inverted file that `accepts` takes.
  absl::Status Probe(const CollectionView::SegmentPart& part, size_t query,
                     absl::FunctionRef<bool(int64_t row)> accepts) {
    const Segment& segment = *part.segment;
    const IvfIndex& ivf = *segment.index().ivf();
    const IvfQuery probe{.vector = queries_[query].data(),
                         .nprobe = params_.nprobe.value_or(0),
                         .candidates = ProbeCandidates(params_),
                         .wanted = std::min<int64_t>(params_.k, part.live)};
    ivf.Search(probe, accepts, &found_);
    AddFound(segment, query);
    return Worked((ivf.lists() + std::ssize(found_)) * dimension_ + ivf.ProbedRows(probe.nprobe));
  }

  bool IsProbedThere(const CollectionView::SegmentPart& part) const {
    return prober_ != nullptr && part.live > 0 &&
           prober_->Takes({view_, part}, ProbeCandidates(params_));
  }

  // All queries in an inverted file, by the prober. `matching`: as ListProbe has it; `accepts`
  // takes the same rows.
  absl::Status ProbeThere(const CollectionView::SegmentPart& part, std::vector<uint32_t> matching,
                          absl::FunctionRef<bool(int64_t row)> accepts) {
    const Segment& segment = *part.segment;
    const auto candidates =
        static_cast<size_t>(std::clamp<int64_t>(ProbeCandidates(params_), 1, segment.rows()));
    RETURN_IF_ERROR(prober_->Probe({.file = {view_, part},
                                    .nprobe = params_.nprobe.value_or(0),
                                    .candidates = static_cast<int32_t>(candidates),
                                    .matching = std::move(matching)},
                                   queries_, poll_, &probed_));
    const auto wanted = static_cast<size_t>(std::min<int64_t>(params_.k, part.live));
    for (size_t query = 0; query < queries_.size(); ++query) {
      std::span<const uint32_t> rows = std::span(probed_).subspan(query * candidates, candidates);
      rows = rows.first(std::find(rows.begin(), rows.end(), UINT32_MAX) - rows.begin());
      if (rows.size() < wanted) {  // further lists have more
        RETURN_IF_ERROR(Probe(part, query, accepts));
        continue;
      }
      segment.index().ivf()->Rescore(queries_[query].data(), rows, &found_);
      AddFound(segment, query);
      RETURN_IF_ERROR(Worked(std::ssize(rows) * dimension_));
    }
    return absl::OkStatus();
  }

  // ---- With a filter

  // By the cheapest of three ways: comparing with every row that matches, if the indexes can tell
  // them and they are few; walking the graph along rows that match; where neither is possible,
  // scanning all.
  absl::Status SearchMatching(const CollectionView::SegmentPart& part) {
    const Segment& segment = *part.segment;
    PartFilter filter(*filter_, view_, part);
    if (walker_ != nullptr && segment.index().graph() != nullptr) {
      const int64_t ef = MatchingWalkEf(view_, part, params_, filter.share());
      if (ef > 0 && walker_->Takes({view_, part}, ef)) {
        std::vector<uint32_t> matching = segment.index().graph()->LiveNodes([&](int64_t row) {
          return filter.Accepts(row) && segment.LiveAt(view_.sequence(), row);
        });
        RETURN_IF_ERROR(Worked(segment.rows()));
        Leave({.graph = {view_, part},
               .ef = ef,
               .wanted = WalkedNodes(params_.k, ef),
               .matching = std::move(matching)},
              std::move(filter));
        return absl::OkStatus();
      }
    }
    if (segment.index().ivf() != nullptr && IsProbedThere(part) &&
        PlanMatching(view_, part, params_, filter.share()).walk_pays) {
      const auto matches = [&](int64_t row) {
        return filter.Accepts(row) && segment.LiveAt(view_.sequence(), row);
      };
      std::vector<uint32_t> matching(static_cast<size_t>((segment.rows() + 31) / 32));
      for (int64_t row = 0; row < segment.rows(); ++row) {
        if (matches(row)) matching[static_cast<size_t>(row / 32)] |= uint32_t{1} << row % 32;
      }
      RETURN_IF_ERROR(Worked(segment.rows()));
      return ProbeThere(part, std::move(matching), matches);
    }
    return SearchMatchingHere(part, filter, 0, queries_.size());
  }

  absl::Status SearchMatchingHere(const CollectionView::SegmentPart& part, const PartFilter& filter,
                                  size_t first, size_t last) {
    const Segment& segment = *part.segment;
    const bool all_live = part.live == segment.rows();
    const auto live = [&](int64_t row) {
      return filter.Accepts(row) && (all_live || segment.LiveAt(view_.sequence(), row));
    };
    const auto want = [&](int64_t row) {
      filter.Prefetch(row);
      if (!all_live) segment.PrefetchLive(row);
    };
    const MatchingPlan plan = PlanMatching(view_, part, params_, filter.share());
    const SealedGraph* const graph = segment.index().graph();
    const auto row_nodes = RowNodesOf(part);
    FilterNodes::Nodes nodes;
    if (graph != nullptr && !params_.exact && IsWorthKeeping(segment, filter)) {
      ASSIGN_OR_RETURN(nodes, filter.Nodes(poll_));
    }
    SealedGraph::Matching matching = {
        .live = live, .want = want, .share = plan.share, .seeds = {}, .row_nodes = row_nodes};
    if (nodes != nullptr) {
      matching.nodes = nodes->bits;
      matching.listed = nodes->listed;
      matching.all_live = all_live;
    }
    std::optional<std::vector<uint32_t>> matches;
    const auto compare_all = [&](size_t begin, size_t end) -> absl::Status {
      if (nodes != nullptr) {
        for (size_t query = begin; query < end; ++query) {
          graph->SearchAllMatching(queries_[query].data(), params_.k, matching, &found_);
          AddFound(segment, query);
          RETURN_IF_ERROR(
              Worked(static_cast<int64_t>(filter.share() * segment.rows()) * dimension_));
        }
        return absl::OkStatus();
      }
      if (filter.share() > 0.5) {
        return Scan(segment.Block(0, segment.rows()), &segment, begin, end,
                    [&](int64_t row) { return filter.Accepts(row); });
      }
      if (!matches.has_value()) {
        ASSIGN_OR_RETURN(matches, filter.Rows(poll_));
        if (!all_live) {
          std::erase_if(*matches,
                        [&](uint32_t row) { return !segment.LiveAt(view_.sequence(), row); });
        }
      }
      for (size_t query = begin; query < end; ++query) {
        RETURN_IF_ERROR(CompareRows(part, *matches, query));
      }
      return absl::OkStatus();
    };
    if (!plan.walk_pays) return compare_all(first, last);
    if (segment.index().ivf() != nullptr) {
      for (size_t query = first; query < last; ++query) {
        RETURN_IF_ERROR(Probe(part, query, live));
      }
      return absl::OkStatus();
    }
    constexpr int64_t kSeeds = 32;
    std::vector<uint32_t> seeds;
    if (!row_nodes.empty()) seeds = filter.Sample(kSeeds);
    matching.seeds = seeds;
    const int64_t wanted = std::min<int64_t>(params_.k, part.live);
    for (size_t query = first; query < last; ++query) {
      graph->SearchMatching(queries_[query].data(), plan.ef, wanted, matching, &found_);
      RETURN_IF_ERROR(Worked(plan.ef * 4 * view_.spec().hnsw_m * dimension_));
      if (std::ssize(found_) < wanted) {
        RETURN_IF_ERROR(compare_all(query, query + 1));
      } else {
        AddFound(segment, query);
      }
    }
    return absl::OkStatus();
  }

  // Fewer rows are found and compared as quickly without.
  static constexpr double kKeptFrom = 1024;
  static bool IsWorthKeeping(const Segment& segment, const PartFilter& filter) {
    return filter.share() * static_cast<double>(segment.rows()) >= kKeptFrom;
  }

  static std::span<const uint32_t> RowNodesOf(const CollectionView::SegmentPart& part) {
    if (part.payloads == nullptr) return {};
    return part.payloads->row_nodes();
  }

  void AddFound(const Segment& segment, size_t query) {
    for (const GraphNeighbor& neighbor : found_) {
      tops_[query].Add({neighbor.distance, segment.data().ids[neighbor.row]});
    }
  }

  // So many rows are compared by their vectors as quickly as by their codes first, since those want
  // a code of the query and some vectors, too.
  static constexpr int64_t kCodesFrom = 256;

  // One query against the live rows `rows`: by their codes first, unless that is to be exact.
  absl::Status CompareRows(const CollectionView::SegmentPart& part,
                           const std::vector<uint32_t>& rows, size_t query) {
    const Segment& segment = *part.segment;
    const auto row_nodes = RowNodesOf(part);
    if (!params_.exact && !row_nodes.empty() &&
        std::ssize(rows) > kCodesFrom + 16 * int64_t{params_.k}) {
      segment.index().graph()->SearchRows(queries_[query].data(), params_.k, rows, row_nodes,
                                          &found_);
      AddFound(segment, query);
      return Worked(std::ssize(rows) * dimension_);
    }
    tile_.resize(std::max(tile_.size(), static_cast<size_t>(dimension_)));
    const StoredRows& vectors = segment.data().vectors;
    constexpr size_t kAhead = 4;
    constexpr int64_t kLineBytes = 64;
    for (size_t i = 0; i < rows.size(); ++i) {
      float distance;
      if (vectors.bytes != nullptr) {
        if (i + kAhead < rows.size()) {
          const std::byte* const next = vectors.At(rows[i + kAhead]);
          for (int64_t byte = 0; byte < vectors.format.row_bytes(); byte += kLineBytes) {
            __builtin_prefetch(next + byte);
          }
        }
        stored_distance_(queries_[query].data(), vectors.At(rows[i]), 1, dimension_, &distance);
      } else {
        segment.ReadVectors(rows[i], 1, tile_.data());
        distance_(queries_[query].data(), tile_.data(), 1, dimension_, &distance);
      }
      tops_[query].Add({distance, segment.data().ids[rows[i]]});
      RETURN_IF_ERROR(Worked(dimension_));
    }
    return absl::OkStatus();
  }

  absl::Status Worked(int64_t multiplications) {
    unpolled_ += multiplications;
    if (unpolled_ < kPollMultiplications) return absl::OkStatus();
    unpolled_ = 0;
    return poll_();
  }

  const CollectionView& view_;
  const std::span<const std::vector<float>> queries_;
  const SearchParams& params_;
  const ViewFilter* const filter_;
  const Skipped& skipped_;
  const SearchPoll poll_;
  ViewWalker* const walker_;  // null: none
  ViewProber* const prober_;  // null: none
  const int64_t dimension_;
  const DistanceFn distance_;
  const StoredDistanceFn stored_distance_;
  const int64_t tile_rows_;
  std::vector<float> tile_;  // scratch of Scan: [tile_rows, dimension], row-major
  // A row of a segment that a walk met, its distance by codes.
  struct Met {
    GraphNeighbor near;
    const Segment* segment = nullptr;
  };
  bool rescores_together_ = false;
  std::vector<std::vector<Met>> met_;                    // [queries]
  std::vector<TopK> tops_;                               // [queries]
  std::optional<BufferScan> by_code_;                    // once a buffer is met
  std::vector<GraphNeighbor> found_;                     // scratch of Walk
  std::vector<uint32_t> probed_;                         // of the prober
  std::vector<GraphWalk> walks_;                         // left to the walker
  std::vector<std::optional<PartFilter>> walk_filters_;  // [walks]
  int64_t unpolled_ = 0;
};

// All of params but offset. The filter was made of that of params. Segments that cannot be read are
// added to those that are skipped, if params allows that.
absl::Status SearchAll(const CollectionView& view, std::span<const std::vector<float>> queries,
                       const SearchParams& params, const ViewFilter* filter, Skipped& skipped,
                       SearchPoll poll, const Elsewhere& elsewhere,
                       std::vector<std::vector<Neighbor>>* neighbors) {
  neighbors->clear();
  neighbors->reserve(queries.size());
  for (size_t first = 0; first < queries.size();) {
    RETURN_IF_ERROR(poll());
    const size_t together = elsewhere.prober != nullptr ? kProbedBlock : kQueryBlock;
    const size_t count = std::min(together, queries.size() - first);
    BlockSearch block(view, queries.subspan(first, count), params, filter, skipped, poll,
                      elsewhere);
    RETURN_IF_ERROR(block.Run());
    if (const Segment* const unreadable = block.FindUnreadable(); unreadable != nullptr) {
      if (!params.allow_partial) {
        return absl::UnavailableError(
            StrCat("a file of collection \"", view.spec().name,
                   "\" cannot be read; its points are being taken from the database: try again, or "
                   "set params.allow_partial"));
      }
      skipped.insert(unreadable);
      continue;  // once more, without it
    }
    for (std::vector<Neighbor>& found : block.Take()) neighbors->push_back(std::move(found));
    first += count;
  }
  return absl::OkStatus();
}

}  // namespace

bool WalkPays(const CollectionSpec& spec, int64_t rows, int64_t ef) {
  // It compares the query with about 2m neighbors of each of the ef candidates. Each costs the
  // multiplications of its distance and, for heaps and a cache miss, as much as 64 more: measured
  // on rows of 16 to 768 values.
  return ef * 2 * spec.hnsw_m * (spec.dimension + 64) < rows * spec.dimension;
}

int64_t WalkEf(const CollectionView& view, const CollectionView::SegmentPart& part,
               const SearchParams& params) {
  const int64_t wanted = EfOf(part, params);
  if (params.exact || wanted == 0 || part.live == 0) return 0;
  const int64_t ef = EfAmong(wanted, params.k, part.segment->rows(), part.live);
  return WalkPays(view.spec(), part.segment->rows(), ef) ? ef : 0;
}

int64_t MatchingWalkEf(const CollectionView& view, const CollectionView::SegmentPart& part,
                       const SearchParams& params, double filter_share) {
  const MatchingPlan plan = PlanMatching(view, part, params, filter_share);
  if (!plan.walk_pays) return 0;
  // The CPU's walk keeps so many that match; so does one in which they are this share of all.
  return static_cast<int64_t>(std::ceil(static_cast<double>(plan.ef) / plan.share));
}

int64_t ProbeCandidates(const SearchParams& params) {
  return std::max<int64_t>(params.ef, IvfCandidates(params.k));
}

absl::Status CheckSearchParams(const CollectionView& view, const SearchParams& params) {
  if (params.recall_target.has_value() && view.spec().index != IndexKind::kHnsw) {
    return absl::InvalidArgumentError(
        StrCat("params.recall_target is for graphs, but the index of collection \"",
               view.spec().name, "\" is an inverted file: set params.nprobe and params.ef"));
  }
  return absl::OkStatus();
}

float FarthestAllowed(const CollectionView& view, const SearchParams& params) {
  if (!params.score_threshold.has_value()) return std::numeric_limits<float>::infinity();
  return view.spec().metric == Metric::kL2 ? *params.score_threshold : -*params.score_threshold;
}

void CutNeighbors(const CollectionView& view, const SearchParams& params,
                  std::vector<Neighbor>& found) {
  if (params.score_threshold.has_value()) {
    const float limit = FarthestAllowed(view, params);
    const auto end = std::find_if(found.begin(), found.end(), [limit](const Neighbor& neighbor) {
      return neighbor.distance > limit;
    });
    found.erase(end, found.end());
  }
  const auto offset = std::min<int64_t>(params.offset, std::ssize(found));
  found.erase(found.begin(), found.begin() + offset);
}

absl::Status SearchView(const CollectionView& view, std::span<const std::vector<float>> queries,
                        const SearchParams& params, SearchPoll poll,
                        std::vector<std::vector<Neighbor>>* neighbors, int64_t* unsearched_points,
                        ViewWalker* walker, ViewProber* prober) {
  RETURN_IF_ERROR(CheckSearchParams(view, params));
  const Elsewhere elsewhere{.walker = walker, .prober = prober};
  std::optional<ViewFilter> filter;
  if (params.filter != nullptr) {
    ASSIGN_OR_RETURN(filter, ViewFilter::Make(view, *params.filter));
  }
  const ViewFilter* const made = filter.has_value() ? &*filter : nullptr;
  SearchParams all = params;
  all.k += params.offset;
  // Where a threshold may end it early, few are looked for first.
  const int32_t k = all.k;
  if (params.score_threshold.has_value() && !params.exact) {
    all.k = std::min(k, std::max(params.ef, int32_t{64}));
  }
  Skipped skipped;
  RETURN_IF_ERROR(SearchAll(view, queries, all, made, skipped, poll, elsewhere, neighbors));
  for (size_t query = 0; query < queries.size(); ++query) {
    std::vector<Neighbor>& found = (*neighbors)[query];
    SearchParams more = all;
    while (more.k < k && std::ssize(found) == more.k) {
      std::vector<Neighbor> within = found;
      CutNeighbors(view, params, within);
      if (std::ssize(within) + params.offset < more.k) break;
      more.k = static_cast<int32_t>(std::min<int64_t>(k, int64_t{more.k} * 4));
      std::vector<std::vector<Neighbor>> one;
      RETURN_IF_ERROR(
          SearchAll(view, queries.subspan(query, 1), more, made, skipped, poll, elsewhere, &one));
      found = std::move(one.front());
    }
    CutNeighbors(view, params, found);
  }
  if (made != nullptr) RETURN_IF_ERROR(made->status());
  if (unsearched_points == nullptr) return absl::OkStatus();
  *unsearched_points = 0;
  for (const CollectionView::SegmentPart& part : view.segments()) {
    if (skipped.contains(part.segment.get())) *unsearched_points += part.live;
  }
  return absl::OkStatus();
}

}  // namespace baton
