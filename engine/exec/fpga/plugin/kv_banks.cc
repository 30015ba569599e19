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

Fault KvBanks::Reserve(const Shape& shape, KvBanks* banks) {
  constexpr uint64_t kBytesMax = uint64_t{1} << 46;
  if (shape.blocks == 0 || shape.block_bytes == 0 || shape.units == 0 ||
      shape.blocks > kBytesMax / shape.block_bytes) {
    return {BATON_INVALID_ARGUMENT, Text("KV memory of ", shape.blocks, " blocks of ",
                                         shape.block_bytes, " bytes in ", shape.units, " banks")};
  }
  const uint64_t bytes = shape.blocks * shape.block_bytes;
  void* const data =
      mmap(nullptr, PagesOf(bytes), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return {BATON_RESOURCE_EXHAUSTED,
            Text("no addresses for ", bytes, " bytes of KV blocks: ", std::strerror(errno))};
  }
  banks->Release();
  banks->data_ = static_cast<std::byte*>(data);
  banks->shape_ = shape;
  // Its share, and what is left before the first slot.
  banks->bank_bytes_ =
      PagesOf(((shape.blocks + shape.units - 1) / shape.units + 1) * shape.block_bytes);
  return {};
}

KvBanks& KvBanks::operator=(KvBanks&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(shape_, other.shape_);
  std::swap(bank_bytes_, other.bank_bytes_);
  std::swap(bank_offset_, other.bank_offset_);
  return *this;
}

void KvBanks::Release() {
  if (data_ != nullptr) munmap(data_, PagesOf(shape_.blocks * shape_.block_bytes));
  data_ = nullptr;
}

bool KvBanks::Holds(const void* address) const {
  const auto* const at = static_cast<const std::byte*>(address);
  return at >= data_ && at < data_ + shape_.blocks * shape_.block_bytes;
}

Fault KvBanks::Find(const void* address, uint64_t bytes, Place* place) const {
  if (!Holds(address)) return {BATON_INVALID_ARGUMENT, "is not in the FPGA's KV memory"};
  const auto at = static_cast<uint64_t>(static_cast<const std::byte*>(address) - data_);
  const uint64_t index = at / shape_.block_bytes;
  const uint64_t within = at % shape_.block_bytes;
  if (within + bytes > shape_.block_bytes) {
    return {BATON_INVALID_ARGUMENT, Text("has ", bytes, " bytes from byte ", within,
                                         " of a KV block of ", shape_.block_bytes)};
  }
  const uint64_t first = (bank_offset_ + shape_.block_bytes - 1) / shape_.block_bytes;
  const uint64_t slot = first + index / shape_.units;
  *place = {.unit = static_cast<uint32_t>(index % shape_.units),
            .slot = slot,
            .at = slot * shape_.block_bytes + within,
            .index = index};
  return {};
}

Fault KvBanks::Tables(std::span<void* const> blocks, uint64_t block_bytes,
                      std::span<std::vector<uint32_t>> tables) const {
  for (std::vector<uint32_t>& table : tables) table.assign(blocks.size(), kKvElsewhere);
  if (block_bytes != shape_.block_bytes) {
    return {BATON_INVALID_ARGUMENT, Text("KV blocks of ", block_bytes,
                                         " bytes in memory for blocks of ", shape_.block_bytes)};
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    Place place;
    BATON_PLUGIN_TRY(Find(blocks[i], block_bytes, &place));
    if (place.slot >= kKvElsewhere) {
      return {BATON_UNIMPLEMENTED, "KV memory of more than 2^32 blocks to a bank"};
    }
    tables[place.unit][i] = static_cast<uint32_t>(place.slot);
  }
  return {};
}

}  // namespace baton::fpga
