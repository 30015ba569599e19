#include "engine/base/check.h"

#include <cstdlib>

#include "engine/base/log.h"

namespace baton {

void CheckFailed(const char* file, int line, const char* expression) {
  Log().critical("invariant broken at {}:{}: {}", file, line, expression);
  Log().flush();
  std::abort();
}

}  // namespace baton
