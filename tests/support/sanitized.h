#pragma once

namespace baton {

// Whether a sanitizer watches: everything takes some times as long.
#ifdef BATON_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace baton
