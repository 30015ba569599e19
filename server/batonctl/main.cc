#include <unistd.h>

#include "server/batonctl/run.h"

int main(int argc, char** argv) {
  baton::ctl::Terminal terminal;
  terminal.err_is_tty = isatty(STDERR_FILENO) == 1;
  return baton::ctl::Run(argc, argv, terminal);
}
