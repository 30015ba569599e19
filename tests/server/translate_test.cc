#include "server/translate.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// Metadata as gRPC hands it over; the strings are literals.
GrpcMetadata Metadata(const std::vector<std::pair<const char*, const char*>>& entries) {
  GrpcMetadata metadata;
  for (const auto& [key, value] : entries) metadata.emplace(key, value);
  return metadata;
}

TEST_CASE("every status code has its gRPC twin") {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "why");
    const grpc::Status mapped = ToGrpc(status);
    CHECK(static_cast<int>(mapped.error_code()) == code);
    CHECK(mapped.error_message() == (code == 0 ? "" : "why"));
  }
  CHECK(ToGrpc(absl::NotFoundError("x")).error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(ToGrpc(absl::UnavailableError("x")).error_code() == grpc::StatusCode::UNAVAILABLE);
}

TEST_CASE("a long message is cut at a character's begin") {
  std::string text(2047, 'x');
  for (int i = 0; i < 100; ++i) text += "ü";
  const std::string message = ToGrpc(absl::InternalError(text)).error_message();
  CHECK(message == std::string(2047, 'x') + "...");
  CHECK(ToGrpc(absl::InternalError(std::string(2048, 'x'))).error_message().size() == 2048);
}

TEST_CASE("when to retry is read from the end of the message") {
  CHECK(RetryAfterMs(absl::ResourceExhaustedError("queue full; retry in 100 ms")) == 100);
  CHECK(RetryAfterMs(absl::ResourceExhaustedError("retry in 5 ms; retry in 7 ms")) == 7);
  for (const char* message : {"", "full", "retry in a while", "retry in ms", "retry in 1 s",
                              "retry in 100 ms or so", "retry in 1x ms"}) {
    INFO(message);
    CHECK(RetryAfterMs(absl::ResourceExhaustedError(message)) == -1);
  }
}

TEST_CASE("a deadline moves to the engine's clock") {
  using std::chrono::hours;
  using std::chrono::seconds;
  using std::chrono::system_clock;
  FakeClock clock;
  CHECK(ToDeadlineUs(system_clock::time_point::max(), clock) == kNoDeadline);
  CHECK(ToDeadlineUs(system_clock::now() + hours(24 * 365 * 150), clock) == kNoDeadline);
  const TimeUs in_a_minute = ToDeadlineUs(system_clock::now() + seconds(60), clock);
  CHECK(in_a_minute <= clock.NowUs() + 60'000'000);
  CHECK(in_a_minute > clock.NowUs() + 50'000'000);
  CHECK(ToDeadlineUs(system_clock::now() - seconds(5), clock) <= clock.NowUs());
  // The far past does not wrap around.
  CHECK(ToDeadlineUs(system_clock::time_point::min() + hours(1), clock) <= clock.NowUs());
}

TEST_CASE("the envelope comes from the message") {
  v1::RequestOptions options;
  v1::Hints& hints = *options.mutable_hints();
  hints.set_latency_sla_us(500);
  hints.set_batch_size(3);
  hints.set_power_budget_w(12.5);
  hints.set_deterministic(false);
  hints.set_platform(v1::PLATFORM_FPGA);
  hints.set_fallback(v1::FALLBACK_NONE);
  options.set_priority(-7);
  options.set_tenant("acme");
  const auto envelope = ToEnvelope(options, {}, 42);
  REQUIRE_OK(envelope);
  CHECK(envelope->hints == Hints{.latency_sla_us = 500,
                                 .batch_size = 3,
                                 .power_budget_w = 12.5,
                                 .deterministic = false,
                                 .platform = Platform::kFpga,
                                 .fallback = Fallback::kNone});
  CHECK(envelope->deadline_us == 42);
  CHECK(envelope->priority == -7);
  CHECK(envelope->tenant == "acme");
}

TEST_CASE("the envelope comes from metadata alike") {
  const auto envelope = ToEnvelope({},
                                   Metadata({{"baton-latency-sla-us", "500"},
                                             {"baton-batch-size", "3"},
                                             {"baton-power-budget-w", "12.5"},
                                             {"baton-deterministic", "true"},
                                             {"baton-platform", "gpu"},
                                             {"baton-fallback", "alternate"},
                                             {"baton-priority", "100"},
                                             {"baton-tenant", "acme"},
                                             {"user-agent", "test"},
                                             {"batonesque", "ignored"}}),
                                   kNoDeadline);
  REQUIRE_OK(envelope);
  CHECK(envelope->hints == Hints{.latency_sla_us = 500,
                                 .batch_size = 3,
                                 .power_budget_w = 12.5,
                                 .deterministic = true,
                                 .platform = Platform::kGpu,
                                 .fallback = Fallback::kAlternate});
  CHECK(envelope->priority == 100);
  CHECK(envelope->tenant == "acme");
}

