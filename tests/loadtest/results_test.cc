#include "loadtest/results.h"  // header under test

#include <catch2/catch.hpp>

namespace baton::load {
namespace {

constexpr int64_t kMs = 1'000'000;

RequestRecord Streamed() {
  RequestRecord record;
  record.code = "OK";
  record.intended_ns = 100 * kMs;
  record.sent_ns = 103 * kMs;
  record.AddTokens(2, 150 * kMs);
  record.AddTokens(3, 170 * kMs);
  record.AddTokens(3, 200 * kMs);
  record.done_ns = 220 * kMs;
  return record;
}

Results NewResults(const SloOptions& slo = {}) { return Results(slo, {RequestMix()}, false); }

TEST_CASE("Every latency counts from the intended send time") {
  Results results = NewResults();
  results.Add(Streamed());
  CHECK(results.all.ttft.Summarize().p50_ms == 50);
  CHECK(results.all.e2e.Summarize().p50_ms == 120);
  CHECK(results.all.tpot.Summarize().p50_ms == 10);  // (120 - 50) / (8 - 1)
  CHECK(results.all.itl.Summarize().mean_ms == 25);
  CHECK(results.all.send_lag.Summarize().p50_ms == 3);
  CHECK(results.wall_s() == Approx(0.22));
}

TEST_CASE("Failed and given-up requests are in no latency") {
  Results results = NewResults();
  results.Add(Streamed());
  RequestRecord failed = Streamed();
  failed.code = "UNAVAILABLE";
  failed.message = "gone";
  results.Add(failed);
  RequestRecord given_up = Streamed();
  given_up.code = "CANCELLED";
  given_up.given_up = true;
  results.Add(given_up);
  CHECK(results.all.sent == 3);
  CHECK(results.all.ok == 1);
  CHECK(results.all.failed() == 1);
  CHECK(results.all.given_up == 1);
  CHECK(results.all.errors.at("UNAVAILABLE") == 1);
  CHECK(results.all.error_texts.at("UNAVAILABLE") == "gone");
  CHECK(results.all.e2e.Summarize().count == 1);
}

TEST_CASE("Each SLO alone makes a request bad, and just met is good") {
  const RequestRecord record = Streamed();
  CHECK(NewResults({.ttft_ms = 50, .tpot_ms = 10, .itl_ms = 30, .e2e_ms = 120}).IsGood(record));
  CHECK_FALSE(NewResults({.ttft_ms = 49.9}).IsGood(record));
  CHECK_FALSE(NewResults({.tpot_ms = 9.9}).IsGood(record));
  CHECK_FALSE(NewResults({.itl_ms = 29.9}).IsGood(record));
  CHECK_FALSE(NewResults({.e2e_ms = 119.9}).IsGood(record));
  RequestRecord failed = record;
  failed.code = "INTERNAL";
  CHECK_FALSE(NewResults().IsGood(failed));
  RequestRecord search = record;
  search.first_output_ns = -1;
  search.tokens = 0;
  search.gaps_ns.clear();
  CHECK(NewResults({.ttft_ms = 1}).IsGood(search));  // it has no first token
}

TEST_CASE("Goodput is of all that were meant to be sent and not given up") {
  Results results = NewResults({.e2e_ms = 200});
  for (int i = 0; i < 6; ++i) results.Add(Streamed());
  RequestRecord slow = Streamed();
  slow.done_ns = 999 * kMs;
  results.Add(slow);
  RequestRecord given_up = Streamed();
  given_up.code = "CANCELLED";
  given_up.given_up = true;
  results.Add(given_up);
  results.AddDropped(0, /*late=*/false);
  CHECK(results.goodput_share() == Approx(6.0 / 8));
  results.ExtendTo(2'000 * kMs);
  CHECK(results.goodput_per_s() == Approx(3));
}

TEST_CASE("A second counts what was meant for it and what ended in it") {
  Results results = NewResults();
  RequestRecord record = Streamed();
  record.done_ns = 2'500 * kMs;
  results.Add(record);
  REQUIRE(results.timeline.size() == 3);
  CHECK(results.timeline[0].sent == 1);
  CHECK(results.timeline[0].ok == 0);
  CHECK(results.timeline[2].ok == 1);
  CHECK(results.timeline[2].tokens == 8);
}

TEST_CASE("Stages are summed by name with where they ran") {
  Results results = NewResults();
  RequestRecord record = Streamed();
  record.stages = {{.name = "decode", .platform = "gpu", .queue_us = 10, .run_us = 30},
                   {.name = "decode", .platform = "cpu", .fallback = true, .run_us = 50}};
  results.Add(record);
  const StageSum& decode = results.stages.at("decode");
  CHECK(decode.count == 2);
  CHECK(decode.fallbacks == 1);
  CHECK(decode.run_us == 80);
  CHECK(decode.platforms.at("gpu") == 1);
}

}  // namespace
}  // namespace baton::load
