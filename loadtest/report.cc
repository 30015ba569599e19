#include "loadtest/report.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace baton::load {
namespace {

// Beyond this the client's own lateness is a visible part of what it measured.
constexpr double kSendLagP99MsMax = 1.0;

std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (absl::StartsWith(line, "model name")) {
      return std::string(absl::StripAsciiWhitespace(line.substr(line.find(':') + 1)));
    }
  }
  return "unknown";
}

nlohmann::json Machine() {
  utsname system{};
  uname(&system);
  return {{"cpu", CpuName()},
          {"cores", sysconf(_SC_NPROCESSORS_ONLN)},
          {"memory_bytes", sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)},
          {"kernel", absl::StrCat(system.sysname, " ", system.release)}};
}

const char* ScenarioName(Scenario scenario) {
  switch (scenario) {
    case Scenario::kAsk:
      return "ask";
    case Scenario::kGenerate:
      return "generate";
    case Scenario::kSearch:
      return "search";
  }
  return "";
}

}  // namespace

void Results::Add(const RequestRecord& record) {
  ++sent_;
  last_done_ns_ = std::max(last_done_ns_, record.done_ns);
  send_lag_.Add(record.sent_ns - record.intended_ns);
  if (record.code != "OK") {
    ++errors_[record.code];
    return;
  }
  ++ok_;
  tokens_ += record.tokens;
  e2e_.Add(record.done_ns - record.intended_ns);
  if (record.retrieved_ns >= 0) {
    retrieved_.Add(record.retrieved_ns - record.intended_ns);
  }
  if (record.first_output_ns >= 0) {
    ttft_.Add(record.first_output_ns - record.intended_ns);
    if (record.tokens > 1) {
      tpot_.Add((record.done_ns - record.first_output_ns) / (record.tokens - 1));
    }
  }
  for (int64_t gap_ns : record.gaps_ns) {
    itl_.Add(gap_ns);
  }
}

Report::Report(const LoadOptions& options, Results& results)
    : options_(options), errors_(results.errors_), send_lag_(results.send_lag_.Summarize()) {
  const double wall_s = static_cast<double>(results.last_done_ns_) / 1e9;
  figures_["requests.sent"] = static_cast<double>(results.sent_);
  figures_["requests.ok"] = static_cast<double>(results.ok_);
  figures_["requests.failed"] = static_cast<double>(results.sent_ - results.ok_);
  figures_["requests.dropped"] = static_cast<double>(results.dropped_);
  figures_["wall_s"] = wall_s;
  figures_["throughput.requests_per_s"] =
      wall_s > 0 ? static_cast<double>(results.ok_) / wall_s : 0;
  if (options.scenario != Scenario::kSearch) {
    figures_["throughput.tokens_per_s"] =
        wall_s > 0 ? static_cast<double>(results.tokens_) / wall_s : 0;
  }
  for (const auto& [code, count] : errors_) {
    figures_[absl::StrCat("errors.", code)] = static_cast<double>(count);
  }
  if (options.scenario == Scenario::kSearch) {
    latencies_ = {{"search", "search_ms", results.e2e_.Summarize()}};
  } else {
    if (options.scenario == Scenario::kAsk) {
      latencies_.push_back({"retrieved", "retrieved_ms", results.retrieved_.Summarize()});
    }
    latencies_.push_back({"TTFT", "ttft_ms", results.ttft_.Summarize()});
    latencies_.push_back({"ITL", "itl_ms", results.itl_.Summarize()});
    latencies_.push_back({"TPOT", "tpot_ms", results.tpot_.Summarize()});
    latencies_.push_back({"E2E", "e2e_ms", results.e2e_.Summarize()});
  }
  latencies_.push_back({"send lag", "send_lag_ms", send_lag_});
  for (const Samples* samples : {&results.ttft_, &results.itl_, &results.tpot_, &results.e2e_,
                                 &results.retrieved_, &results.send_lag_}) {
    samples_not_stored_ += samples->not_stored();
  }
}

