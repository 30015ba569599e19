#include "engine/write_lane.h"

#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/eventually.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

struct Fixture {
  explicit Fixture(int64_t build_threads, int64_t write_wait_ms) {
    VectorOptions options;
    options.data_dir = dir.path();
    options.fsync = "interval";
    options.seal_points = 64;
    options.disk_reserve_mb = 0;
    options.unindexed_points_max = 100;
    options.build_threads = build_threads;
    options.build_nice = 0;
    options.write_wait_ms = write_wait_ms;
    auto opened = VectorStore::Open(options, metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
    for (const char* const name : {"c", "d"}) {
      REQUIRE_OK(
          store->CreateCollection({.name = name, .dimension = 4, .metric = Metric::kL2}, ""));
    }
    lane = std::make_unique<WriteLane>(*store, SystemClock(), metrics, 100);
  }

  std::future<WriteLane::Outcome> Upsert(const std::string& collection, PointId first, int count,
                                         TimeUs deadline_us = kNoDeadline) {
    Write write{.collection = collection, .upserts = {}, .deletes = {}};
    for (int i = 0; i < count; ++i) {
      const auto value = static_cast<float>(first + static_cast<PointId>(i));
      Point point;
      point.id = first + static_cast<PointId>(i);
      point.vector = {value, 1, value * 0.5f, value * value};
      write.upserts.push_back(std::move(point));
    }
    return Push(std::move(write), deadline_us);
  }
  std::future<WriteLane::Outcome> Push(Write write, TimeUs deadline_us = kNoDeadline) {
    auto promise = std::make_shared<std::promise<WriteLane::Outcome>>();
    REQUIRE(lane->TryWrite(std::move(write), deadline_us, [promise](WriteLane::Outcome outcome) {
      promise->set_value(std::move(outcome));
    }));
    return promise->get_future();
  }
  double Pending() { return metrics.Gauge(MetricId::kWritesPending).Value(); }
  double PendingBytes() { return metrics.Gauge(MetricId::kWritesPendingBytes).Value(); }
  double Held() { return metrics.Gauge(MetricId::kWritesHeld).Value(); }

  TempDir dir;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
  std::unique_ptr<WriteLane> lane;
};

TEST_CASE("writes that wait together are one commit") {
  Fixture f(/*build_threads=*/0, /*write_wait_ms=*/200);
  const auto commits = [&f] {
    for (const auto& family : f.metrics.registry()->Collect()) {
      if (family.name == "baton_write_commit_seconds") {
        return family.metric.at(0).histogram.sample_count;
      }
    }
    return uint64_t{0};
  };
  const uint64_t before = commits();
  std::promise<void> begun;
  std::promise<void> may_end;
  REQUIRE(f.lane->TryChange([&] {
    begun.set_value();
    may_end.get_future().wait();
  }));
  begun.get_future().wait();
  std::vector<std::future<WriteLane::Outcome>> outcomes;
  for (PointId id = 0; id < 30; ++id) outcomes.push_back(f.Upsert(id % 2 == 0 ? "c" : "d", id, 1));
  may_end.set_value();
  for (auto& outcome : outcomes) REQUIRE_OK(outcome.get().result.status);
  REQUIRE(commits() == before + 1);
}

TEST_CASE("upserts to a collection that is behind wait, and are refused in the end") {
  Fixture f(/*build_threads=*/0, /*write_wait_ms=*/200);
  REQUIRE_OK(f.Upsert("c", 0, 100).get().result.status);
  auto held = f.Upsert("c", 100, 10);
  REQUIRE(Eventually([&] { return f.Held() == 1; }));
  REQUIRE(f.Pending() == 1);
  REQUIRE(f.PendingBytes() >= 10 * static_cast<double>(sizeof(float)));
  // Others pass it.
  REQUIRE_OK(f.Upsert("d", 0, 10).get().result.status);
  REQUIRE_OK(f.Push({.collection = "c", .upserts = {}, .deletes = {5000}}).get().result.status);
  const WriteLane::Outcome outcome = held.get();
  REQUIRE_STATUS(outcome.result.status, absl::StatusCode::kResourceExhausted,
                 "vector.unindexed_points_max is 100; retry in");
  REQUIRE(outcome.queue_us >= 200'000);
  REQUIRE(Eventually([&] { return f.Held() == 0; }));
  REQUIRE_OK(f.Push({.collection = "c", .upserts = {}, .deletes = {1, 2}}).get().result.status);
  REQUIRE_OK(f.Upsert("c", 200, 10).get().result.status);
  REQUIRE(f.store->Describe("c")->points == 108);
  REQUIRE(f.Pending() == 0);
  REQUIRE(f.PendingBytes() == 0);
}

TEST_CASE("a write that is held back is refused before its deadline") {
  Fixture f(/*build_threads=*/0, /*write_wait_ms=*/60'000);
  REQUIRE_OK(f.Upsert("c", 0, 100).get().result.status);
  bool in_time = false;  // once: a busy machine may be late now and then
  for (int i = 0; i < 20 && !in_time; ++i) {
    const TimeUs deadline_us = SystemClock().NowUs() + 200'000;
    REQUIRE_STATUS(f.Upsert("c", 100, 1, deadline_us).get().result.status,
                   absl::StatusCode::kResourceExhausted, "have no graph yet");
    in_time = SystemClock().NowUs() < deadline_us;
  }
  REQUIRE(in_time);
}

TEST_CASE("writes that were held back go on once graphs are built, in their order") {
  Fixture f(/*build_threads=*/1, /*write_wait_ms=*/60'000);
  std::vector<std::future<WriteLane::Outcome>> outcomes;
  for (int i = 0; i < 40; ++i) outcomes.push_back(f.Upsert("c", i % 2 * 50, 50));
  for (int i = 0; i < 40; ++i) outcomes.push_back(f.Upsert("c", 1000 + i * 50, 50));
  for (auto& outcome : outcomes) REQUIRE_OK(outcome.get().result.status);
  REQUIRE(f.store->Describe("c")->points == 100 + 40 * 50);
}

// To resolve such a filter takes reading all payloads, and nobody could write meanwhile.
TEST_CASE("a write by a filter waits for the payload index that it asks, and others pass it") {
  const bool in_time = GENERATE(true, false);
  Fixture f(/*build_threads=*/0, /*write_wait_ms=*/in_time ? 60'000 : 100);
  REQUIRE_OK(f.Upsert("c", 0, 50).get().result.status);
  std::promise<void> index_may_end;
  std::promise<void> index_has_begun;
  bool begun = false;
  auto index = std::async(std::launch::async, [&] {
    return f.store->CreatePayloadIndex("c", {"n", PayloadIndexKind::kInteger}, [&] {
      if (!begun && !f.store->Describe("c")->coming_indexes.empty()) {
        begun = true;
        index_has_begun.set_value();
        index_may_end.get_future().wait();
      }
      return absl::OkStatus();
    });
  });
  index_has_begun.get_future().wait();
  auto filter = std::make_shared<Filter>();
  filter->Add(Filter::kRoot, Filter::Clause::kMust,
              {.field = "n", .test = Match{.any = {int64_t{7}}}});
  auto held = f.Push({.collection = "c", .filter = filter});
  REQUIRE(Eventually([&] { return f.Held() == 1; }));
  // Upserts of the same collection, too, and what they wrote is seen by the filter.
  Write write{.collection = "c"};
  write.upserts.push_back({.id = 9000, .vector = {1, 2, 3, 4}, .payload = {{"n", int64_t{7}}}});
  REQUIRE_OK(f.Push(std::move(write)).get().result.status);
  REQUIRE_OK(f.Push({.collection = "c", .deletes = {3}}).get().result.status);
  if (in_time) {
    index_may_end.set_value();
    const WriteLane::Outcome outcome = held.get();
    REQUIRE_OK(outcome.result.status);
    REQUIRE(outcome.result.deleted == 1);
    REQUIRE(f.store->Describe("c")->points == 49);
  } else {
    REQUIRE_STATUS(held.get().result.status, absl::StatusCode::kUnavailable,
                   "that is being made; retry in");
    index_may_end.set_value();
    REQUIRE(f.store->Describe("c")->points == 50);
  }
  REQUIRE_OK(index.get());
}

TEST_CASE("what is held back when the lane ends is written") {
  Fixture f(/*build_threads=*/0, /*write_wait_ms=*/60'000);
  REQUIRE_OK(f.Upsert("c", 0, 100).get().result.status);
  auto held = f.Upsert("c", 100, 10);
  REQUIRE(Eventually([&] { return f.Held() == 1; }));
  f.lane.reset();
  REQUIRE_OK(held.get().result.status);
}

}  // namespace
}  // namespace baton
