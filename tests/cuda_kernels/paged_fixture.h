#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "cuda_kernels/paged_kv.h"
#include "engine/kv/kv_layout.h"
#include "tests/cuda_kernels/device_array.h"
#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/support/naive_kv.h"

namespace baton::cuda {

// Blocks of some sequences in a pool, in no order, as the engine lays them out.
class PagedFixture {
 public:
  PagedFixture(const KvLayout& layout, int64_t sequences, int64_t positions)
      : layout_(layout),
        per_sequence_((positions + layout.block_tokens - 1) / layout.block_tokens),
        pool_(static_cast<size_t>((sequences * per_sequence_ + 1) * layout.block_bytes()),
              kUntouched),
        table_(static_cast<size_t>(sequences * per_sequence_)) {
    std::iota(table_.begin(), table_.end(), 1);  // block 0 belongs to nobody
    std::mt19937_64 random(7);
    std::shuffle(table_.begin(), table_.end(), random);
  }

  struct Place {
    int64_t sequence;
    int64_t position;
    int32_t layer;
    int32_t head;
    KvPlane plane;
  };
  void Store(const Place& place, const std::vector<float>& vector) {
    Convert(reinterpret_cast<const std::byte*>(vector.data()), nullptr, KvType::kF32, place);
  }
  // Random keys and values, of each sequence's first lengths[i] positions in a layer.
  void StoreRandom(const std::vector<int32_t>& lengths, int32_t layer, uint64_t seed) {
    for (int64_t sequence = 0; sequence < std::ssize(lengths); ++sequence) {
      for (int64_t position = 0; position < lengths[sequence]; ++position) {
        for (int32_t head = 0; head < layout_.kv_heads; ++head) {
          for (const KvPlane plane : {KvPlane::kKeys, KvPlane::kValues}) {
            Store({sequence, position, layer, head, plane},
                  RandomFloats(static_cast<size_t>(layout_.head_dim), ++seed));
          }
        }
      }
    }
  }
  // The same place's vector of another fixture, converted.
  void Copy(const PagedFixture& other, const Place& place) {
    const Vector at = other.Find(place);
    const auto* const bytes = reinterpret_cast<const std::byte*>(other.pool_.data());
    Convert(bytes + at.elements, bytes + at.scale, other.layout_.type, place);
  }
  std::vector<float> Load(const Place& place) const { return LoadFrom(pool_, place); }
  std::vector<float> LoadFrom(const std::vector<uint8_t>& pool, const Place& place) const {
    const Vector at = Find(place);
    const auto* const bytes = reinterpret_cast<const std::byte*>(pool.data());
    float scale = 1;
    if (layout_.type == KvType::kInt8) std::memcpy(&scale, bytes + at.scale, sizeof(scale));
    std::vector<float> vector(static_cast<size_t>(layout_.head_dim));
    for (int32_t d = 0; d < layout_.head_dim; ++d) {
      vector[d] = NaiveElement(layout_.type, bytes + at.elements, d, scale);
    }
    return vector;
  }
  // How far a stored element may be from `vector`'s, of which it is one.
  double Rounding(const std::vector<float>& vector) const {
    float largest = 0;
    for (const float x : vector) largest = std::fmax(largest, std::fabs(x));
    switch (layout_.type) {
      case KvType::kF32:
        return 1e-5;
      case KvType::kF16:
        return largest * 0x1p-10;
      case KvType::kBF16:
        return largest * 0x1p-7;
      case KvType::kInt8:
        break;
    }
    return largest * 0.51 / 127;
  }
  // Forgets a vector, so that pools can be compared without it.
  void Erase(std::vector<uint8_t>& pool, const Place& place) const {
    const Vector at = Find(place);
    const int64_t bytes = layout_.head_dim * layout_.element_bytes();
    std::memset(pool.data() + at.elements, kUntouched, static_cast<size_t>(bytes));
    if (layout_.type == KvType::kInt8) std::memset(pool.data() + at.scale, kUntouched, 4);
  }

  const KvLayout& layout() const { return layout_; }
  const std::vector<uint8_t>& pool() const { return pool_; }
  const std::vector<int32_t>& table() const { return table_; }
  PagedKv Device(uint8_t* pool, const int32_t* table, int32_t layer) const {
    return {.pool = pool,
            .block_table = table,
            .table_stride = per_sequence_,
            .block_bytes = layout_.block_bytes(),
            .layer_offset = layer * layout_.layer_bytes(),
            .kv_heads = layout_.kv_heads,
            .head_dim = layout_.head_dim,
            .block_tokens = layout_.block_tokens,
            .element = static_cast<KvElement>(layout_.type)};
  }

 private:
  static constexpr uint8_t kUntouched = 0xA5;
  struct Vector {
    int64_t elements;  // bytes from the pool's start
    int64_t scale;     // as well
  };
  void Convert(const std::byte* from, const std::byte* scale, KvType type, const Place& place) {
    const Vector at = Find(place);
    auto* const bytes = reinterpret_cast<std::byte*>(pool_.data());
    NaiveConvertRows({.source = from,
                      .source_scales = scale,
                      .source_type = type,
                      .destination = bytes + at.elements,
                      .destination_scales = bytes + at.scale,
                      .destination_type = layout_.type,
                      .rows = 1,
                      .head_dim = layout_.head_dim});
  }
  Vector Find(const Place& place) const {
    const int64_t block =
        table_[place.sequence * per_sequence_ + place.position / layout_.block_tokens];
    const int64_t slot = place.position % layout_.block_tokens;
    const int64_t vector_bytes = layout_.head_dim * layout_.element_bytes();
    const int64_t area = block * layout_.block_bytes() + place.layer * layout_.layer_bytes() +
                         (place.plane == KvPlane::kValues ? layout_.plane_bytes() : 0) +
                         place.head * layout_.area_bytes();
    return {.elements = area + slot * vector_bytes,
            .scale = area + layout_.block_tokens * vector_bytes + slot * layout_.scale_bytes()};
  }

  KvLayout layout_;
  int64_t per_sequence_;
  std::vector<uint8_t> pool_;
  std::vector<int32_t> table_;
};
static_assert(static_cast<int>(KvElement::kInt8) == static_cast<int>(KvType::kInt8));

}  // namespace baton::cuda
