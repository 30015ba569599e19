#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/v1/admin.pb.h"
#include "config/config.h"

// What `batonctl doctor` looks at, apart from the daemon and the terminal.
namespace baton::ctl {

struct Finding {
  enum class Grade { kOk, kWarning, kProblem };
  Grade grade = Grade::kOk;
  std::string what;    // "file descriptors"
  std::string found;   // "1024 at most"
  std::string remedy;  // what to do; empty where all is well
};

// The machine: limits of files, maps and memory, huge pages, swap. `root`: where /proc and /sys are
// found, "" but in tests. `files_max`: what a daemon started here would get (RLIMIT_NOFILE).
std::vector<Finding> CheckMachine(const std::string& root, uint64_t files_max);

// What the configuration names: data directory and its disk, tokens, certificates, models, and who
// may reach the ports.
std::vector<Finding> CheckConfigured(const Config& config);

// What the daemon says of its devices.
std::vector<Finding> CheckDevices(const v1::DevicesResponse& devices);

}  // namespace baton::ctl
