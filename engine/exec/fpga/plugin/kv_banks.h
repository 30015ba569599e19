#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/plugin_fault.h"
#include "fpga_kernels/kv_args.h"

namespace baton::fpga {

using plugin::Fault;
using plugin::Text;

// Where the blocks of a pool lie: block n of it in bank n % units, in slot n / units, so that
// consecutive blocks, and those of any text on the whole, are spread over all banks. How long a
// block is, the first use says. Its addresses are reserved in this process and lead nowhere: only
// numbers come of them. Thread safe.
class KvBanks {
 public:
  // Of any layout the engine makes (engine/kv/kv_layout.cc), but those of blocks of 8 positions.
  static constexpr uint64_t kBlockBytesMax = uint64_t{2} << 20;

  // RESOURCE_EXHAUSTED: no addresses are left.
  static Fault Reserve(uint64_t bytes, uint32_t units, KvBanks* banks);
  KvBanks() = default;
  KvBanks(KvBanks&& other) noexcept { *this = static_cast<KvBanks&&>(other); }
  KvBanks& operator=(KvBanks&& other) noexcept;
  ~KvBanks() { Release(); }

  void* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  uint32_t units() const { return units_; }
  // What each bank must have, a multiple of 4096, and where that begins: slots count from the
  // beginning of the bank.
  uint64_t bank_bytes() const { return bank_bytes_; }
  void SetBankOffset(uint64_t bytes) { bank_offset_ = bytes; }
  uint64_t bank_offset() const { return bank_offset_; }
  bool Holds(const void* address) const;

  struct Place {
    uint32_t bank = 0;
    uint64_t slot = 0;
  };
  // INVALID_ARGUMENT: it is no block of that size in here.
  Fault Find(const void* block, uint64_t block_bytes, Place* place) const;

  // tables [units], each [blocks]: what kv_attention is told of a sequence's blocks.
  Fault Tables(std::span<void* const> blocks, uint64_t block_bytes,
               std::span<std::vector<uint32_t>> tables) const;

 private:
  void Release();
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
  uint32_t units_ = 0;
  uint64_t bank_bytes_ = 0;
  uint64_t bank_offset_ = 0;
};

}  // namespace baton::fpga
