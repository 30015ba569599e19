#include "engine/kv/kv_type.h"

namespace baton {

std::string_view Name(KvType type) {
  switch (type) {
    case KvType::kF32:
      return "f32";
    case KvType::kF16:
      return "f16";
    case KvType::kBF16:
      return "bf16";
    case KvType::kInt8:
      break;
  }
  return "int8";
}

std::optional<KvType> KvTypeOf(std::string_view name) {
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8}) {
    if (Name(type) == name) return type;
  }
  return std::nullopt;
}

}  // namespace baton
