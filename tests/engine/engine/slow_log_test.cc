#include "engine/slow_log.h"

#include <catch2/catch.hpp>
#include <mutex>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "spdlog/sinks/base_sink.h"

namespace baton {
namespace {

Stage MakeStage(const char* name, TimeUs start_us, TimeUs queue_us, TimeUs run_us) {
  Stage stage{.name = name};
  stage.route.device = "cpu0";
  stage.start_us = start_us;
  stage.queue_us = queue_us;
  stage.run_us = run_us;
  return stage;
}

TEST_CASE("a slow request is a line with a bar for each stage") {
  const std::vector<Stage> stages = {MakeStage("embed", 0, 0, 600'000),
                                     MakeStage("search", 600'000, 600'000, 600'000),
                                     MakeStage("decode", 1'800'000, 0, 1)};
  CHECK(SlowLine({.id = RequestId(7),
                  .tenant = "a\nb",
                  .stages = stages,
                  .total_us = 2'400'000,
                  .code = absl::StatusCode::kDeadlineExceeded}) ==
        "slow request 7: 2400 ms, DEADLINE_EXCEEDED, tenant a\\nb"
        "; embed [######                  ] cpu0 at 0.00, waited 0.00, ran 600.0 ms"
        "; search [      ......######      ] cpu0 at 600.0, waited 600.0, ran 600.0 ms"
        "; decode [                  #     ] cpu0 at 1800, waited 0.00, ran 0.00 ms");
}

TEST_CASE("times that contradict each other make a bar all the same") {
  for (const Stage& stage : {MakeStage("x", -5, 0, 3), MakeStage("x", 90, 90, 90),
                             MakeStage("x", 500, 1, 1), MakeStage("x", 0, 0, 0)}) {
    for (const TimeUs total_us : {0, 1, 100}) {
      const std::string line =
          SlowLine({.id = RequestId(1), .tenant = "", .stages = {&stage, 1}, .total_us = total_us});
      const size_t begin = line.find('[');
      CHECK(line.find(']') == begin + 25);
    }
  }
  const std::vector<Stage> many(40, MakeStage("x", 0, 0, 1));
  CHECK_THAT(SlowLine({.id = RequestId(1), .tenant = "", .stages = many, .total_us = 1}),
             Catch::EndsWith("; and 24 stages more"));
}

// Keeps what is logged while it lives.
class Lines : public spdlog::sinks::base_sink<std::mutex> {
 public:
  std::vector<std::string> lines;

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    lines.emplace_back(message.payload.data(), message.payload.size());
  }
  void flush_() override {}
};

TEST_CASE("what is slow is said a few times a second, and the threshold moves") {
  const auto sink = std::make_shared<Lines>();
  Log().sinks().push_back(sink);
  SlowLog log(100);
  const auto tell = [&](TimeUs total_us, TimeUs now_us) {
    log.Tell({.id = RequestId(1), .tenant = "", .stages = {}, .total_us = total_us}, now_us);
  };
  tell(99'999, 5'000'000);
  CHECK(sink->lines.empty());
  for (int i = 0; i < 20; ++i) tell(100'000, 5'000'000 + i);
  CHECK(sink->lines.size() == 5);
  tell(100'000, 6'100'000);
  REQUIRE(sink->lines.size() == 7);
  CHECK(sink->lines[5] == "15 slow requests were left out");
  log.set_slow_ms(0);
  tell(100'000'000, 9'000'000);
  CHECK(sink->lines.size() == 7);
  log.set_slow_ms(1);
  tell(1000, 9'000'000);
  CHECK(sink->lines.size() == 8);
  Log().sinks().pop_back();
}

}  // namespace
}  // namespace baton
