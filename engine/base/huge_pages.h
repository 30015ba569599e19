#pragma once

#include <cstddef>

namespace baton {

// Of x86-64, and of arm64 with pages of 4 KiB.
inline constexpr size_t kHugePageBytes = 2 << 20;

}  // namespace baton
