#include "tests/bench/gpu/gpu_report.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/bench/gpu/sustained.h"
#include "tests/support/temp_dir.h"

namespace baton::gpu_bench {
namespace {

constexpr Ceilings kGood = {
    .read_gbps = 4200, .copy_gbps = 4300, .gemm_tflops = 790, .pinned_gbps = 50};

GpuReport MakeReport(const std::string& device = "NVIDIA H200", const std::string& path = "") {
  return GpuReport({.device = device, .detail = "detail", .memory_bytes = 1, .emulated = false},
                   path, "commit", /*judged=*/true);
}

// Every figure with a bar, `times` as far as its bar.
void AddAll(GpuReport& report, double times) {
  for (const Bar& bar : Bars()) {
    const Ceilings& at = report.ceilings();
    const double ceiling = bar.of == CeilingOf::kBandwidth ? at.bandwidth_gbps()
                           : bar.of == CeilingOf::kGemm    ? at.gemm_tflops
                           : bar.of == CeilingOf::kPinned  ? at.pinned_gbps
                                                           : 1;
    report.Add(bar.name, bar.bar * ceiling * (bar.at_most ? 1 / times : times), bar.unit, bar.of);
  }
}

TEST_CASE("a sample is long enough and the median of samples counts") {
  int64_t runs = 0;
  double clock = 0;
  // A call takes 1 ms, every fifth run ten times as long.
  const auto run = [&](int64_t calls) {
    ++runs;
    const double seconds = static_cast<double>(calls) * 1e-3 * (runs % 5 == 0 ? 10 : 1);
    clock += seconds;
    return seconds;
  };
  const Sustained measured =
      MeasureSustained({.seconds_min = 2, .sample_seconds_min = 0.02, .samples_min = 5}, run);
  CHECK(measured.call_seconds == Approx(1e-3));
  CHECK(measured.samples >= 5);
  CHECK(measured.calls >= measured.samples * 2);
  CHECK(measured.spread > 1);  // the slow runs are more than a tenth
  CHECK(clock >= 2);
}

TEST_CASE("what takes long is measured as often as is asked for") {
  int64_t calls_in_all = 0;
  const Sustained measured = MeasureSustained(
      {.seconds_min = 0.5, .sample_seconds_min = 0.02, .samples_min = 3}, [&](int64_t calls) {
        calls_in_all += calls;
        return 1.0 * static_cast<double>(calls);
      });
  CHECK(measured.samples == 3);
  CHECK(measured.calls == 3);
  CHECK(calls_in_all == 5);  // warming up and looking for the sample's size
  CHECK(measured.spread == 0);
}

TEST_CASE("a run on an H200 that is slower than one is void") {
  CHECK(VoidReason("NVIDIA H200", kGood).empty());
  Ceilings low = kGood;
  low.gemm_tflops = 699;
  CHECK(VoidReason("NVIDIA H200", low).find("700") != std::string::npos);
  CHECK(VoidReason("NVIDIA A100", low).empty());
  low = kGood;
  low.copy_gbps = low.read_gbps = 3999;
  CHECK(VoidReason("NVIDIA H200", low).find("4000") != std::string::npos);
  low.read_gbps = 4001;  // the better of both is the ceiling
  CHECK(VoidReason("NVIDIA H200", low).empty());
  CHECK_FALSE(VoidReason("NVIDIA A100", {}).empty());
  low.copy_gbps = low.read_gbps = std::nan("");
  CHECK_FALSE(VoidReason("NVIDIA A100", low).empty());
}

TEST_CASE("all bars met is 0, one missed is 1, none measured is 3") {
  GpuReport report = MakeReport();
  CHECK(report.ExitCode() == 3);  // no ceilings, no figures
  report.SetCeilings(kGood);
  CHECK(report.ExitCode() == 3);
  AddAll(report, 1.01);
  CHECK(report.ExitCode() == 0);
  CHECK(report.Table().find("MISSED") == std::string::npos);

  for (const double far : {0.99, 0.0}) {
    GpuReport missed = MakeReport();
    missed.SetCeilings(kGood);
    AddAll(missed, far);
    CHECK(missed.ExitCode() == 1);
    CHECK(missed.Table().find(" met\n") == std::string::npos);
  }
}

TEST_CASE("a void run meets nothing, and says so first") {
  GpuReport report = MakeReport();
  Ceilings low = kGood;
  low.gemm_tflops = 500;
  report.SetCeilings(low);
  AddAll(report, 2);
  CHECK(report.ExitCode() == 3);
  CHECK(report.Table().find("VOID: a GEMM runs at 500") != std::string::npos);
}

TEST_CASE("no number is no figure that meets a bar") {
  GpuReport report = MakeReport();
  report.SetCeilings(kGood);
  AddAll(report, 1.01);
  report.Add("graph.over_cpu", std::nan(""), "times");
  CHECK(report.ExitCode() == 1);
}

TEST_CASE("what was not measured is named with its reason") {
  GpuReport report = MakeReport();
  report.SetCeilings(kGood);
  report.Absent("prefill.8b.bf16", "out of memory");
  report.Add("kernel.gate", 2150, "GB/s", CeilingOf::kBandwidth, 0.01);
  const auto json = nlohmann::json::parse(report.Json());
  CHECK(json["absent"]["prefill.8b.bf16"] == "out of memory");
  CHECK(json["absent"]["handoff.rate"] == "its part did not run");
  CHECK_FALSE(json["absent"].contains("kernel.gate"));
  CHECK(json["figures"]["kernel.gate"]["share"] == Approx(0.5));
  CHECK(json["ceilings"]["gemm_tflops"] == Approx(790));
  CHECK(json["void"] == "");
  CHECK(report.Table().find("not measured: out of memory") != std::string::npos);
  CHECK(report.ExitCode() == 3);
}

TEST_CASE("a tiny run is not judged") {
  GpuReport report({.device = "NVIDIA H200", .detail = "", .memory_bytes = 1, .emulated = true}, "",
                   "", /*judged=*/false);
  report.SetCeilings(kGood);
  AddAll(report, 0.1);
  CHECK(report.ExitCode() == 0);
  CHECK(report.Table().find("not judged") != std::string::npos);
  CHECK(nlohmann::json::parse(report.Json())["bars"].empty());
}

TEST_CASE("the JSON is written whenever it is asked for") {
  const TempDir dir;
  const std::string path = dir.File("gpu.json");
  GpuReport report = MakeReport("NVIDIA H200", path);
  CHECK(report.Flush());
  report.SetCeilings(kGood);
  report.Add("handoff.rate", 45, "GB/s", CeilingOf::kPinned);
  CHECK(report.Flush());
  std::ifstream file(path);
  const auto json = nlohmann::json::parse(file);
  CHECK(json["bars"]["handoff.rate"] == "met");
  CHECK_FALSE(MakeReport("NVIDIA H200", dir.File("none/gpu.json")).Flush());
}

}  // namespace
}  // namespace baton::gpu_bench
