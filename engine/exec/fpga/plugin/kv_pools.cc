#include "engine/exec/fpga/plugin/kv_pools.h"

#include <utility>

#include "fpga_kernels/card_args.h"

namespace baton::fpga {
namespace {

Fault Lost() {
  return {BATON_INTERNAL, "keys and values on the FPGA were lost when the card was reset"};
}
Fault NotHere() { return {BATON_INVALID_ARGUMENT, "is not in the FPGA's KV memory"}; }

}  // namespace

KvPools::~KvPools() {
  for (const auto& [address, pool] : pools_) card_.Free(pool.memory);
}

Fault KvPools::Allocate(uint64_t blocks, uint64_t block_bytes, void** memory) {
  Pool pool;
  BATON_PLUGIN_TRY(KvBanks::Reserve(
      {.blocks = blocks, .block_bytes = block_bytes, .units = card_.UnitsOf(Kernel::kKvAttention)},
      &pool.banks));
  BATON_PLUGIN_TRY(card_.Allocate("a model's KV blocks",
                                  card_.BanksOf(Kernel::kKvAttention, kKvAttentionKv),
                                  pool.banks.bank_bytes(), &pool.memory));
  pool.banks.SetBankOffset(pool.memory.at);
  pool.written.resize(blocks);
  *memory = pool.banks.data();
  const std::lock_guard lock(mutex_);
  pools_.emplace(*memory, std::move(pool));
  return {};
}

void KvPools::Free(void* memory) {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(memory);
  if (found == pools_.end()) return;
  card_.Free(found->second.memory);
  pools_.erase(found);
}

const KvPools::Pool* KvPools::Find(const void* address) const {
  auto behind = pools_.upper_bound(address);
  if (behind == pools_.begin()) return nullptr;
  --behind;
  return behind->second.banks.Holds(address) ? &behind->second : nullptr;
}

KvPools::Pool* KvPools::Find(const void* address) {
  return const_cast<Pool*>(std::as_const(*this).Find(address));
}

int32_t KvPools::BankOf(const KvBanks::Place& place) const {
  return card_.BankOf(Kernel::kKvAttention, place.unit, kKvAttentionKv);
}

Fault KvPools::Check(const void* at, uint64_t bytes) const {
  const std::lock_guard lock(mutex_);
  const Pool* const pool = Find(at);
  KvBanks::Place place;
  return pool == nullptr ? NotHere() : pool->banks.Find(at, bytes, &place);
}

Fault KvPools::Write(void* at, const void* data, uint64_t bytes) {
  KvBanks::Place place;
  {
    const std::lock_guard lock(mutex_);
    Pool* const pool = Find(at);
    if (pool == nullptr) return NotHere();
    BATON_PLUGIN_TRY(pool->banks.Find(at, bytes, &place));
    // Before: if the card is reset meanwhile, it is of the generation that is gone.
    pool->written[place.index] = card_.generation();
  }
  return card_.Write(BankOf(place), place.at, data, bytes);
}

Fault KvPools::Read(const void* at, void* data, uint64_t bytes) const {
  KvBanks::Place place;
  {
    const std::lock_guard lock(mutex_);
    const Pool* const pool = Find(at);
    if (pool == nullptr) return NotHere();
    BATON_PLUGIN_TRY(pool->banks.Find(at, bytes, &place));
    if (pool->written[place.index] != card_.generation()) return Lost();
  }
  return card_.Read(BankOf(place), place.at, data, bytes);
}

Fault KvPools::Tables(std::span<void* const> blocks, size_t written, uint64_t block_bytes,
                      std::span<std::vector<uint32_t>> tables) {
  const std::lock_guard lock(mutex_);
  Pool* const pool = blocks.empty() ? nullptr : Find(blocks[0]);
  if (pool == nullptr) return {BATON_INVALID_ARGUMENT, "a block is not in the FPGA's KV memory"};
  BATON_PLUGIN_TRY(pool->banks.Tables(blocks, block_bytes, tables));
  for (size_t i = 0; i < blocks.size(); ++i) {
    KvBanks::Place place;
    BATON_PLUGIN_TRY(pool->banks.Find(blocks[i], block_bytes, &place));
    uint64_t& generation = pool->written[place.index];
    if (i < written && generation != card_.generation()) return Lost();
    generation = card_.generation();
  }
  return {};
}

}  // namespace baton::fpga
