#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace baton {

// What every child process is given: the environment of the test, less any proxy, then these. An
// entry is NAME=VALUE, or NAME to remove it.
using Environment = std::vector<std::string>;

// A running child. It dies with this object, and with the thread that started it. Used by one
// thread.
class ChildProcess {
 public:
  // Standard output and error go to these files, appended; both may be the same. A program that
  // cannot be started ends with 126 or 127.
  struct Files {
    std::string out;
    std::string err;
  };
  ChildProcess(const std::vector<std::string>& arguments, const Environment& environment,
               const Files& files);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  bool IsRunning();
  void Signal(int number);
  // Its exit code, or 128 + the signal that ended it; nullopt: it still runs after `limit`.
  std::optional<int> Wait(std::chrono::seconds limit);

 private:
  pid_t pid_ = -1;
  bool running_ = false;
  int exit_code_ = -1;
};

}  // namespace baton
