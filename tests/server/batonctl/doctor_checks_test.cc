#include "server/batonctl/doctor_checks.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace baton::ctl {
namespace {

using Grade = Finding::Grade;

const Finding& Find(const std::vector<Finding>& findings, const std::string& what) {
  for (const Finding& finding : findings) {
    if (finding.what == what) return finding;
  }
  FAIL("nothing is said of " << what);
  return findings.front();
}

// Whatever is not well says what to do.
void CheckRemedies(const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    CAPTURE(finding.what);
    CHECK_FALSE(finding.found.empty());
    CHECK((finding.grade == Grade::kOk) == finding.remedy.empty());
  }
}

void Put(const TempDir& dir, const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(dir.File(path)).parent_path());
  dir.Write(path, text);
}

TEST_CASE("limits of a machine that are too low are told with what to set") {
  const TempDir dir;
  Put(dir, "proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 400000 kB\n");
  Put(dir, "proc/sys/vm/max_map_count", "1000\n");
  Put(dir, "proc/sys/vm/swappiness", "60\n");
  Put(dir, "proc/swaps", "Filename Type\n/dev/sda2 partition\n");
  Put(dir, "sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
  const std::vector<Finding> findings = CheckMachine(dir.path(), 1024);
  CheckRemedies(findings);
  CHECK(findings.size() == 5);
  for (const Finding& finding : findings) CHECK(finding.grade == Grade::kWarning);
  CHECK_THAT(Find(findings, "file descriptors").remedy, Catch::Contains("LimitNOFILE=65536"));
  CHECK_THAT(Find(findings, "memory maps").remedy, Catch::Contains("vm.max_map_count="));
  CHECK_THAT(Find(findings, "swap").remedy, Catch::Contains("vm.swappiness=1"));
}

TEST_CASE("a machine that is well, and one that tells nothing") {
  const TempDir dir;
  Put(dir, "proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n");
  Put(dir, "proc/sys/vm/max_map_count", "262144\n");
  Put(dir, "proc/sys/vm/swappiness", "60\n");
  Put(dir, "proc/swaps", "Filename Type\n");
  Put(dir, "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  const std::vector<Finding> well = CheckMachine(dir.path(), 1 << 20);
  CheckRemedies(well);
  for (const Finding& finding : well) CHECK(finding.grade == Grade::kOk);
  const TempDir empty;
  for (const Finding& finding : CheckMachine(empty.path(), 1 << 20)) {
    CHECK(finding.grade == Grade::kOk);
  }
}

TEST_CASE("what a configuration names is looked at") {
  const TempDir dir;
  Config config;
  config.vector.data_dir = dir.File("not/yet/made");
  std::vector<Finding> findings = CheckConfigured(config);
  CheckRemedies(findings);
  CHECK(findings.size() == 2);
  CHECK(Find(findings, "disk of vector.data_dir").grade != Grade::kProblem);
  CHECK(Find(findings, "server.grpc_address").grade == Grade::kOk);

  config.vector.disk_reserve_mb = int64_t{1} << 40;
  config.server.grpc_address = "0.0.0.0:1";
  config.server.tls.certificate = dir.File("absent.pem");
  config.models = {{.name = "m", .path = dir.File("absent.gguf")}};
  findings = CheckConfigured(config);
  CheckRemedies(findings);
  CHECK_THAT(Find(findings, "disk of vector.data_dir").remedy,
             Catch::Contains("vector.disk_reserve_mb"));
  CHECK_THAT(Find(findings, "server.grpc_address").remedy, Catch::Contains("refuses to start"));
  CHECK(Find(findings, "server.tls.certificate").grade == Grade::kProblem);
  CHECK(Find(findings, "model m").grade == Grade::kProblem);

  config.server.access.tokens = dir.Write("tokens", "a s3cret read\n");
  findings = CheckConfigured(config);
  CheckRemedies(findings);
  CHECK(Find(findings, "server.access.tokens").grade == Grade::kProblem);
  CHECK_THAT(Find(findings, "server.access.tokens").found, !Catch::Contains("s3cret"));
}

TEST_CASE("devices that are ill are problems, those that never were are not") {
  v1::DevicesResponse devices;
  v1::Device* absent = devices.add_devices();
  absent->set_device("gpu");
  absent->set_reason("no plug-in");
  v1::Device* well = devices.add_devices();
  well->set_device("cpu0");
  well->set_available(true);
  well->set_state("closed");
  well->set_capacity(1);
  well->set_detail("avx2");
  v1::Device* lost = devices.add_devices();
  lost->set_device("gpu0");
  lost->set_state("stalled");
  lost->set_reason("fell off the bus");
  v1::Device* hot = devices.add_devices();
  *hot = *well;
  hot->set_device("gpu1");
  hot->set_capacity(0.5);
  v1::Device* broken = devices.add_devices();
  *broken = *well;
  broken->set_device("gpu2");
  broken->set_memory_errors(3);
  const std::vector<Finding> findings = CheckDevices(devices);
  CheckRemedies(findings);
  CHECK(Find(findings, "device gpu").grade == Grade::kOk);
  CHECK(Find(findings, "device cpu0").grade == Grade::kOk);
  CHECK(Find(findings, "device gpu0").grade == Grade::kProblem);
  CHECK(Find(findings, "device gpu1").grade == Grade::kWarning);
  CHECK(Find(findings, "device gpu2").grade == Grade::kProblem);
}

}  // namespace
}  // namespace baton::ctl
