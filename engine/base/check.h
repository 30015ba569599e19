#pragma once

// The three tiers of errors: CHECK guards an invariant of ours and ends the process; DCHECK does so
// in debug builds only, for hot paths; anything a client, a file or a device can cause is an
// absl::Status. Never CHECK request data.

namespace baton {
[[noreturn]] void CheckFailed(const char* file, int line, const char* expression);
}  // namespace baton

#define BATON_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::baton::CheckFailed(__FILE__, __LINE__, #condition))

#ifdef NDEBUG
#define BATON_DCHECK(condition) static_cast<void>(sizeof(condition))
#else
#define BATON_DCHECK(condition) BATON_CHECK(condition)
#endif
