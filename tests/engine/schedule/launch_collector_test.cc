#include "engine/schedule/launch_collector.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

namespace baton {
namespace {

const LaunchKey kKey = {.executor = 1, .work_class = WorkClass::kSearchSingle, .kind = "k"};

BatchingOptions With(const std::string& strategy, int64_t items_max = 4) {
  BatchingOptions options;
  options.search_single = {
      .strategy = strategy, .coalesce_us = 100, .wait_us_max = 5000, .items_max = items_max};
  return options;
}

std::vector<uint64_t> IdsOf(const std::vector<LaunchCollector::Launch>& launches) {
  std::vector<uint64_t> ids;
  for (const auto& launch : launches) ids.insert(ids.end(), launch.ids.begin(), launch.ids.end());
  return ids;
}

TEST_CASE("low latency takes what is there") {
  LaunchCollector collector(With("low_latency"));
  collector.Begin(1, WorkClass::kSearchSingle);
  collector.Add(kKey, {.id = 1}, 10);
  collector.Add(kKey, {.id = 2}, 11);
  CHECK(collector.NextDueUs() == 10);
  const auto launches = collector.Take(11);
  REQUIRE(launches.size() == 1);
  CHECK(launches[0].ids == std::vector<uint64_t>{1, 2});
  CHECK(launches[0].items == 2);
  CHECK(launches[0].wait_us == 1);
  CHECK(collector.NextDueUs() == kNoDeadline);
}

TEST_CASE("time or size waits for either") {
  LaunchCollector collector(With("time_or_size"));
  collector.Add(kKey, {.id = 1}, 0);
  CHECK(collector.NextDueUs() == 100);
  CHECK(collector.Take(99).empty());
  CHECK(IdsOf(collector.Take(100)) == std::vector<uint64_t>{1});
  for (uint64_t id = 1; id <= 6; ++id) collector.Add(kKey, {.id = id}, 200);
  CHECK(IdsOf(collector.Take(200)) == std::vector<uint64_t>{1, 2, 3, 4});  // full
  CHECK(IdsOf(collector.Take(300)) == std::vector<uint64_t>{5, 6});
}

TEST_CASE("adaptive waits only while the executor is busy") {
  LaunchCollector collector(With("adaptive"));
  collector.Add(kKey, {.id = 1}, 0);
  CHECK(IdsOf(collector.Take(0)) == std::vector<uint64_t>{1});
  collector.Begin(1, WorkClass::kSearchSingle);
  collector.Add(kKey, {.id = 2}, 10);
  CHECK(collector.Take(50).empty());
  collector.End(1, WorkClass::kSearchSingle);
  CHECK(IdsOf(collector.Take(50)) == std::vector<uint64_t>{2});
  collector.Begin(1, WorkClass::kSearchSingle);
  collector.Begin(2, WorkClass::kSearchSingle);  // others' launches are not its own
  collector.End(2, WorkClass::kSearchSingle);
  collector.Add(kKey, {.id = 3}, 60);
  CHECK(collector.Take(159).empty());
  CHECK(IdsOf(collector.Take(160)) == std::vector<uint64_t>{3});  // no longer than that
}

// An executor of so much room, where company pays or not.
BatchingOptions Adaptive() { return With("adaptive"); }

TEST_CASE("adaptive waits for room where company pays, and not at all where it does not") {
  LaunchOutlook outlook = {.known = true, .pays = true, .room = 1, .patience_us = 700};
  LaunchCollector collector(Adaptive(),
                            [&](const LaunchKey&, const WorkShape& first, int64_t items) {
                              CHECK(first.items == 1);
                              CHECK(items >= 1);
                              return outlook;
                            });
  collector.Begin(1, WorkClass::kSearchSingle);  // there is room nevertheless
  collector.Add(kKey, {.id = 1}, 0);
  CHECK(IdsOf(collector.Take(0)) == std::vector<uint64_t>{1});
  outlook.room = 0;
  collector.Add(kKey, {.id = 2}, 10);
  collector.Add(kKey, {.id = 3}, 20);
  CHECK(collector.NextDueUs() == 710);
  CHECK(collector.Take(709).empty());
  outlook.room = 1;
  CHECK(collector.Take(709).size() == 1);  // both
  outlook.room = 0;
  collector.Add(kKey, {.id = 4}, 800);
  CHECK(IdsOf(collector.Take(1500)) == std::vector<uint64_t>{4});  // no longer than that
  outlook.pays = false;
  collector.Add(kKey, {.id = 5}, 1600);
  collector.Add(kKey, {.id = 6}, 1600);
  const auto launches = collector.Take(1600);
  REQUIRE(launches.size() == 2);
  CHECK(IdsOf(launches) == std::vector<uint64_t>{5, 6});
}

TEST_CASE("room for one launch is the most urgent's") {
  int room = 1;
  LaunchCollector collector(Adaptive(), [&](const LaunchKey&, const WorkShape&, int64_t) {
    return LaunchOutlook{.known = true, .room = room, .patience_us = 10'000};
  });
  LaunchKey late = kKey;
  late.kind = "a";  // before the other in any other order
  LaunchKey never = kKey;
  never.kind = "0";
  collector.Add(never, {.id = 1}, 0);
  collector.Add(late, {.id = 2, .wanted_us = 9000, .run_us = 100}, 0);
  collector.Add(kKey, {.id = 3, .wanted_us = 9100, .run_us = 500}, 5);
  CHECK(collector.AheadUs(1, WorkClass::kSearchBulk) == 600);
  CHECK(collector.AheadUs(1, WorkClass::kSearchSingle) == 0);
  CHECK(collector.AheadUs(0, WorkClass::kSearchBulk) == 0);
  CHECK(IdsOf(collector.Take(10)) == std::vector<uint64_t>{3});
  CHECK(IdsOf(collector.Take(10)) == std::vector<uint64_t>{2});
  room = 0;
  CHECK(collector.Take(10).empty());
  CHECK(IdsOf(collector.Take(10'000)) == std::vector<uint64_t>{1});
}

TEST_CASE("high throughput fills launches, within a bound") {
  LaunchCollector collector(With("high_throughput"));
  for (uint64_t id = 1; id <= 3; ++id) collector.Add(kKey, {.id = id}, 0);
  CHECK(collector.NextDueUs() == 5000);
  CHECK(collector.Take(4999).empty());
  CHECK(IdsOf(collector.Take(5000)).size() == 3);
}

TEST_CASE("what differs never goes together, and a large piece goes alone") {
  LaunchCollector collector(With("low_latency"));
  LaunchKey other = kKey;
  other.kind = "other";
  collector.Add(kKey, {.id = 1}, 0);
  collector.Add(other, {.id = 2}, 0);
  collector.Add(kKey, {.id = 3, .items = 9}, 0);
  collector.Add(kKey, {.id = 4}, 0);
  const auto launches = collector.Take(0);
  REQUIRE(launches.size() == 4);
  for (const auto& launch : launches) CHECK(launch.ids.size() == 1);
}

// Random traces: every piece goes exactly once, in the order of its key, within its bound, before
// its deadline, in no launch that is too large; and the loop that sleeps until NextDueUs() is never
// late.
TEST_CASE("no trace starves a piece or makes it late") {
  const uint32_t seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(n));
  };
  const char* strategies[] = {"low_latency", "adaptive", "time_or_size", "high_throughput"};
  for (int trace = 0; trace < 20000; ++trace) {
    const std::string strategy = strategies[below(4)];
    const BatchingOptions options = With(strategy, 1 + below(6));
    const TimeUs bound_us = strategy == "low_latency"       ? 0
                            : strategy == "high_throughput" ? 5000
                                                            : 100;
    LaunchCollector collector(options);
    struct Known {
      TimeUs came_us;
      int64_t items;
      TimeUs latest_us;
      int kind;
    };
    std::map<uint64_t, Known> waiting;
    std::map<int, uint64_t> last;  // by kind: ids go up
    int64_t in_flight = 0;
    TimeUs now_us = 0;
    uint64_t next_id = 1;
    for (int step = 0; step < 30 || !waiting.empty(); ++step) {
      REQUIRE(step < 1000);
      const bool arrivals = step < 30;
      if (arrivals && below(2) == 0) {
        const int kind = static_cast<int>(below(3));
        LaunchKey key = kKey;
        key.kind = std::to_string(kind);
        const LaunchPiece piece{.id = next_id++,
                                .items = 1 + below(below(4) == 0 ? 9 : 2),
                                .latest_us = below(4) == 0 ? now_us + below(200) : kNoDeadline};
        collector.Add(key, piece, now_us);
        waiting[piece.id] = {now_us, piece.items, piece.latest_us, kind};
      }
      if (in_flight > 0 && below(3) == 0) {
        collector.End(1, WorkClass::kSearchSingle);
        --in_flight;
      }
      for (const auto& launch : collector.Take(now_us)) {
        REQUIRE_FALSE(launch.ids.empty());
        int64_t items = 0;
        for (const uint64_t id : launch.ids) {
          REQUIRE(waiting.count(id) == 1);
          const Known& known = waiting.at(id);
          REQUIRE(launch.key.kind == std::to_string(known.kind));
          REQUIRE(now_us - known.came_us <= bound_us);
          REQUIRE(now_us <= std::max(known.latest_us, known.came_us));
          REQUIRE(id > last[known.kind]);
          last[known.kind] = id;
          items += known.items;
          waiting.erase(id);
        }
        REQUIRE(items == launch.items);
        REQUIRE((launch.ids.size() == 1 || items <= options.search_single.items_max));
        collector.Begin(1, WorkClass::kSearchSingle);
        ++in_flight;
      }
      const TimeUs due_us = collector.NextDueUs();
      REQUIRE((due_us == kNoDeadline) == waiting.empty());
      const TimeUs later_us = now_us + below(300);
      now_us = arrivals ? std::min(later_us, due_us) : due_us == kNoDeadline ? later_us : due_us;
    }
  }
}

}  // namespace
}  // namespace baton
