#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace baton::load {

// One request of a recorded load.
struct TraceEntry {
  double at_ms = 0;           // from the first one's timestamp
  int32_t input_length = 0;   // words of the prompt
  int32_t output_length = 0;  // tokens
  // What the prompt consists of, blocks of kTraceBlockWords each, the last one cut: equal ids are
  // equal text. May be empty: then the prompt is nobody else's.
  std::vector<uint64_t> hash_ids;
};

// As Mooncake's traces have it (github.com/kvcache-ai/Mooncake, FAST25-release).
inline constexpr int32_t kTraceBlockWords = 512;

// JSON lines of {timestamp, input_length, output_length, hash_ids}: milliseconds, tokens, tokens,
// and what prefix they share. Sorted by timestamp. INVALID_ARGUMENT names the line and the key.
absl::StatusOr<std::vector<TraceEntry>> ParseTrace(std::string_view text, const std::string& name);
// NOT_FOUND: it cannot be opened. INVALID_ARGUMENT: as above, or larger than 1 GiB.
absl::StatusOr<std::vector<TraceEntry>> ReadTrace(const std::string& path);

}  // namespace baton::load