void Report::Print(std::ostream& out) const {
  out << absl::StreamFormat("%s: %g requests/s (%s) for %g s against %s, seed %d\n",
                            ScenarioName(options_.scenario), options_.rate_per_s,
                            options_.arrivals == ArrivalKind::kPoisson ? "poisson" : "constant",
                            options_.duration_s, options_.target, options_.seed);
  out << absl::StreamFormat("requests    sent %.0f, ok %.0f, failed %.0f, dropped %.0f\n",
                            figures_.at("requests.sent"), figures_.at("requests.ok"),
                            figures_.at("requests.failed"), figures_.at("requests.dropped"));
  if (!errors_.empty()) {
    out << "errors      " << absl::StrJoin(errors_, ", ", absl::PairFormatter(" ")) << "\n";
  }
  out << absl::StreamFormat("throughput  %.2f requests/s",
                            figures_.at("throughput.requests_per_s"));
  if (const auto tokens = figures_.find("throughput.tokens_per_s"); tokens != figures_.end()) {
    out << absl::StreamFormat(", %.1f tokens/s", tokens->second);
  }
  out << absl::StreamFormat(" over %.2f s\n\n", figures_.at("wall_s"));

  out << absl::StreamFormat("%-10s %9s %9s %9s %9s %9s %9s %9s\n", "ms", "mean", "p50", "p90",
                            "p99", "p99.9", "max", "samples");
  for (const Row& row : latencies_) {
    const Summary& s = row.summary;
    if (s.count == 0) {
      out << absl::StreamFormat("%-10s %9s\n", row.label, "-");
      continue;
    }
    out << absl::StreamFormat("%-10s %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f %9d\n", row.label,
                              s.mean_ms, s.p50_ms, s.p90_ms, s.p99_ms, s.p999_ms, s.max_ms,
                              s.count);
  }
  if (send_lag_.p99_ms > kSendLagP99MsMax) {
    out << absl::StreamFormat(
        "\nThe client is the bottleneck: 1%% of requests left %.1f ms or more after their time, "
        "and "
        "that lag is inside every latency above. Give it more cores, or a lower --rate.\n",
        send_lag_.p99_ms);
  }
  if (figures_.at("requests.dropped") > 0) {
    out << absl::StreamFormat(
        "\nOverload: %.0f requests were never sent (%d already under way, or their deadline had "
        "passed); the latencies are those of the others.\n",
        figures_.at("requests.dropped"), options_.in_flight_max);
  }
  if (samples_not_stored_ > 0) {
    out << absl::StreamFormat(
        "\n%d samples came after the store of %d was full: not in the table.\n",
        samples_not_stored_, Samples::kCountMax);
  }
}

std::string Report::Json() const {
  nlohmann::json figures(figures_);
  for (const Row& row : latencies_) {
    const Summary& s = row.summary;
    if (s.count == 0) {
      continue;  // absent, not zero: nothing was measured
    }
    figures[row.figure + ".mean"] = s.mean_ms;
    figures[row.figure + ".p50"] = s.p50_ms;
    figures[row.figure + ".p90"] = s.p90_ms;
    figures[row.figure + ".p99"] = s.p99_ms;
    figures[row.figure + ".p999"] = s.p999_ms;
    figures[row.figure + ".max"] = s.max_ms;
    figures[row.figure + ".samples"] = s.count;
  }
  const nlohmann::json document = {{"figures", figures},
                                   {"machine", Machine()},
                                   {"commit", options_.commit},
                                   {"seed", options_.seed},
                                   {"run",
                                    {{"scenario", ScenarioName(options_.scenario)},
                                     {"target", options_.target},
                                     {"rate_per_s", options_.rate_per_s},
                                     {"duration_s", options_.duration_s},
                                     {"deadline_ms", options_.deadline_ms},
                                     {"in_flight_max", options_.in_flight_max}}}};
  // A target or commit that is not UTF-8 must not throw.
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

absl::Status Report::WriteJson(const std::string& path) const {
  std::ofstream file(path, std::ios::trunc);
  file << Json();
  file.close();
  return file ? absl::OkStatus() : absl::UnavailableError(absl::StrCat("cannot write ", path));
}

}  // namespace baton::load
