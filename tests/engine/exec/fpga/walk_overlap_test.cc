// Searches that lack graphs, beside the bringing of these: by the order in which the plug-in on the
// emulated card is asked for either. No figure here is a time.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/engine/exec/fpga/search_harness.h"

namespace baton {
namespace {

enum class Did { kBringBegins, kBringEnds, kWalkBegins, kWalkEnds };
struct Event {
  Did did = {};
  int graph = 0;  // the how manyth that was brought
  bool operator==(const Event&) const = default;
};

// The plug-in's table, with what is asked of it noted, and held back until something else was. One
// at a time.
class Watch {
 public:
  Watch() {
    const auto plugin = LoadPlugin(kFpgaPlugin, EmulatedFpga().plugin);
    REQUIRE_OK(plugin);
    its_ = plugin->table;
    table_ = *its_;
    table_.walk_graph_create = Bring;
    table_.walk = Walk;
    watch_ = this;
  }
  ~Watch() { watch_ = nullptr; }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  const baton_executor_plugin* table() const { return &table_; }
  // Before what they hold back is asked for.
  void HoldBring(int graph, Event until) { bring_holds_[graph] = until; }
  void HoldWalk(int graph, Event until) { walk_holds_[graph] = until; }
  void HoldBringUntilStopped(int graph) { bring_stops_ = graph; }
  void FailBring(int graph) { bring_fails_ = graph; }

  // What was, so that it may be waited for again; while nothing is asked for.
  void Forget() {
    const std::lock_guard lock(mutex_);
    events_.clear();
  }

  void Await(Event event) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::seconds(20), [&] {
      return std::find(events_.begin(), events_.end(), event) != events_.end();
    });
    if (!came) late_ = true;
  }
  // Whether something was waited for that did not come.
  bool late() const { return late_; }
  // When it was, of all events; -1: never.
  int64_t At(Event event) {
    const std::lock_guard lock(mutex_);
    const auto found = std::find(events_.begin(), events_.end(), event);
    return found == events_.end() ? -1 : found - events_.begin();
  }

 private:
  static int32_t Bring(baton_open_device* device, const baton_walk_graph_job* job,
                       baton_walk_graph** graph, baton_error* error) {
    Watch& self = *watch_;
    const int number = ++self.brought_;
    self.Note({Did::kBringBegins, number});
    self.Hold(self.bring_holds_, number);
    if (number == self.bring_stops_) {
      const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (job->stop(job->stop_context) == 0 && !self.late_) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (std::chrono::steady_clock::now() > until) self.late_ = true;
      }
    }
    if (number == self.bring_fails_) {
      std::snprintf(error->message, sizeof(error->message), "the test lets it fail");
      return BATON_INTERNAL;
    }
    const int32_t code = self.its_->walk_graph_create(device, job, graph, error);
    if (code == BATON_OK) {
      const std::lock_guard lock(self.mutex_);
      self.numbers_[*graph] = number;
    }
    self.Note({Did::kBringEnds, number});
    return code;
  }
  static int32_t Walk(baton_open_device* device, const baton_walk* walk, baton_error* error) {
    Watch& self = *watch_;
    std::vector<int> graphs;
    for (int64_t i = 0; i < walk->part_count; ++i) {
      const std::lock_guard lock(self.mutex_);
      graphs.push_back(self.numbers_.at(baton_walk_part_at(walk, i)->graph));
    }
    for (const int graph : graphs) self.Note({Did::kWalkBegins, graph});
    for (const int graph : graphs) self.Hold(self.walk_holds_, graph);
    const int32_t code = self.its_->walk(device, walk, error);
    for (const int graph : graphs) self.Note({Did::kWalkEnds, graph});
    return code;
  }

  void Note(Event event) {
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
    }
    changed_.notify_all();
  }
  void Hold(const std::map<int, Event>& holds, int graph) {
    const auto hold = holds.find(graph);
    if (hold != holds.end()) Await(hold->second);
  }

  static inline Watch* watch_ = nullptr;
  const baton_executor_plugin* its_ = nullptr;
  baton_executor_plugin table_ = {};
  std::map<int, Event> bring_holds_;
  std::map<int, Event> walk_holds_;
  int bring_stops_ = 0;
  int bring_fails_ = 0;
  std::atomic<int> brought_ = 0;
  std::atomic<bool> late_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> events_;                       // mutex_
  std::map<const baton_walk_graph*, int> numbers_;  // mutex_
};

// Segments of 1,600 points each.
std::shared_ptr<const CollectionView> ViewOf(FpgaStore& store, int64_t segments) {
  for (int64_t i = 0; i < segments; ++i) {
    store.Upsert(1600 * i, 1600);
    store.store->WaitUntilIdle();
  }
  auto view = store.View();
  REQUIRE(std::ssize(view->segments()) == segments);
  return view;
}

void CheckStrict(const std::vector<std::vector<Neighbor>>& found,
                 const std::shared_ptr<const CollectionView>& view,
                 const std::vector<std::vector<float>>& queries, const SearchParams& params) {
  const StrictCpu cpu(view);
  REQUIRE(found.size() == queries.size());
  for (size_t i = 0; i < queries.size(); ++i) {
    CHECK(found[i] == cpu.Search(queries[i], params.k, params.ef));
  }
}

const SearchParams kParams{.k = 5, .ef = 40};

