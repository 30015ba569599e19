#pragma once

#include <cstddef>
#include <memory>

namespace baton {

// Zeroed memory for many pieces that are kept about as long as one another, side by side, so that
// the small ones and the ends of the large ones lie in huge pages, too, where the system has them.
// Not thread safe.
class HugeArena {
 public:
  // `bytes`: the shares of what will be taken; what is taken beyond has memory of its own.
  explicit HugeArena(size_t bytes = 0) : foretold_(bytes) {}

  // Aligned to 64 bytes; lives as long as the pointer's copies do, the arena or not. Null: of no
  // bytes. Throws std::bad_alloc.
  std::shared_ptr<std::byte[]> Take(size_t bytes);
  // What a piece of so many bytes takes of an arena.
  static size_t Share(size_t bytes);

 private:
  size_t foretold_;  // 0: its chunk has been allocated
  std::shared_ptr<std::byte[]> chunk_;
  size_t used_ = 0;
  size_t left_ = 0;
};

}  // namespace baton
