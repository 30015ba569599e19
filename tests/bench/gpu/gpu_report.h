#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace baton::gpu_bench {

// What the device was seen to do in the same run: what figures are shares of.
struct Ceilings {
  double read_gbps = 0;
  double copy_gbps = 0;    // bytes read and written
  double gemm_tflops = 0;  // bf16, the best of the shapes that an 8B model has
  double pinned_gbps = 0;  // from the device to pinned memory of the host
  double bandwidth_gbps() const { return read_gbps > copy_gbps ? read_gbps : copy_gbps; }
};
enum class CeilingOf { kNone, kBandwidth, kGemm, kPinned };

// "", or why a run on such a device proves nothing: it did less than the device is known to do.
std::string VoidReason(std::string_view device_name, const Ceilings& ceilings);

// A figure that has to be met: its share of the ceiling or, of kNone, the figure itself.
struct Bar {
  const char* name;
  const char* unit;
  CeilingOf of;
  double bar;
  bool at_most = false;       // else: at least
  std::optional<double> aim;  // beyond the bar
};
std::span<const Bar> Bars();

struct GpuMachine {
  std::string device;
  std::string detail;  // capability, multiprocessors, memory
  int64_t memory_bytes = 0;
  bool emulated = false;
};

// The figures of one run: printed as they come, as a table in the end, as JSON whenever a part is
// done. Names are dotted; those of Bars() are judged, unless the run is tiny or on an emulation.
class GpuReport {
 public:
  GpuReport(GpuMachine machine, std::string json_path, std::string commit, bool judged);

  void SetCeilings(const Ceilings& ceilings);
  const Ceilings& ceilings() const { return ceilings_; }

  // of: what the figure is a share of, in the ceiling's unit (GB/s, TFLOP/s).
  void Add(const std::string& name, double value, const std::string& unit,
           CeilingOf of = CeilingOf::kNone, double spread = 0);
  // A figure that could not be taken, and why.
  void Absent(const std::string& name, const std::string& why);
  // Writes the JSON so far; false: it cannot.
  bool Flush() const;

  std::string Table() const;
  std::string Json() const;
  // 0: every bar was met; 1: one was missed; 3: the run is void, or a figure is absent.
  int ExitCode() const;

 private:
  enum class Verdict { kNone, kMet, kMissed };
  struct Figure {
    std::string name;
    double value = 0;
    std::string unit;
    std::optional<double> share;
    double spread = 0;
    Verdict verdict = Verdict::kNone;
  };
  double CeilingValue(CeilingOf of) const;
  Verdict Judge(const Figure& figure) const;
  // Of Bars(), those that were neither measured nor said to be absent are absent, too.
  std::map<std::string, std::string> AllAbsent() const;

  const GpuMachine machine_;
  const std::string json_path_;
  const std::string commit_;
  const bool judged_;
  Ceilings ceilings_;
  std::string void_reason_ = "no ceilings were measured";
  std::vector<Figure> figures_;
  std::map<std::string, std::string> absent_;
};

}  // namespace baton::gpu_bench
