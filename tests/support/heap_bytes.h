#pragma once

#include <malloc.h>

#include <catch2/catch.hpp>
#include <cstdint>

namespace baton {

// What is taken from glibc's heap from now on. Nothing is measured where another heap stands in for
// it, as in sanitizer builds.
class HeapBytes {
 public:
  // Within 2 % and the many small allocations beside the large ones.
  void CheckTaken(int64_t wanted) const {
    const int64_t taken = Now() - before_;
    if (taken == 0) return;
    CHECK(taken > wanted - wanted / 50 - 65'536);
    CHECK(taken < wanted + wanted / 50 + 65'536);
  }

 private:
  static int64_t Now() {
    const struct mallinfo2 info = mallinfo2();
    return static_cast<int64_t>(info.uordblks + info.hblkhd);
  }
  const int64_t before_ = Now();
};

}  // namespace baton
