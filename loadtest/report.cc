#include "loadtest/report.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton::load {
namespace {

using nlohmann::json;

// Beyond this the client's own lateness is a visible part of what it measured.
constexpr double kSendLagP99MsMax = 1.0;
constexpr size_t kCurvePoints = 200;
constexpr size_t kSamplesKept = 2'000;
constexpr std::streamoff kDocumentBytesMax = 256 << 20;

struct Metric {
  const char* figure;
  const char* label;
  Samples Group::*samples;
};
constexpr Metric kMetrics[] = {
    {"retrieved_ms", "Retrieved", &Group::retrieved},
    {"ttft_ms", "TTFT", &Group::ttft},
    {"tpot_ms", "TPOT", &Group::tpot},
    {"itl_ms", "ITL", &Group::itl},
    {"e2e_ms", "E2E", &Group::e2e},
    {"refusal_ms", "Refusal", &Group::refusal},
    {"send_lag_ms", "Send lag", &Group::send_lag},
};

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

json Machine() {
  utsname system{};
  uname(&system);
  return {{"cpu", ProcessorName()},
          {"cores", sysconf(_SC_NPROCESSORS_ONLN)},
          {"memory_bytes", sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)},
          {"kernel", StrCat(system.sysname, " ", system.release)}};
}

void AddSummary(const Summary& summary, const std::string& name, json& figures) {
  if (summary.count == 0) return;  // absent, not zero: nothing was measured
  figures[name + ".mean"] = summary.mean_ms;
  figures[name + ".p50"] = summary.p50_ms;
  figures[name + ".p90"] = summary.p90_ms;
  figures[name + ".p99"] = summary.p99_ms;
  figures[name + ".p999"] = summary.p999_ms;
  figures[name + ".max"] = summary.max_ms;
  figures[name + ".samples"] = summary.count;
}

void AddGroup(const std::string& prefix, double wall_s, Group& group, json& figures) {
  figures[prefix + "requests.sent"] = group.sent;
  figures[prefix + "requests.ok"] = group.ok;
  figures[prefix + "requests.failed"] = group.failed();
  figures[prefix + "requests.dropped"] = group.dropped + group.dropped_late;
  if (group.given_up > 0) figures[prefix + "requests.given_up"] = group.given_up;
  for (const auto& [code, count] : group.errors) figures[prefix + "errors." + code] = count;
  if (group.refused > 0) {
    figures[prefix + "refusals.hinted_share"] =
        static_cast<double>(group.refused_hinted) / static_cast<double>(group.refused);
  }
  const double per_s = wall_s > 0 ? 1 / wall_s : 0;
  figures[prefix + "throughput.requests_per_s"] = static_cast<double>(group.ok) * per_s;
  if (group.tokens > 0) {
    figures[prefix + "tokens.generated"] = group.tokens;
    figures[prefix + "tokens.prompt"] = group.prompt_tokens;
    figures[prefix + "throughput.tokens_per_s"] = static_cast<double>(group.tokens) * per_s;
    figures[prefix + "throughput.total_tokens_per_s"] =
        static_cast<double>(group.tokens + group.prompt_tokens) * per_s;
  }
  for (const Metric& metric : kMetrics) {
    AddSummary((group.*metric.samples).Summarize(), prefix + metric.figure, figures);
  }
}

json Stages(const Results& results, json& figures) {
  json stages = json::array();
  int64_t count = 0;
  int64_t fallbacks = 0;
  for (const auto& [name, sum] : results.stages) {
    const auto n = static_cast<double>(sum.count);
    json platforms = json::object();
    for (const auto& [platform, times] : sum.platforms) {
      platforms[platform] = times;
      figures[StrCat("route.", name, ".", platform)] = static_cast<double>(times) / n;
    }
    stages.push_back({{"name", name},
                      {"count", sum.count},
                      {"queue_ms", sum.queue_us / n / 1e3},
                      {"run_ms", sum.run_us / n / 1e3},
                      {"platforms", platforms}});
    count += sum.count;
    fallbacks += sum.fallbacks;
  }
  if (count > 0) {
    figures["route.fallback_share"] = static_cast<double>(fallbacks) / static_cast<double>(count);
  }
  return stages;
}

