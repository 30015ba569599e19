#include "server/writer_pool.h"

#include <atomic>
#include <catch2/catch.hpp>

namespace baton {
namespace {

TEST_CASE("what is queued runs before the pool is gone") {
  std::atomic<int> ran{0};
  {
    WriterPool pool(2);
    for (int i = 0; i < 1000; ++i) pool.Post([&ran] { ++ran; });
  }
  CHECK(ran == 1000);
}

}  // namespace
}  // namespace baton
