#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace baton::cuda_host {

// Whether `run` returns true in a child process; a child that dies does not. What the child writes
// is lost.
template <typename Run>
bool SucceedsInChild(Run run) {
  const pid_t child = fork();
  if (child == 0) {
    const int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDOUT_FILENO);
    dup2(nowhere, STDERR_FILENO);
    _exit(run() ? 0 : 1);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

}  // namespace baton::cuda_host
