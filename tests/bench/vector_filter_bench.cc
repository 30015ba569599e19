// Filtered search on one thread: recall@10 and queries per second where 0.1 to 99 % of the points
// match, beside what it has to be better than: comparing with every match, and a tenth of the speed
// without a filter. The matching points are drawn without regard to the query, or lie on the other
// side of the space from it ("far").
//
// Figures of each share, e.g. filter_1pct and filter_1pct_far:
//   NAME.recall, NAME.qps   at the smallest ef of a few that reaches 0.95, or at the largest. The
//                           same filter, or one of two, is asked again and again: what matches is
//                           known by node from the second time on (FilterNodes)
//   NAME.new_qps            the same where no filter was asked before: each has one condition more,
//                           which all points meet
//   NAME.exact_qps          comparing with every match
//   NAME.bar_ratio          qps / the better of exact_qps and unfiltered.qps / 10; 1 and more is
//   met
// --only NAME measures that share alone, beside no filter. --keep FOLDER keeps the index there, and
// takes it from there: building takes most of the time.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "engine/base/metrics.h"
#include "engine/vector/vector_store.h"
#include "engine/vector/view_search.h"
#include "tests/bench/bench_tools.h"
#include "tests/bench/vector_sets.h"
#include "tests/support/bench_report.h"

namespace baton {
namespace {

constexpr int32_t kK = 10;
constexpr double kRecall = 0.95;
constexpr int64_t kPerMille = 1000;

// How far each vector lies in one direction, as its place among the rows: 0 to 999.
class Direction {
 public:
  Direction(const VectorSet& set, uint64_t seed) : direction_(static_cast<size_t>(set.dimension)) {
    std::mt19937_64 random(seed + 1);
    std::normal_distribution<float> normal;
    for (float& value : direction_) value = normal(random);
    for (int64_t row = 0; row < set.rows(); ++row) sorted_.push_back(Project(set.row(row)));
    std::sort(sorted_.begin(), sorted_.end());
  }

  int64_t PlaceOf(const float* vector) const {
    const auto place =
        std::lower_bound(sorted_.begin(), sorted_.end(), Project(vector)) - sorted_.begin();
    return std::min(kPerMille - 1, place * kPerMille / std::ssize(sorted_));
  }

 private:
  float Project(const float* vector) const {
    return std::inner_product(direction_.begin(), direction_.end(), vector, 0.0f);
  }

  std::vector<float> direction_;
  std::vector<float> sorted_;
};

std::unique_ptr<VectorStore> OpenStore(const VectorSet& set, const std::string& folder,
                                       const BenchArgs& args, const Direction& direction,
                                       Metrics& metrics) {
  VectorOptions options;
  options.data_dir = folder;
  options.fsync = "interval";
  options.seal_points = std::max<int64_t>(16, set.rows());
  auto store = OrDie(VectorStore::Open(options, metrics));
  if (store->View("c").ok() && OrDie(store->View("c"))->points() == set.rows()) return store;
  const auto begin = SteadyClock::now();
  OrDie(store->CreateCollection(
      {.name = "c", .dimension = static_cast<int32_t>(set.dimension), .metric = set.metric}, ""));
  OrDie(store->CreatePayloadIndex("c", {"any", PayloadIndexKind::kInteger}));
  OrDie(store->CreatePayloadIndex("c", {"place", PayloadIndexKind::kInteger}));
  std::mt19937_64 random(args.seed);
  for (int64_t first = 0; first < set.rows(); first += 1000) {
    std::vector<Write> writes(1);
    writes[0].collection = "c";
    for (int64_t i = first; i < std::min(first + 1000, set.rows()); ++i) {
      Point point;
      point.id = static_cast<PointId>(i);
      point.vector.assign(set.row(i), set.row(i) + set.dimension);
      point.payload = {{"any", static_cast<int64_t>(random() % kPerMille)},
                       {"place", direction.PlaceOf(set.row(i))}};
      writes[0].upserts.push_back(std::move(point));
    }
    OrDie(store->Commit(std::move(writes)).at(0).status);
  }
  store->WaitUntilIdle();
  std::printf("%ld points built in %.1f s\n", static_cast<long>(set.rows()),
              std::chrono::duration<double>(SteadyClock::now() - begin).count());
  std::fflush(stdout);
  return store;
}

class Bench {
 public:
  Bench(const VectorSet& set, const Direction& direction,
        std::shared_ptr<const CollectionView> view, BenchReport& report)
      : set_(set), direction_(direction), view_(std::move(view)), report_(report) {}

