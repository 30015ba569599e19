#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace baton {

// What an element of a KV block is stored as.
//   kF32: as computed. kF16: rounded to nearest; beyond 65,504 it is infinite.
//   kBF16: rounded to nearest, ties to even: f32's range in 8 bits of precision.
//   kInt8: q in [-127, 127] with one f32 scale for each head's vector of a position, value = scale
//   * q; the scale is the vector's largest magnitude / 127.
enum class KvType : uint8_t { kF32, kF16, kBF16, kInt8 };

std::string_view Name(KvType type);  // "f32", "f16", "bf16", "int8"
std::optional<KvType> KvTypeOf(std::string_view name);

}  // namespace baton
