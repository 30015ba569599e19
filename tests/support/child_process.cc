#include "tests/support/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "engine/base/check.h"

extern char** environ;

namespace baton {
namespace {

constexpr const char* kProxyVariables[] = {"http_proxy", "https_proxy", "grpc_proxy", "no_proxy",
                                           "HTTP_PROXY", "HTTPS_PROXY", "all_proxy",  "ALL_PROXY"};

std::vector<std::string> Merged(const Environment& changes) {
  std::map<std::string, std::string> variables;
  const auto set = [&variables](const std::string& entry) {
    const size_t equals = entry.find('=');
    if (equals == entry.npos) {
      variables.erase(entry);
    } else {
      variables[entry.substr(0, equals)] = entry.substr(equals + 1);
    }
  };
  for (char** entry = environ; *entry != nullptr; ++entry) set(*entry);
  for (const char* name : kProxyVariables) variables.erase(name);
  for (const std::string& entry : changes) set(entry);
  std::vector<std::string> merged;
  for (const auto& [name, value] : variables) merged.push_back(name + "=" + value);
  return merged;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

int OpenToAppend(const std::string& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments,
                           const Environment& environment, const Files& files) {
  std::vector<std::string> argument_strings = arguments;
  std::vector<std::string> variable_strings = Merged(environment);
  const std::vector<char*> argv = Pointers(argument_strings);
  const std::vector<char*> envp = Pointers(variable_strings);
  const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int out = OpenToAppend(files.out);
  const int err = OpenToAppend(files.err);
  BATON_CHECK(in >= 0 && out >= 0 && err >= 0);
  pid_ = fork();
  BATON_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    // Other threads may have held any lock: nothing but system calls here.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execve(argv[0], argv.data(), envp.data());
    constexpr char kMessage[] = "cannot start the program\n";
    if (write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1) < 0) _exit(126);
    _exit(127);
  }
  running_ = true;
  close(in);
  close(out);
  close(err);
}

ChildProcess::~ChildProcess() {
  if (!running_) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool ChildProcess::IsRunning() {
  if (!running_) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return true;
  running_ = false;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return false;
}

void ChildProcess::Signal(int number) {
  if (running_) kill(pid_, number);
}

std::optional<int> ChildProcess::Wait(std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (IsRunning()) {
    if (std::chrono::steady_clock::now() > end) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return exit_code_;
}

}  // namespace baton