TEST_CASE("nothing sent is nothing set") {
  v1::RequestOptions options;
  options.mutable_hints()->set_platform(v1::PLATFORM_UNSPECIFIED);
  options.mutable_hints()->set_fallback(v1::FALLBACK_UNSPECIFIED);
  const auto envelope = ToEnvelope(options, {}, kNoDeadline);
  REQUIRE_OK(envelope);
  CHECK(envelope->hints == Hints());
  CHECK(envelope->priority == 0);
  CHECK(envelope->tenant.empty());
}

TEST_CASE("both ways must agree") {
  v1::RequestOptions options;
  options.mutable_hints()->set_batch_size(4);
  options.set_priority(1);
  options.set_tenant("a");
  REQUIRE_OK(ToEnvelope(
      options,
      Metadata({{"baton-batch-size", "4"}, {"baton-priority", "1"}, {"baton-tenant", "a"}}), 0));
  REQUIRE_STATUS(ToEnvelope(options, Metadata({{"baton-batch-size", "5"}}), 0), kInvalid,
                 "hints.batch_size: the message says 4 but the metadata says 5");
  REQUIRE_STATUS(ToEnvelope(options, Metadata({{"baton-priority", "2"}}), 0), kInvalid,
                 "options.priority: the message says 1 but the metadata says 2");
  REQUIRE_STATUS(ToEnvelope(options, Metadata({{"baton-tenant", "b"}}), 0), kInvalid,
                 "options.tenant: the message says a but the metadata says b");
}

TEST_CASE("wrong metadata is refused, naming its key") {
  struct Case {
    const char* key;
    const char* value;
    const char* part;
  };
  for (const Case& c : std::vector<Case>{
           {"baton-latency-sla-us", "soon", "an integer, but is \"soon\""},
           {"baton-latency-sla-us", "", "an integer"},
           {"baton-latency-sla-us", " 5", "an integer"},
           {"baton-latency-sla-us", "5us", "an integer"},
           {"baton-latency-sla-us", "99999999999999999999", "an integer"},
           {"baton-latency-sla-us", "0", "hints.latency_sla_us must be 1 to 3600000000, but is 0"},
           {"baton-batch-size", "3000000000", "an integer"},
           {"baton-batch-size", "0", "hints.batch_size"},
           {"baton-power-budget-w", "50W", "a number"},
           {"baton-power-budget-w", "nan", "hints.power_budget_w"},
           {"baton-power-budget-w", "-1", "hints.power_budget_w"},
           {"baton-deterministic", "yes", "true or false"},
           {"baton-platform", "tpu", "cpu, gpu or fpga"},
           {"baton-platform", "GPU", "cpu, gpu or fpga"},
           {"baton-fallback", "again", "none, cpu, alternate or retry"},
           {"baton-exclude", "gpu;cpu", "a list of cpu, gpu and fpga"},
           {"baton-exclude", "cpu,gpu,fpga", "hints.exclude must leave a platform"},
           {"baton-policy", "fast", "latency_optimized, throughput_optimized"},
           {"baton-retries", "2", "it belongs to retry"},
           {"baton-priority", "high", "an integer"},
           {"baton-priority", "101", "options.priority must be -100 to 100, but is 101"},
           {"baton-latency", "5", "metadata baton-latency is not known"},
           {"baton-", "5", "metadata baton- is not known"}}) {
    INFO(c.key << "=" << c.value);
    REQUIRE_STATUS(ToEnvelope({}, Metadata({{c.key, c.value}}), 0), kInvalid, c.part);
  }
  REQUIRE_STATUS(ToEnvelope({}, Metadata({{"baton-priority", "1"}, {"baton-priority", "1"}}), 0),
                 kInvalid, "metadata baton-priority is sent twice");
  const std::string tenant(129, 't');
  REQUIRE_STATUS(ToEnvelope({}, Metadata({{"baton-tenant", tenant.c_str()}}), 0), kInvalid,
                 "options.tenant must be at most 128 bytes");
}

TEST_CASE("enum numbers that mean nothing are refused") {
  v1::RequestOptions options;
  options.mutable_hints()->set_platform(static_cast<v1::Platform>(9));
  REQUIRE_STATUS(ToEnvelope(options, {}, 0), kInvalid, "hints.platform must be 1 to 3");
  options.mutable_hints()->clear_platform();
  options.mutable_hints()->set_fallback(static_cast<v1::Fallback>(-1));
  REQUIRE_STATUS(ToEnvelope(options, {}, 0), kInvalid, "hints.fallback must be 1 to 4");
  options.mutable_hints()->clear_fallback();
  options.mutable_hints()->set_policy(static_cast<v1::Policy>(5));
  REQUIRE_STATUS(ToEnvelope(options, {}, 0), kInvalid, "hints.policy must be 1 to 4");
  options.mutable_hints()->clear_policy();
  options.mutable_hints()->add_exclude(static_cast<v1::Platform>(4));
  REQUIRE_STATUS(ToEnvelope(options, {}, 0), kInvalid, "hints.exclude must hold 1 to 3");
}

