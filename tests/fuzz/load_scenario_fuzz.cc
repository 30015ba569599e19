// What a stranger may hand baton-load as a scenario: it is read or refused, and what is read can be
// checked.
#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/base/check.h"
#include "loadtest/arrivals.h"
#include "loadtest/scenario_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton::load;
  const std::string text(reinterpret_cast<const char*>(data), size);
  auto scenario = ParseScenario(text, "scenario", "/folder");
  if (!scenario.ok() || !CheckScenario(*scenario, "scenario").ok()) return 0;
  BATON_CHECK(!scenario->load.empty());
  const Process process = scenario->arrivals.process;
  if (process == Process::kClosed || process == Process::kTrace) return 0;
  Arrivals arrivals(scenario->arrivals, scenario->duration_s, scenario->seed);
  int64_t last_ns = 0;
  for (int i = 0; i < 100; ++i) {
    const int64_t next_ns = arrivals.NextNs();
    BATON_CHECK(next_ns >= last_ns);
    last_ns = next_ns;
  }
  return 0;
}