json StepsOf(const SweepOutcome& sweep) {
  json steps = json::array();
  for (const SweepStep& step : sweep.steps) {
    steps.push_back({{"rate_per_s", step.rate_per_s},
                     {"ok_per_s", step.ok_per_s},
                     {"goodput_per_s", step.goodput_per_s},
                     {"goodput_share", step.goodput_share},
                     {"tokens_per_s", step.tokens_per_s},
                     {"ttft_p50_ms", step.ttft_p50_ms},
                     {"ttft_p99_ms", step.ttft_p99_ms},
                     {"e2e_p50_ms", step.e2e_p50_ms},
                     {"e2e_p99_ms", step.e2e_p99_ms},
                     {"holds", step.holds},
                     {"client_bound", step.client_bound}});
  }
  return steps;
}

json RunOf(const Scenario& scenario) {
  json run = {{"target", scenario.target},
              {"api", Name(scenario.api)},
              {"arrivals", Name(scenario.arrivals.process)},
              {"duration_s", scenario.sweep ? scenario.sweep->step_s : scenario.duration_s},
              {"warmup_s", scenario.sweep ? scenario.sweep->warmup_s : scenario.warmup_s},
              {"in_flight_max", scenario.in_flight_max}};
  switch (scenario.arrivals.process) {
    case Process::kClosed:
      run["users"] = scenario.arrivals.users;
      break;
    case Process::kTrace:
      run["trace"] = scenario.trace_path;
      break;
    default:
      if (!scenario.sweep) run["rate_per_s"] = scenario.arrivals.rate_per_s;
  }
  json load = json::array();
  for (const RequestMix& mix : scenario.load) {
    load.push_back({{"name", mix.name},
                    {"kind", Name(mix.kind)},
                    {"weight", mix.weight},
                    {"deadline_ms", mix.deadline_ms}});
  }
  run["load"] = load;
  json slo = json::object();
  const auto add = [&slo](const char* key, const std::optional<double>& limit) {
    if (limit) slo[key] = *limit;
  };
  add("ttft_ms", scenario.slo.ttft_ms);
  add("tpot_ms", scenario.slo.tpot_ms);
  add("itl_ms", scenario.slo.itl_ms);
  add("e2e_ms", scenario.slo.e2e_ms);
  if (!slo.empty()) slo["share"] = scenario.slo.share;
  run["slo"] = slo;
  return run;
}

// The figure, or 0.
double At(const json& figures, const std::string& name) {
  const auto found = figures.find(name);
  return found != figures.end() && found->is_number() ? found->get<double>() : 0;
}

std::string TextAt(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

}  // namespace