TEST_CASE("what a request rules out, and asks of its route") {
  v1::RequestOptions options;
  v1::Hints& hints = *options.mutable_hints();
  hints.add_exclude(v1::PLATFORM_GPU);
  hints.add_exclude(v1::PLATFORM_FPGA);
  hints.set_policy(v1::POLICY_POWER_OPTIMIZED);
  hints.set_fallback(v1::FALLBACK_RETRY);
  hints.set_retries(3);
  hints.set_latency_sla_us(9);
  hints.set_sla_required(true);
  hints.set_on_handoff_failure(v1::HANDOFF_FAILURE_LOCAL);
  const Hints expected = {.latency_sla_us = 9,
                          .fallback = Fallback::kRetry,
                          .retries = 3,
                          .exclude = PlatformSet{Platform::kGpu, Platform::kFpga},
                          .policy = Policy::kPowerOptimized,
                          .sla_required = true,
                          .on_handoff_failure = HandoffFailure::kLocal};
  CHECK(ToEnvelope(options, {}, 0)->hints == expected);
  const auto metadata = Metadata({{"baton-latency-sla-us", "9"},
                                  {"baton-fallback", "retry"},
                                  {"baton-retries", "3"},
                                  {"baton-exclude", "fpga,gpu"},
                                  {"baton-policy", "power_optimized"},
                                  {"baton-sla-required", "true"},
                                  {"baton-on-handoff-failure", "local"}});
  CHECK(ToEnvelope({}, metadata, 0)->hints == expected);
  CHECK(ToEnvelope(options, metadata, 0)->hints == expected);
}

TEST_CASE("payloads go both ways") {
  const Payload payload = {{"text", std::string("ünï")},
                           {"integer", int64_t{-5}},
                           {"number", 2.5},
                           {"boolean", true},
                           {"empty", std::string()}};
  PayloadMap proto;
  ToProto(payload, proto);
  CHECK(proto.at("text").text() == "ünï");
  CHECK(proto.at("boolean").boolean());
  const auto back = ToPayload(proto, "points[0].payload");
  REQUIRE_OK(back);
  CHECK(*back == payload);
  proto["hollow"];
  REQUIRE_STATUS(ToPayload(proto, "points[3].payload"), kInvalid, "points[3].payload[\"hollow\"]");
}

TEST_CASE("timings carry every stage's route") {
  Timings timings{
      .stages = {Stage{
          .name = "search",
          .route = Route{.work_class = WorkClass::kSearchBulk,
                         .preferred = Platform::kGpu,
                         .rule = "search-bulk",
                         .platform = Platform::kCpu,
                         .device = "cpu0",
                         .emulated = true,
                         .reason = "because",
                         .fallback = true,
                         .passed_over = {PassedOver{
                             .platform = Platform::kGpu, .device = "gpu", .reason = "absent"}}},
          .start_us = 1,
          .queue_us = 2,
          .run_us = 3,
          .items = 4}},
      .total_us = 9};
  v1::Timings proto;
  ToProto(timings, proto);
  REQUIRE(proto.stages_size() == 1);
  const v1::Stage& stage = proto.stages(0);
  CHECK(stage.name() == "search");
  CHECK(stage.start_us() == 1);
  CHECK(stage.queue_us() == 2);
  CHECK(stage.run_us() == 3);
  CHECK(stage.items() == 4);
  CHECK(stage.route().work_class() == v1::WORK_CLASS_SEARCH_BULK);
  CHECK(stage.route().preferred() == v1::PLATFORM_GPU);
  CHECK(stage.route().rule() == "search-bulk");
  CHECK(stage.route().platform() == v1::PLATFORM_CPU);
  CHECK(stage.route().device() == "cpu0");
  CHECK(stage.route().emulated());
  CHECK(stage.route().reason() == "because");
  CHECK(stage.route().fallback());
  REQUIRE(stage.route().passed_over_size() == 1);
  CHECK(stage.route().passed_over(0).platform() == v1::PLATFORM_GPU);
  CHECK(stage.route().passed_over(0).reason() == "absent");
  CHECK(proto.total_us() == 9);
}

}  // namespace
}  // namespace baton