  // No filter where `per_mille` is 1000.
  void Run(const std::string& name, int64_t per_mille, bool far) {
    filters_.clear();
    new_filters_.clear();
    for (int64_t q = 0; q < set_.query_count(); ++q) {
      filters_.push_back(per_mille == kPerMille ? nullptr : MakeFilter(q, per_mille, far));
      new_filters_.push_back(filters_.back());
    }
    const int64_t queries = set_.query_count();
    std::vector<std::vector<Neighbor>> exact;
    const double exact_pace = Time({.k = kK, .exact = true}, filters_, queries, &exact);
    SearchParams params{.k = kK};
    double recall = 0;
    std::vector<std::vector<Neighbor>> found;
    for (const int32_t ef : {16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024}) {
      params.ef = ef;
      Time(params, filters_, queries, &found);
      recall = Recall(found, exact);
      if (recall >= kRecall) break;
    }
    std::printf("%-18s ef %4d\n", name.c_str(), params.ef);
    report_.Add(name + ".recall", recall, "");
    if (per_mille == kPerMille) unfiltered_ef_ = params.ef;
    // In turns: the machine may not be alone.
    constexpr int kRounds = 5;
    constexpr double kExactSeconds = 0.2;
    const int64_t exact_queries = std::clamp(static_cast<int64_t>(exact_pace * kExactSeconds),
                                             std::min<int64_t>(20, queries), queries);
    const std::vector<FilterPtr> none(filters_.size());
    std::vector<double> qps;
    std::vector<double> new_qps;
    std::vector<double> exact_qps;
    std::vector<double> ratios;
    for (int round = 0; round < kRounds; ++round) {
      qps.push_back(Time(params, filters_, queries, &found));
      if (per_mille != kPerMille) {
        RenewFilters();
        new_qps.push_back(Time(params, new_filters_, queries, &found));
      }
      exact_qps.push_back(Time({.k = kK, .exact = true}, filters_, exact_queries, &found));
      const double unfiltered = Time({.k = kK, .ef = unfiltered_ef_}, none, queries, &found);
      ratios.push_back(qps.back() / std::max(exact_qps.back(), unfiltered / 10));
    }
    report_.Add(name + ".qps", Median(qps), "queries/s");
    if (per_mille != kPerMille) report_.Add(name + ".new_qps", Median(new_qps), "queries/s");
    report_.Add(name + ".exact_qps", Median(exact_qps), "queries/s");
    if (per_mille != kPerMille) report_.Add(name + ".bar_ratio", Median(ratios), "");
  }

 private:
  FilterPtr MakeFilter(int64_t q, int64_t per_mille, bool far) const {
    Condition condition{.field = far ? "place" : "any",
                        .test = InRange{Bounds<int64_t>{.lt = per_mille}}};
    if (far && direction_.PlaceOf(set_.query(q)) < kPerMille / 2) {
      condition.test = InRange{Bounds<int64_t>{.gte = kPerMille - per_mille}};
    }
    return std::make_shared<Filter>(condition);
  }

  // New filters that mean what filters_ do.
  void RenewFilters() {
    for (size_t q = 0; q < filters_.size(); ++q) {
      auto filter = std::make_shared<Filter>(*filters_[q]);
      filter->Add(Filter::kRoot, Filter::Clause::kMustNot,
                  {.field = "any", .test = Match{.any = {--never_}}});
      new_filters_[q] = std::move(filter);
    }
  }

