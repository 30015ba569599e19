#include "server/host_watch.h"

#include <dirent.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <string>

#include "engine/base/memory_limit.h"
#include "engine/base/thread_name.h"

namespace baton {
namespace {

// Prometheus scrapes each 15 s by default, at most each second in practice.
constexpr std::chrono::seconds kPeriod{2};

struct ProcessStat {
  double threads = 0;
  double start_ticks = 0;  // since the machine booted
  double resident_pages = 0;
};

// /proc/self/stat, as proc(5) numbers its fields; the second is a name in parentheses.
ProcessStat ReadStat() {
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  std::istringstream rest(text.substr(std::min(text.size(), text.rfind(')') + 2)));
  ProcessStat stat;
  std::string field;
  for (int number = 3; rest >> field && number <= 24; ++number) {
    if (number == 20) stat.threads = std::stod(field);
    if (number == 22) stat.start_ticks = std::stod(field);
    if (number == 24) stat.resident_pages = std::stod(field);
  }
  return stat;
}

double OpenDescriptors() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  double count = -3;  // ".", ".." and the directory itself
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

double SecondsOf(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

double NowSince(clockid_t clock) {
  timespec now = {};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

HostWatch::HostWatch(Metrics& metrics, VectorStore& store) : metrics_(metrics), store_(store) {
  const double since_boot = ReadStat().start_ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  metrics_.Gauge(MetricId::kProcessStartSeconds)
      .Set(NowSince(CLOCK_REALTIME) - NowSince(CLOCK_BOOTTIME) + since_boot);
  rlimit files = {};
  getrlimit(RLIMIT_NOFILE, &files);
  metrics_.Gauge(MetricId::kProcessMaxFds).Set(static_cast<double>(files.rlim_cur));
  thread_ = std::thread([this] { Run(); });
}

HostWatch::~HostWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void HostWatch::Run() {
  NameThread("host-watch");
  std::unique_lock lock(mutex_);
  do {
    lock.unlock();
    Tell();
    lock.lock();
  } while (!changed_.wait_for(lock, kPeriod, [this] { return stopping_; }));
}

void HostWatch::Tell() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  prometheus::Counter& cpu = metrics_.Counter(MetricId::kProcessCpuSeconds);
  const double more = SecondsOf(usage.ru_utime) + SecondsOf(usage.ru_stime) - cpu.Value();
  cpu.Increment(std::max(0.0, more));
  const ProcessStat stat = ReadStat();
  metrics_.Gauge(MetricId::kProcessThreads).Set(stat.threads);
  metrics_.Gauge(MetricId::kProcessResidentBytes)
      .Set(stat.resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE)));
  metrics_.Gauge(MetricId::kProcessOpenFds).Set(OpenDescriptors());
  store_.SetMemoryFree(MemoryFreeBytes());
  store_.TellUsage();
}

}  // namespace baton
