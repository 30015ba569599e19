#include "engine/exec/cpu/package_power.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace baton {
namespace {

// A powercap tree of two packages, and a part of one.
class Tree {
 public:
  Tree() {
    for (const char* zone : {"intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0", "intel-rapl"}) {
      std::filesystem::create_directory(dir_.File(zone));
      Write(zone, "max_energy_range_uj", 1'000'000'000);
      Write(zone, "energy_uj", 500);
    }
  }
  void Write(const std::string& zone, const std::string& file, int64_t value) {
    std::ofstream(dir_.File(zone) + "/" + file) << value << "\n";
  }
  std::string path() const { return dir_.File(""); }
  std::string File(const std::string& name) const { return dir_.File(name); }

 private:
  TempDir dir_;
};

TEST_CASE("packages' counters become watts, parts are not counted twice") {
  Tree tree;
  PackagePower power(tree.path());
  CHECK_FALSE(power.Watts(1'000'000));  // the first reading has nothing before it
  tree.Write("intel-rapl:0", "energy_uj", 500 + 20'000'000);
  tree.Write("intel-rapl:1", "energy_uj", 500 + 10'000'000);
  tree.Write("intel-rapl:0:0", "energy_uj", 900'000'000);
  CHECK(*power.Watts(1'500'000) == Approx(60));
  tree.Write("intel-rapl:0", "energy_uj", 999'000'000);
  CHECK(*power.Watts(1'599'999) == Approx(60));  // not read again so soon
}

TEST_CASE("a counter that wraps goes on") {
  Tree tree;
  tree.Write("intel-rapl:0", "energy_uj", 999'999'000);
  PackagePower power(tree.path());
  power.Watts(0);
  tree.Write("intel-rapl:0", "energy_uj", 9'000);
  CHECK(*power.Watts(100'000) == Approx(0.1));
}

TEST_CASE("without zones, or without leave to read them, nothing is measured") {
  PackagePower absent("/nonexistent/powercap");
  CHECK_FALSE(absent.Watts(0));
  CHECK_FALSE(absent.Watts(1'000'000));
  Tree tree;
  PackagePower power(tree.path());
  power.Watts(0);
  std::filesystem::remove(tree.File("intel-rapl:1/energy_uj"));
  CHECK_FALSE(power.Watts(1'000'000));
}

}  // namespace
}  // namespace baton