  // The first queries' searches per second.
  double Time(SearchParams params, const std::vector<FilterPtr>& filters, int64_t queries,
              std::vector<std::vector<Neighbor>>* found) {
    found->clear();
    const auto begin = SteadyClock::now();
    for (int64_t q = 0; q < queries; ++q) {
      query_.assign(set_.query(q), set_.query(q) + set_.dimension);
      params.filter = filters[static_cast<size_t>(q)];
      OrDie(SearchView(
          *view_, std::span(&query_, 1), params, [] { return absl::OkStatus(); }, &one_));
      found->push_back(one_.front());
    }
    return static_cast<double>(queries) /
           std::chrono::duration<double>(SteadyClock::now() - begin).count();
  }

  // Of what there is to be found.
  static double Recall(const std::vector<std::vector<Neighbor>>& found,
                       const std::vector<std::vector<Neighbor>>& exact) {
    int64_t right = 0;
    int64_t all = 0;
    for (size_t q = 0; q < exact.size(); ++q) {
      all += std::ssize(exact[q]);
      if (found[q].size() != exact[q].size()) {
        std::fprintf(stderr, "query %zu: found %zu of %zu\n", q, found[q].size(), exact[q].size());
        std::exit(1);
      }
      for (const Neighbor& neighbor : found[q]) {
        right += neighbor.distance <= exact[q].back().distance ? 1 : 0;
      }
    }
    return all == 0 ? 1 : static_cast<double>(right) / static_cast<double>(all);
  }

  const VectorSet& set_;
  const Direction& direction_;
  const std::shared_ptr<const CollectionView> view_;
  BenchReport& report_;
  std::vector<FilterPtr> filters_;      // [queries]
  std::vector<FilterPtr> new_filters_;  // [queries]
  int64_t never_ = 0;                   // a value of no point
  int32_t unfiltered_ef_ = 64;
  std::vector<float> query_;
  std::vector<std::vector<Neighbor>> one_;
};

int Main(int argc, char** argv) {
  std::string points = "1000000";
  std::string queries = "200";
  std::string keep;
  std::string only;
  const BenchArgs args = ParseBenchArgs(argc, argv,
                                        {{"--points", "N", &points},
                                         {"--queries", "N", &queries},
                                         {"--only", "NAME", &only},
                                         {"--keep", "FOLDER", &keep}});
  GeneratedSet wanted{.name = "l2-128",
                      .metric = Metric::kL2,
                      .dimension = args.tiny ? 16 : 128,
                      .rows = args.tiny ? 3000 : std::strtoll(points.c_str(), nullptr, 10),
                      .queries = args.tiny ? 20 : std::strtoll(queries.c_str(), nullptr, 10),
                      .seed = args.seed};
  if (wanted.rows < kK || wanted.queries < 1) {
    std::fprintf(stderr, "--points must be %d at least, --queries 1\n", kK);
    return 2;
  }
  const VectorSet set = GenerateVectorSet(wanted, 0);
  const Direction direction(set, args.seed);
  std::string folder = keep;
  if (keep.empty()) {
    folder = (std::filesystem::temp_directory_path() / "baton-bench-XXXXXX").string();
    if (mkdtemp(folder.data()) == nullptr) OrDie(absl::ErrnoToStatus(errno, folder));
  }
  BenchReport report(args);
  {
    Metrics metrics;
    const auto store = OpenStore(set, folder, args, direction, metrics);
    store->WaitUntilIdle();
    Bench bench(set, direction, OrDie(store->View("c")), report);
    bench.Run("unfiltered", kPerMille, false);
    for (const bool far : {false, true}) {
      for (const auto& [name, per_mille] :
           {std::pair{"filter_0_1pct", 1}, std::pair{"filter_1pct", 10},
            std::pair{"filter_5pct", 50}, std::pair{"filter_20pct", 200},
            std::pair{"filter_50pct", 500}, std::pair{"filter_90pct", 900},
            std::pair{"filter_99pct", 990}}) {
        const std::string full_name = std::string(name) + (far ? "_far" : "");
        if (only.empty() || only == full_name) bench.Run(full_name, per_mille, far);
      }
    }
  }
  if (keep.empty()) std::filesystem::remove_all(folder);
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Main(argc, argv); }
