#include "loadtest/trace.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton::load {
namespace {

constexpr size_t kEntriesMax = 10'000'000;
constexpr std::streamoff kTraceBytesMax = std::streamoff{1} << 30;
constexpr double kTimestampMsMax = 1e15;
constexpr double kLengthMax = 1e7;
constexpr size_t kHashIdsMax = 100'000;

// The number at `key`, `min` to `max`, or an error.
absl::Status ReadNumberAt(const nlohmann::json& object, const char* key, double min, double max,
                          const std::string& at, double& number) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) {
    return absl::InvalidArgumentError(StrCat(at, ": no number \"", key, "\""));
  }
  number = found->get<double>();
  if (!(number >= min && number <= max)) {
    return absl::InvalidArgumentError(
        StrCat(at, ": \"", key, "\" must be ", min, " to ", max, ", but is ", number));
  }
  return absl::OkStatus();
}

absl::StatusOr<TraceEntry> ParseLine(std::string_view line, const std::string& at) {
  const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError(StrCat(at, ": not a JSON object"));
  TraceEntry entry;
  double input = 0;
  double output = 0;
  RETURN_IF_ERROR(
      ReadNumberAt(object, "timestamp", -kTimestampMsMax, kTimestampMsMax, at, entry.at_ms));
  RETURN_IF_ERROR(ReadNumberAt(object, "input_length", 1, kLengthMax, at, input));
  RETURN_IF_ERROR(ReadNumberAt(object, "output_length", 0, kLengthMax, at, output));
  entry.input_length = static_cast<int32_t>(input);
  // A request that generated nothing is asked for one token: no server takes none.
  entry.output_length = std::max(1, static_cast<int32_t>(output));
  const auto ids = object.find("hash_ids");
  if (ids == object.end()) return entry;
  if (!ids->is_array() || ids->size() > kHashIdsMax) {
    return absl::InvalidArgumentError(
        StrCat(at, ": \"hash_ids\" must be a list of at most ", kHashIdsMax, " numbers"));
  }
  for (const auto& id : *ids) {
    if (!id.is_number_unsigned()) {
      return absl::InvalidArgumentError(StrCat(at, ": \"hash_ids\" holds no whole number from 0"));
    }
    entry.hash_ids.push_back(id.get<uint64_t>());
  }
  return entry;
}

}  // namespace

absl::StatusOr<std::vector<TraceEntry>> ParseTrace(std::string_view text, const std::string& name) {
  std::vector<TraceEntry> entries;
  size_t number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (entries.size() == kEntriesMax) {
      return absl::InvalidArgumentError(StrCat(name, ": more than ", kEntriesMax, " requests"));
    }
    ASSIGN_OR_RETURN(TraceEntry entry, ParseLine(line, StrCat(name, ":", number)));
    entries.push_back(std::move(entry));
  }
  if (entries.empty()) return absl::InvalidArgumentError(StrCat(name, ": holds no request"));
  // By time, equal times as they came.
  std::vector<size_t> order(entries.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(entries[a].at_ms, a) < std::pair(entries[b].at_ms, b);
  });
  std::vector<TraceEntry> sorted;
  sorted.reserve(entries.size());
  for (const size_t index : order) sorted.push_back(std::move(entries[index]));
  const double first_ms = sorted.front().at_ms;
  for (TraceEntry& entry : sorted) entry.at_ms -= first_ms;
  return sorted;
}

absl::StatusOr<std::vector<TraceEntry>> ReadTrace(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return absl::NotFoundError(StrCat("cannot open ", path));
  const std::streamoff bytes = file.tellg();
  if (bytes < 0 || bytes > kTraceBytesMax) {
    return absl::InvalidArgumentError(StrCat(path, ": not a file of at most 1 GiB"));
  }
  std::string text(static_cast<size_t>(bytes), '\0');
  file.seekg(0);
  file.read(text.data(), bytes);
  if (!file) return absl::UnavailableError(StrCat("cannot read ", path));
  return ParseTrace(text, path);
}

}  // namespace baton::load
