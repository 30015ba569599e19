#include "engine/base/memory_limit.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/temp_dir.h"

namespace baton {
namespace {

constexpr char kMeminfo[] = "MemTotal:        8192 kB\nMemFree:           17 kB\n";

void Put(const TempDir& dir, const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(dir.File(path)).parent_path());
  dir.Write(path, text);
}

TEST_CASE("without a cgroup the machine's memory is the limit") {
  const TempDir dir;
  Put(dir, "proc/meminfo", kMeminfo);
  CHECK(MemoryLimitBytes(dir.path()) == 8192 * 1024);
  Put(dir, "proc/self/cgroup", "0::/a/b\nnonsense\n");
  CHECK(MemoryLimitBytes(dir.path()) == 8192 * 1024);
}

TEST_CASE("the tightest of the cgroups around a process counts, in version 2") {
  const TempDir dir;
  Put(dir, "proc/meminfo", kMeminfo);
  Put(dir, "proc/self/cgroup", "0::/a/b\n");
  Put(dir, "sys/fs/cgroup/a/b/memory.max", "max\n");
  CHECK(MemoryLimitBytes(dir.path()) == 8192 * 1024);
  Put(dir, "sys/fs/cgroup/a/memory.max", "4096000\n");
  CHECK(MemoryLimitBytes(dir.path()) == 4096000);
  Put(dir, "sys/fs/cgroup/a/b/memory.max", "1000000\n");
  CHECK(MemoryLimitBytes(dir.path()) == 1000000);
  // As a container sees its own: the root of its namespace.
  Put(dir, "proc/self/cgroup", "0::/\n");
  Put(dir, "sys/fs/cgroup/memory.max", "2000000\n");
  CHECK(MemoryLimitBytes(dir.path()) == 2000000);
}

TEST_CASE("version 1 names the memory controller's cgroup") {
  const TempDir dir;
  Put(dir, "proc/meminfo", kMeminfo);
  Put(dir, "proc/self/cgroup", "4:cpu,cpuacct:/x\n3:hugetlb,memory:/jobs/one\n");
  Put(dir, "sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "3000000\n");
  Put(dir, "sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK(MemoryLimitBytes(dir.path()) == 3000000);
}

TEST_CASE("what is free is the least of the machine and the cgroups around") {
  const TempDir dir;
  Put(dir, "proc/meminfo", std::string(kMeminfo) + "MemAvailable:    4096 kB\n");
  CHECK(MemoryFreeBytes(dir.path()) == 4096 * 1024);
  Put(dir, "proc/self/cgroup", "0::/a/b\n");
  Put(dir, "sys/fs/cgroup/a/memory.max", "3000000\n");
  CHECK(MemoryFreeBytes(dir.path()) == 4096 * 1024);  // its usage is not told
  Put(dir, "sys/fs/cgroup/a/memory.current", "2500000\n");
  CHECK(MemoryFreeBytes(dir.path()) == 500'000);
  Put(dir, "sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 400000\n");
  CHECK(MemoryFreeBytes(dir.path()) == 900'000);
  Put(dir, "sys/fs/cgroup/a/b/memory.max", "max\n");
  Put(dir, "sys/fs/cgroup/a/b/memory.current", "2500000\n");
  CHECK(MemoryFreeBytes(dir.path()) == 900'000);
  Put(dir, "sys/fs/cgroup/a/memory.current", "3500000\n");
  CHECK(MemoryFreeBytes(dir.path()) == 0);
  Put(dir, "proc/self/cgroup", "3:memory:/jobs\n");
  Put(dir, "sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "2000000\n");
  Put(dir, "sys/fs/cgroup/memory/jobs/memory.usage_in_bytes", "1900000\n");
  Put(dir, "sys/fs/cgroup/memory/jobs/memory.stat", "total_inactive_file 1000\n");
  CHECK(MemoryFreeBytes(dir.path()) == 101'000);
}

TEST_CASE("this machine has some memory") {
  CHECK(MemoryLimitBytes() > 1 << 20);
  CHECK(MemoryFreeBytes() > 0);
  CHECK(MemoryFreeBytes() <= MemoryLimitBytes());
}

}  // namespace
}  // namespace baton
