#include "engine/exec/fpga/plugin/kv_banks.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace baton::fpga {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t PagesOf(uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

Fault KvBanks::Reserve(uint64_t bytes, uint32_t units, KvBanks* banks) {
  if (bytes == 0) return {BATON_INVALID_ARGUMENT, "KV memory of 0 bytes"};
  void* const data =
      mmap(nullptr, PagesOf(bytes), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return {BATON_RESOURCE_EXHAUSTED,
            Text("no addresses for ", bytes, " bytes of KV blocks: ", std::strerror(errno))};
  }
  banks->Release();
  banks->data_ = static_cast<std::byte*>(data);
  banks->bytes_ = bytes;
  banks->units_ = units;
  // Its share, the block that is cut in no two, and what is left before the first slot.
  banks->bank_bytes_ = PagesOf(bytes / units + 2 * std::min(bytes, kBlockBytesMax));
  return {};
}

KvBanks& KvBanks::operator=(KvBanks&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(units_, other.units_);
  std::swap(bank_bytes_, other.bank_bytes_);
  std::swap(bank_offset_, other.bank_offset_);
  return *this;
}

void KvBanks::Release() {
  if (data_ != nullptr) munmap(data_, PagesOf(bytes_));
  data_ = nullptr;
}

bool KvBanks::Holds(const void* address) const {
  const auto* const at = static_cast<const std::byte*>(address);
  return at >= data_ && at < data_ + bytes_;
}

Fault KvBanks::Find(const void* block, uint64_t block_bytes, Place* place) const {
  if (!Holds(block) || block_bytes == 0) {
    return {BATON_INVALID_ARGUMENT, "a block that is not in the FPGA's KV memory"};
  }
  const auto at = static_cast<uint64_t>(static_cast<const std::byte*>(block) - data_);
  if (at % block_bytes != 0 || at + block_bytes > bytes_) {
    return {BATON_INVALID_ARGUMENT, Text("a block of ", block_bytes, " bytes at byte ", at, " of ",
                                         bytes_, " of the FPGA's KV memory")};
  }
  const uint64_t index = at / block_bytes;
  const uint64_t first = (bank_offset_ + block_bytes - 1) / block_bytes;
  *place = {.bank = static_cast<uint32_t>(index % units_), .slot = first + index / units_};
  if ((place->slot + 1) * block_bytes > bank_offset_ + bank_bytes_) {
    return {BATON_UNIMPLEMENTED,
            Text("KV blocks of ", block_bytes, " bytes, the FPGA's limit is ", kBlockBytesMax)};
  }
  return {};
}

Fault KvBanks::Tables(std::span<void* const> blocks, uint64_t block_bytes,
                      std::span<std::vector<uint32_t>> tables) const {
  for (std::vector<uint32_t>& table : tables) table.assign(blocks.size(), kKvElsewhere);
  for (size_t i = 0; i < blocks.size(); ++i) {
    Place place;
    BATON_PLUGIN_TRY(Find(blocks[i], block_bytes, &place));
    if (place.slot >= kKvElsewhere) {
      return {BATON_UNIMPLEMENTED, "KV memory of more than 2^32 blocks to a bank"};
    }
    tables[place.bank][i] = static_cast<uint32_t>(place.slot);
  }
  return {};
}

}  // namespace baton::fpga
