#pragma once

#include <cstdint>
#include <map>
#include <span>

namespace baton::fpga {

// Which parts of an arena are taken: ranges of whole pages, the lowest that fits first. A value.
class Ranges {
 public:
  static constexpr uint64_t kPage = 4096;
  static constexpr uint64_t kNone = UINT64_MAX;
  static constexpr uint64_t Pages(uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

  explicit Ranges(uint64_t bytes = 0) : bytes_(bytes) {}
  uint64_t bytes() const { return bytes_; }
  uint64_t used() const { return used_; }

  // The lowest free range at `from` or behind it; kNone: there is none.
  uint64_t Find(uint64_t bytes, uint64_t from) const;
  void Take(uint64_t at, uint64_t bytes);
  void Give(uint64_t at);

 private:
  uint64_t bytes_;
  uint64_t used_ = 0;
  std::map<uint64_t, uint64_t> taken_;  // where, and how many bytes
};

// The lowest place that is free in all of them, and takes it in each; kNone: there is none.
uint64_t TakeInAll(std::span<Ranges* const> arenas, uint64_t bytes);

}  // namespace baton::fpga