TEST_CASE("a search walks each graph while the next one is brought") {
  FpgaStore store(GraphSpec());
  const int segments = 3;
  const auto view = ViewOf(store, segments);
  Watch watch;
  FpgaSearch fpga(64, 60000, watch.table());
  for (int graph = 1; graph < segments; ++graph) {
    watch.HoldBring(graph + 1, {Did::kWalkBegins, graph});
    watch.HoldWalk(graph, {Did::kBringBegins, graph + 1});
  }
  const auto queries = store.Queries(3);
  CheckStrict(fpga.Must(view, queries, kParams), view, queries, kParams);
  CHECK_FALSE(watch.late());
  for (int graph = 1; graph < segments; ++graph) {
    CHECK(watch.At({Did::kBringEnds, graph}) < watch.At({Did::kWalkBegins, graph}));
    CHECK(watch.At({Did::kWalkBegins, graph}) < watch.At({Did::kBringEnds, graph + 1}));
    CHECK(watch.At({Did::kBringBegins, graph + 1}) < watch.At({Did::kWalkEnds, graph}));
  }
  CHECK(fpga.search.graphs().Residency().loaded == segments);
  // All there: nothing is brought.
  CheckStrict(fpga.Must(view, queries, kParams), view, queries, kParams);
  CHECK(watch.At({Did::kBringBegins, segments + 1}) == -1);
}

TEST_CASE("what is there is walked before what is not is brought") {
  FpgaStore store(GraphSpec());
  const auto before = ViewOf(store, 1);
  Watch watch;
  FpgaSearch fpga(64, 60000, watch.table());
  const auto queries = store.Queries(2);
  CheckStrict(fpga.Must(before, queries, kParams), before, queries, kParams);
  store.Upsert(1600, 1600);
  store.store->WaitUntilIdle();
  const auto view = store.View();
  REQUIRE(view->segments().size() == 2);
  watch.Forget();
  watch.HoldWalk(1, {Did::kBringBegins, 2});
  watch.HoldBring(2, {Did::kWalkEnds, 1});
  CheckStrict(fpga.Must(view, queries, kParams), view, queries, kParams);
  CHECK_FALSE(watch.late());
  CHECK(watch.At({Did::kBringBegins, 3}) == -1);
}

TEST_CASE("a search walks while another's graph is brought and the other way round") {
  FpgaStore store(GraphSpec());
  for (const char* name : {"d", "e"}) {
    REQUIRE_OK(store.store->CreateCollection(GraphSpec(Metric::kL2, name), ""));
  }
  for (const char* name : {"c", "d", "e"}) {
    store.Upsert(0, 1600, name);
    store.store->WaitUntilIdle();
  }
  Watch watch;
  FpgaSearch fpga(64, 60000, watch.table());
  const auto queries = store.Queries(2);
  // Brought in the order in which they are asked for: c is graph 1, d is 2, e is 3.
  watch.HoldWalk(1, {Did::kBringEnds, 2});
  watch.HoldBring(3, {Did::kWalkEnds, 2});
  auto first = fpga.Submit(store.View("c"), queries, kParams);
  watch.Await({Did::kWalkBegins, 1});
  auto second = fpga.Submit(store.View("d"), queries, kParams);
  watch.Await({Did::kBringEnds, 2});
  auto third = fpga.Submit(store.View("e"), queries, kParams);
  const char* names[] = {"c", "d", "e"};
  std::future<SearchBatchResult>* all[] = {&first, &second, &third};
  for (int i = 0; i < 3; ++i) {
    const SearchBatchResult result = all[i]->get();
    REQUIRE_OK(result.status);
    CheckStrict(result.neighbors, store.View(names[i]), queries, kParams);
  }
  CHECK_FALSE(watch.late());
  CHECK(watch.At({Did::kBringEnds, 2}) < watch.At({Did::kWalkEnds, 1}));
  CHECK(watch.At({Did::kWalkEnds, 2}) < watch.At({Did::kBringEnds, 3}));
}

TEST_CASE("a search that may not go on ends while its graph is brought and leaves nothing behind") {
  FpgaStore store(GraphSpec());
  const auto view = ViewOf(store, 1);
  Watch watch;
  FpgaSearch fpga(64, 60000, watch.table());
  watch.HoldBringUntilStopped(1);
  const auto queries = store.Queries(2);
  const SearchBatchResult late =
      fpga.Submit(view, queries, kParams, SystemClock().NowUs() + 50'000).get();
  CHECK(absl::IsDeadlineExceeded(late.status));
  CHECK_FALSE(watch.late());
  CHECK(fpga.search.graphs().Residency().graphs == 0);
  CHECK(fpga.device->TakeSample().walk_bytes.value_or(-1) == 0);
  CheckStrict(fpga.Must(view, queries, kParams), view, queries, kParams);
}

TEST_CASE("a graph that does not come ends its search and stays no obstacle") {
  FpgaStore store(GraphSpec());
  const auto view = ViewOf(store, 3);
  Watch watch;
  FpgaSearch fpga(64, 60000, watch.table());
  watch.HoldBring(2, {Did::kWalkBegins, 1});
  watch.FailBring(2);
  const auto queries = store.Queries(2);
  const SearchBatchResult failed = fpga.Submit(view, queries, kParams).get();
  CHECK(absl::IsInternal(failed.status));
  CHECK_THAT(std::string(failed.status.message()), Catch::Contains("the test lets it fail"));
  CHECK_FALSE(watch.late());
  CHECK(watch.At({Did::kBringBegins, 3}) == -1);
  CHECK(fpga.search.graphs().Residency().graphs == 1);
  CheckStrict(fpga.Must(view, queries, kParams), view, queries, kParams);
  CHECK(fpga.search.graphs().Residency().graphs == 3);
}

}  // namespace
}  // namespace baton