json MakeDocument(const Scenario& scenario, const absl::Status& status, Results& results,
                  const SweepOutcome* sweep) {
  json figures = json::object();
  const double wall_s = results.wall_s();
  figures["wall_s"] = wall_s;
  AddGroup("", wall_s, results.all, figures);
  for (auto& [name, group] : results.groups) {
    if (name == "probe") {
      AddGroup("probe.", wall_s, group, figures);
    } else if (scenario.load.size() > 1) {
      AddGroup(StrCat("load.", name, "."), wall_s, group, figures);
    }
  }
  if (!scenario.slo.empty()) {
    figures["goodput.requests_per_s"] = results.goodput_per_s();
    figures["goodput.share"] = results.goodput_share();
  }
  figures["client.share_of_core"] = results.client.share_of_core;
  figures["client.busiest_thread"] = results.client.busiest_thread;
  figures["client.is_bottleneck"] = IsClientBound(results) ? 1 : 0;
  if (results.recall_count() > 0) {
    figures["recall.mean"] = results.recall();
    figures["recall.queries"] = results.recall_count();
  }
  json document;
  document["stages"] = Stages(results, figures);
  if (sweep != nullptr) {
    figures["sweep.rate_at_slo"] = sweep->rate_at_slo;
    figures["sweep.goodput_peak_per_s"] = sweep->goodput_peak_per_s;
    figures["sweep.client_bound"] = sweep->client_bound ? 1 : 0;
    document["sweep"] = StepsOf(*sweep);
  }
  int64_t not_stored = 0;
  document["cdf"] = json::object();
  document["samples"] = json::object();
  for (const Metric& metric : kMetrics) {
    Samples& samples = results.all.*metric.samples;
    not_stored += samples.not_stored();
    const auto curve = samples.Distribution(kCurvePoints);
    if (curve.empty()) continue;
    document["cdf"][metric.figure] = curve;
    document["samples"][metric.figure] = samples.Thinned(kSamplesKept);
  }
  figures["samples.not_stored"] = not_stored;
  document["timeline"] = json::array();
  for (const TimelineSecond& second : results.timeline) {
    document["timeline"].push_back({{"sent", second.sent},
                                    {"ok", second.ok},
                                    {"good", second.good},
                                    {"failed", second.failed},
                                    {"tokens", second.tokens}});
  }
  document["errors"] = json::array();
  for (const auto& [code, count] : results.all.errors) {
    const auto text = results.all.error_texts.find(code);
    document["errors"].push_back(
        {{"code", code},
         {"count", count},
         {"message", text == results.all.error_texts.end() ? "" : text->second}});
  }
  document["figures"] = std::move(figures);
  document["machine"] = Machine();
  document["commit"] = scenario.commit;
  document["seed"] = scenario.seed;
  document["run"] = RunOf(scenario);
  document["status"] = std::string(status.message());
  return document;
}

std::string Warnings(const json& document) {
  const json& figures = document["figures"];
  std::string text;
  if (const std::string status = TextAt(document, "status"); !status.empty()) {
    text += StrCat("This report is partial: ", status, ".\n");
  }
  if (At(figures, "client.is_bottleneck") > 0) {
    text += absl::StrFormat(
        "The client is the bottleneck: its busiest thread computed %.0f %% of the time. The "
        "figures "
        "are its own, not the server's.\n",
        100 * At(figures, "client.busiest_thread"));
  }
  if (At(figures, "send_lag_ms.p99") > kSendLagP99MsMax) {
    text += absl::StrFormat(
        "The client was late: 1 %% of requests left %.2f ms or more after their time, which is "
        "inside every latency. Give it a core of its own, or a lower rate.\n",
        At(figures, "send_lag_ms.p99"));
  }
  if (At(figures, "requests.dropped") > 0) {
    text += absl::StrFormat(
        "Overload: %.0f requests were never sent (too many under way, or their deadline had "
        "passed); the latencies are those of the others.\n",
        At(figures, "requests.dropped"));
  }
  if (At(figures, "samples.not_stored") > 0) {
    text += absl::StrFormat("%.0f samples came after the store of %d was full: in no percentile.\n",
                            At(figures, "samples.not_stored"), Samples::kCountMax);
  }
  return text;
}

