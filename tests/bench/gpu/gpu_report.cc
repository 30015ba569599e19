#include "tests/bench/gpu/gpu_report.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

namespace baton::gpu_bench {
namespace {

constexpr Bar kBars[] = {
    {"prefill.8b.bf16", "TFLOP/s", CeilingOf::kGemm, 0.72, false, {}},
    {"attention.causal_16k", "TFLOP/s", CeilingOf::kGemm, 0.40, false, {}},
    {"decode.8b.bf16.b1", "GB/s", CeilingOf::kBandwidth, 0.80, false, {}},
    {"decode.8b.q8_0.b1", "GB/s", CeilingOf::kBandwidth, 0.65, false, {}},
    {"decode.8b.q4_0.b1", "GB/s", CeilingOf::kBandwidth, 0.50, false, 0.65},
    {"decode.8b.bf16.b64", "GB/s", CeilingOf::kBandwidth, 0.70, false, {}},
    {"search.1m_768.b1024", "TFLOP/s", CeilingOf::kGemm, 0.45, false, 0.60},
    {"search.10m_128.b1000", "queries/s", CeilingOf::kNone, 100e3, false, {}},
    {"graph.1m_128", "vectors/s", CeilingOf::kNone, 400e3, false, {}},
    {"graph.over_cpu", "times", CeilingOf::kNone, 10, false, {}},
    {"graph.recall_loss", "", CeilingOf::kNone, 0.005, true, {}},
    {"graph.qps_over_cpu", "times", CeilingOf::kNone, 0.95, false, {}},
    {"handoff.rate", "GB/s", CeilingOf::kPinned, 0.80, false, {}},
    {"handoff.hidden", "", CeilingOf::kNone, 0.85, false, {}},
    {"handoff.groups_exposed", "groups", CeilingOf::kNone, 1.3, true, {}},
};

const Bar* FindBar(const std::string& name) {
  for (const Bar& bar : kBars) {
    if (name == bar.name) return &bar;
  }
  return nullptr;
}

const char* NameOf(CeilingOf of) {
  switch (of) {
    case CeilingOf::kNone:
      return "";
    case CeilingOf::kBandwidth:
      return "bandwidth";
    case CeilingOf::kGemm:
      return "gemm";
    case CeilingOf::kPinned:
      return "pinned copy";
  }
  return "";
}

template <typename... Arguments>
std::string Format(const char* format, Arguments... arguments) {
  char text[512];
  std::snprintf(text, sizeof(text), format, arguments...);
  return text;
}

}  // namespace

std::string VoidReason(std::string_view device_name, const Ceilings& ceilings) {
  if (!(ceilings.bandwidth_gbps() > 0) || !(ceilings.gemm_tflops > 0)) {
    return "no ceilings were measured";
  }
  if (device_name.find("H200") == device_name.npos) return "";
  constexpr double kBandwidthMin = 4000;
  constexpr double kGemmMin = 700;
  if (ceilings.bandwidth_gbps() < kBandwidthMin) {
    return Format("bandwidth is %.0f GB/s, an H200 has %.0f or more", ceilings.bandwidth_gbps(),
                  kBandwidthMin);
  }
  if (ceilings.gemm_tflops < kGemmMin) {
    return Format("a GEMM runs at %.0f TFLOP/s, on an H200 at %.0f or more", ceilings.gemm_tflops,
                  kGemmMin);
  }
  return "";
}

std::span<const Bar> Bars() { return kBars; }

GpuReport::GpuReport(GpuMachine machine, std::string json_path, std::string commit, bool judged)
    : machine_(std::move(machine)),
      json_path_(std::move(json_path)),
      commit_(std::move(commit)),
      judged_(judged) {}

void GpuReport::SetCeilings(const Ceilings& ceilings) {
  ceilings_ = ceilings;
  void_reason_ = VoidReason(machine_.device, ceilings);
}

double GpuReport::CeilingValue(CeilingOf of) const {
  switch (of) {
    case CeilingOf::kNone:
      return 0;
    case CeilingOf::kBandwidth:
      return ceilings_.bandwidth_gbps();
    case CeilingOf::kGemm:
      return ceilings_.gemm_tflops;
    case CeilingOf::kPinned:
      return ceilings_.pinned_gbps;
  }
  return 0;
}

GpuReport::Verdict GpuReport::Judge(const Figure& figure) const {
  const Bar* const bar = FindBar(figure.name);
  if (bar == nullptr || !judged_) return Verdict::kNone;
  // A share of a ceiling that nobody measured meets nothing; nor does what is no number.
  const double its = bar->of == CeilingOf::kNone ? figure.value : figure.share.value_or(0);
  const bool met = bar->at_most ? its <= bar->bar : its >= bar->bar;
  return met ? Verdict::kMet : Verdict::kMissed;
}

void GpuReport::Add(const std::string& name, double value, const std::string& unit, CeilingOf of,
                    double spread) {
  Figure figure = {.name = name,
                   .value = value,
                   .unit = unit,
                   .share = {},
                   .spread = spread,
                   .verdict = Verdict::kNone};
  if (CeilingValue(of) > 0) figure.share = value / CeilingValue(of);
  figure.verdict = Judge(figure);
  std::printf("%-28s %14.3f %-10s", name.c_str(), value, unit.c_str());
  if (figure.share) std::printf(" %5.1f %% of %s", 100 * *figure.share, NameOf(of));
  std::printf("\n");
  std::fflush(stdout);
  figures_.push_back(std::move(figure));
}

void GpuReport::Absent(const std::string& name, const std::string& why) {
  std::printf("%-28s not measured: %s\n", name.c_str(), why.c_str());
  std::fflush(stdout);
  absent_[name] = why;
}

std::map<std::string, std::string> GpuReport::AllAbsent() const {
  std::map<std::string, std::string> absent = absent_;
  for (const Bar& bar : kBars) {
    const bool measured = std::any_of(figures_.begin(), figures_.end(),
                                      [&](const Figure& its) { return its.name == bar.name; });
    if (!measured) absent.try_emplace(bar.name, "its part did not run");
  }
  return absent;
}

std::string GpuReport::Table() const {
  std::string table = machine_.device + ", " + machine_.detail + "\n";
  table += Format("ceilings: read %.0f GB/s, copy %.0f GB/s, GEMM %.0f TFLOP/s, pinned %.1f GB/s\n",
                  ceilings_.read_gbps, ceilings_.copy_gbps, ceilings_.gemm_tflops,
                  ceilings_.pinned_gbps);
  if (!void_reason_.empty()) table += "VOID: " + void_reason_ + "\n";
  for (const Bar& bar : kBars) {
    const auto figure = std::find_if(figures_.begin(), figures_.end(),
                                     [&](const Figure& its) { return its.name == bar.name; });
    if (figure == figures_.end()) {
      table += Format("%-24s not measured: %s\n", bar.name, AllAbsent().at(bar.name).c_str());
      continue;
    }
    const bool is_share = bar.of != CeilingOf::kNone;
    table += Format("%-24s %12.2f %-10s %7.3f %s %g", bar.name, figure->value, figure->unit.c_str(),
                    is_share ? figure->share.value_or(0) : figure->value,
                    bar.at_most ? "<=" : ">=", bar.bar);
    if (bar.aim) table += Format(" (aim %g)", *bar.aim);
    table += figure->verdict == Verdict::kNone  ? "  not judged\n"
             : figure->verdict == Verdict::kMet ? "  met\n"
                                                : "  MISSED\n";
  }
  return table;
}

std::string GpuReport::Json() const {
  nlohmann::json figures = nlohmann::json::object();
  nlohmann::json judged = nlohmann::json::object();
  for (const Figure& figure : figures_) {
    figures[figure.name] = {
        {"value", figure.value}, {"unit", figure.unit}, {"spread", figure.spread}};
    if (figure.share) figures[figure.name]["share"] = *figure.share;
    if (figure.verdict != Verdict::kNone) {
      judged[figure.name] = figure.verdict == Verdict::kMet ? "met" : "missed";
    }
  }
  const nlohmann::json report = {{"machine",
                                  {{"device", machine_.device},
                                   {"detail", machine_.detail},
                                   {"memory_bytes", machine_.memory_bytes},
                                   {"emulated", machine_.emulated}}},
                                 {"commit", commit_},
                                 {"ceilings",
                                  {{"read_gbps", ceilings_.read_gbps},
                                   {"copy_gbps", ceilings_.copy_gbps},
                                   {"gemm_tflops", ceilings_.gemm_tflops},
                                   {"pinned_gbps", ceilings_.pinned_gbps}}},
                                 {"void", void_reason_},
                                 {"figures", figures},
                                 {"bars", judged},
                                 {"absent", AllAbsent()}};
  return report.dump(2) + "\n";
}

bool GpuReport::Flush() const {
  if (json_path_.empty()) return true;
  std::ofstream file(json_path_);
  file << Json();
  return static_cast<bool>(file.flush());
}

int GpuReport::ExitCode() const {
  if (!judged_) return 0;
  const bool missed = std::any_of(figures_.begin(), figures_.end(), [](const Figure& figure) {
    return figure.verdict == Verdict::kMissed;
  });
  if (missed) return 1;
  return void_reason_.empty() && AllAbsent().empty() ? 0 : 3;
}

}  // namespace baton::gpu_bench
