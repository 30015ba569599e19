// What a stranger may hand baton-load as a trace, a report, or the answer of an HTTP server.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>

#include "engine/base/check.h"
#include "loadtest/compare.h"
#include "loadtest/html_report.h"
#include "loadtest/report.h"
#include "loadtest/sse.h"
#include "loadtest/trace.h"
#include "loadtest/workload.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton::load;
  if (size < 2) return 0;
  const size_t piece = 1 + data[0];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (const auto trace = ParseTrace(text, "trace"); trace.ok()) {
    double last_ms = 0;
    for (const TraceEntry& entry : *trace) {
      BATON_CHECK(entry.at_ms >= last_ms && entry.output_length >= 1);
      last_ms = entry.at_ms;
      TraceEntry small = entry;
      small.input_length = std::min(small.input_length, 2 * kTraceBlockWords);
      BATON_CHECK(!PromptOf(small, 1).empty());
    }
  }
  OpenAiStream stream;
  RequestRecord record;
  for (size_t at = 0; at < text.size(); at += piece) {
    if (!stream.Feed(text.substr(at, piece), static_cast<int64_t>(at), record)) break;
  }
  OpenAiStream::ErrorOf(text);
  const auto document = ParseDocument(std::string(text), "report");
  if (!document.ok()) return 0;
  std::ostringstream out;
  PrintTable(*document, out);
  RenderHtml({{"fuzz", *document}});
  PrintRatios(Compare(*document, *document, {.resamples = 10}), {}, out);
  return 0;
}
