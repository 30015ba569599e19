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

// Where the blocks of a pool lie: block n of it in bank n % units, in slot n / units of its part of
// the bank, so that consecutive blocks, and those of any text on the whole, are spread over all
// banks. Its addresses are reserved in this process and lead nowhere: only numbers come of them.
// Constant once it is placed.
class KvBanks {
 public:
  // INVALID_ARGUMENT: there are no blocks. RESOURCE_EXHAUSTED: no addresses are left.
  struct Shape {
    uint64_t blocks = 0;
    uint64_t block_bytes = 0;
    uint32_t units = 0;
  };
  static Fault Reserve(const Shape& shape, KvBanks* banks);
  KvBanks() = default;
  KvBanks(KvBanks&& other) noexcept { *this = static_cast<KvBanks&&>(other); }
  KvBanks& operator=(KvBanks&& other) noexcept;
  ~KvBanks() { Release(); }

  void* data() const { return data_; }
  // What each bank must have, and where that begins: slots count from the beginning of the bank.
  uint64_t bank_bytes() const { return bank_bytes_; }
  void SetBankOffset(uint64_t bytes) { bank_offset_ = bytes; }
  uint64_t bank_offset() const { return bank_offset_; }
  uint64_t block_bytes() const { return shape_.block_bytes; }
  bool Holds(const void* address) const;

  struct Place {
    uint32_t unit = 0;   // whose bank it is in
    uint64_t slot = 0;   // of the bank
    uint64_t at = 0;     // in the bank, in bytes
    uint64_t index = 0;  // of the block
  };
  // Of `bytes` within one block. INVALID_ARGUMENT: they are not.
  Fault Find(const void* address, uint64_t bytes, Place* place) const;

  // tables [units], each [blocks]: what kv_attention is told of a sequence's blocks, `block_bytes`
  // each.
  Fault Tables(std::span<void* const> blocks, uint64_t block_bytes,
               std::span<std::vector<uint32_t>> tables) const;

 private:
  void Release();
  std::byte* data_ = nullptr;
  Shape shape_;
  uint64_t bank_bytes_ = 0;
  uint64_t bank_offset_ = 0;
};

}  // namespace baton::fpga