void PrintTable(const json& document, std::ostream& out) {
  const json& figures = document["figures"];
  const json& run = document["run"];
  std::string load;
  for (const json& mix : run["load"]) load += (load.empty() ? "" : ", ") + TextAt(mix, "name");
  out << absl::StreamFormat("%s over %s to %s, %s arrivals, seed %s\n", load, TextAt(run, "api"),
                            TextAt(run, "target"), TextAt(run, "arrivals"),
                            TextAt(document, "seed"));
  if (document.contains("sweep")) {
    out << absl::StreamFormat("\n%12s %10s %10s %9s %12s %12s %12s\n", "rate/s", "ok/s",
                              "goodput/s", "good", "TTFT p50 ms", "TTFT p99 ms", "E2E p99 ms");
    for (const json& step : document["sweep"]) {
      out << absl::StreamFormat(
          "%12.2f %10.2f %10.2f %8.1f%% %12.3f %12.3f %12.3f %s\n", At(step, "rate_per_s"),
          At(step, "ok_per_s"), At(step, "goodput_per_s"), 100 * At(step, "goodput_share"),
          At(step, "ttft_p50_ms"), At(step, "ttft_p99_ms"), At(step, "e2e_p99_ms"),
          step.value("holds", false) ? "" : "breaks the SLO");
    }
    out << absl::StreamFormat("\nHighest rate within the SLO: %.2f/s. What follows is of it.\n",
                              At(figures, "sweep.rate_at_slo"));
  }
  out << "\n";
  const auto line = [&](const char* label, const char* figure, int digits) {
    if (figures.contains(figure)) {
      out << absl::StreamFormat("%-38s %14.*f\n", label, digits, At(figures, figure));
    }
  };
  line("Successful requests:", "requests.ok", 0);
  line("Failed requests:", "requests.failed", 0);
  line("Requests never sent:", "requests.dropped", 0);
  line("Requests given up by the client:", "requests.given_up", 0);
  line("Benchmark duration (s):", "wall_s", 2);
  line("Total input tokens:", "tokens.prompt", 0);
  line("Total generated tokens:", "tokens.generated", 0);
  line("Request throughput (req/s):", "throughput.requests_per_s", 2);
  line("Request goodput (req/s):", "goodput.requests_per_s", 2);
  line("Share of requests within the SLO:", "goodput.share", 4);
  line("Output token throughput (tok/s):", "throughput.tokens_per_s", 2);
  line("Total token throughput (tok/s):", "throughput.total_tokens_per_s", 2);
  line("Refusals with a retry hint (share):", "refusals.hinted_share", 4);
  line("Recall against exact search:", "recall.mean", 4);
  line("Client, share of a core:", "client.share_of_core", 3);
  for (const json& error : document["errors"]) {
    out << absl::StreamFormat("%-38s %14s  %s\n", TextAt(error, "code") + ":",
                              TextAt(error, "count"), TextAt(error, "message").substr(0, 120));
  }
  out << absl::StreamFormat("\n%-22s %10s %10s %10s %10s %10s %10s %9s\n", "ms", "mean", "median",
                            "p90", "p99", "p99.9", "max", "samples");
  std::vector<std::string> prefixes = {""};
  if (run["load"].size() > 1) {
    for (const json& mix : run["load"])
      prefixes.push_back(StrCat("load.", TextAt(mix, "name"), "."));
  }
  prefixes.push_back("probe.");
  for (const std::string& prefix : prefixes) {
    for (const Metric& metric : kMetrics) {
      const std::string name = prefix + metric.figure;
      if (!figures.contains(name + ".samples")) continue;
      out << absl::StreamFormat("%-22s %10.3f %10.3f %10.3f %10.3f %10.3f %10.3f %9.0f\n",
                                prefix + metric.label, At(figures, name + ".mean"),
                                At(figures, name + ".p50"), At(figures, name + ".p90"),
                                At(figures, name + ".p99"), At(figures, name + ".p999"),
                                At(figures, name + ".max"), At(figures, name + ".samples"));
    }
  }
  if (!document["stages"].empty()) {
    out << absl::StreamFormat("\n%-22s %10s %10s  %s\n", "stage, mean ms", "queue", "run", "where");
    for (const json& stage : document["stages"]) {
      std::string where;
      for (const auto& [platform, count] : stage["platforms"].items()) {
        where += absl::StrFormat("%s%s %.1f%%", where.empty() ? "" : ", ", platform,
                                 100 * count.get<double>() / At(stage, "count"));
      }
      out << absl::StreamFormat("%-22s %10.3f %10.3f  %s\n", TextAt(stage, "name"),
                                At(stage, "queue_ms"), At(stage, "run_ms"), where);
    }
  }
  out << "\nTTFT = first message with tokens - intended send time; ITL = gaps between messages "
         "with\n"
         "tokens; E2E = status - intended send time; TPOT = (E2E - TTFT) / (tokens - 1); goodput "
         "=\n"
         "requests that ended OK within every SLO. Throughput is over the benchmark duration.\n";
  if (const std::string warnings = Warnings(document); !warnings.empty()) out << "\n" << warnings;
}

