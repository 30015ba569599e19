#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/exec/fpga/plugin/card.h"
#include "engine/exec/fpga/plugin/kv_banks.h"

namespace baton::fpga {

// The pools of KV blocks on a card. A block counts as written from a copy or a token on, until the
// card is reset: what was lost with it is never taken for keys and values. Thread safe; the card
// outlives it.
class KvPools {
 public:
  explicit KvPools(Card& card) : card_(card) {}
  ~KvPools();
  KvPools(const KvPools&) = delete;
  KvPools& operator=(const KvPools&) = delete;

  Fault Allocate(uint64_t blocks, uint64_t block_bytes, void** memory);
  void Free(void* memory);

  // Bytes of one block; INVALID_ARGUMENT: they are not in here.
  Fault Check(const void* at, uint64_t bytes) const;
  Fault Write(void* at, const void* data, uint64_t bytes);
  // INTERNAL: what was there is lost.
  Fault Read(const void* at, void* data, uint64_t bytes) const;

  // tables [units], each [blocks]. The first `written` of them have keys and values of earlier
  // tokens: INTERNAL where these are lost. All of them count as written from now on.
  Fault Tables(std::span<void* const> blocks, size_t written, uint64_t block_bytes,
               std::span<std::vector<uint32_t>> tables);

 private:
  struct Pool {
    KvBanks banks;
    CardMemory memory;
    std::vector<uint64_t> written;  // [blocks]: in which generation of the card; 0: never
  };
  // Null: it is in none.
  const Pool* Find(const void* address) const;
  Pool* Find(const void* address);
  int32_t BankOf(const KvBanks::Place& place) const;

  Card& card_;
  mutable std::mutex mutex_;
  std::map<const void*, Pool> pools_;  // mutex_; by address
};

}  // namespace baton::fpga