std::string DumpDocument(const json& document) {
  // A target or commit that is not UTF-8 must not throw.
  return document.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::Status WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc | std::ios::binary);
  file << text;
  file.close();
  return file ? absl::OkStatus() : absl::UnavailableError(StrCat("cannot write ", path));
}

absl::StatusOr<json> ParseDocument(const std::string& text, const std::string& name) {
  json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto wrong = [&](std::string_view what) {
    return absl::InvalidArgumentError(StrCat(name, ": not a report of baton-load: ", what));
  };
  if (!document.is_object()) return wrong("no JSON object");
  for (const char* key : {"figures", "run", "cdf", "samples"}) {
    if (!document.contains(key) || !document[key].is_object()) {
      return wrong(StrCat("no object \"", key, "\""));
    }
  }
  for (const char* key : {"timeline", "stages", "errors"}) {
    if (!document.contains(key) || !document[key].is_array()) {
      return wrong(StrCat("no list \"", key, "\""));
    }
    for (const json& entry : document[key]) {
      if (!entry.is_object()) return wrong(StrCat("\"", key, "\" holds no objects"));
    }
  }
  const auto load = document["run"].find("load");
  if (load == document["run"].end() || !load->is_array()) return wrong("no list \"run.load\"");
  for (const json& mix : *load) {
    if (!mix.is_object()) return wrong("\"run.load\" holds no objects");
  }
  for (const json& stage : document["stages"]) {
    const auto platforms = stage.find("platforms");
    bool counts = platforms != stage.end() && platforms->is_object();
    if (counts) {
      for (const auto& [platform, count] : platforms->items()) counts &= count.is_number();
    }
    if (!counts) return wrong("a stage has no counts of platforms");
  }
  for (const auto& [key, samples] : document["samples"].items()) {
    bool numbers = samples.is_array();
    if (numbers) {
      for (const json& ms : samples) numbers &= ms.is_number();
    }
    if (!numbers) return wrong(StrCat("samples.", key, " is no list of numbers"));
  }
  for (const auto& [key, curve] : document["cdf"].items()) {
    bool points = curve.is_array();
    if (points) {
      for (const json& at : curve) {
        points &= at.is_array() && at.size() == 2 && at[0].is_number() && at[1].is_number();
      }
    }
    if (!points) return wrong(StrCat("cdf.", key, " is no list of points"));
  }
  if (document.contains("sweep")) {
    if (!document["sweep"].is_array()) return wrong("\"sweep\" is no list");
    for (const json& step : document["sweep"]) {
      if (!step.is_object()) return wrong("\"sweep\" holds no objects");
    }
  }
  return document;
}

absl::StatusOr<json> ReadDocument(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return absl::NotFoundError(StrCat("cannot open ", path));
  const std::streamoff bytes = file.tellg();
  if (bytes < 0 || bytes > kDocumentBytesMax) {
    return absl::InvalidArgumentError(
        StrCat(path, ": not a file of at most ", int64_t{kDocumentBytesMax}, " bytes"));
  }
  std::string text(static_cast<size_t>(bytes), '\0');
  file.seekg(0);
  file.read(text.data(), bytes);
  return ParseDocument(text, path);
}

}  // namespace baton::load
