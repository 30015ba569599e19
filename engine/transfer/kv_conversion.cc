#include "engine/transfer/kv_conversion.h"

#include <algorithm>

#include "engine/base/strings.h"

namespace baton {
namespace {

absl::Status CheckSame(const char* field, int32_t source, int32_t destination) {
  if (source == destination && source > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("KV conversion: ", field, " must be above 0 and alike, ",
                                           "but is ", source, " at the source and ", destination,
                                           " at the destination"));
}

absl::Status CheckBlocks(const char* side, const KvLayout& layout, int64_t tokens, size_t blocks) {
  if (layout.block_tokens <= 0) {
    return absl::InvalidArgumentError(StrCat("KV conversion: block_tokens of the ", side,
                                             " must be above 0, but is ", layout.block_tokens));
  }
  const int64_t wanted = (tokens + layout.block_tokens - 1) / layout.block_tokens;
  if (static_cast<int64_t>(blocks) >= wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("KV conversion: ", tokens, " positions need ", wanted,
                                           " blocks at the ", side, ", which has ", blocks));
}

// One side's area of a head's vectors, from a position within its block on.
struct AreaPart {
  int64_t elements;  // offset in bytes
  int64_t scales;    // as well; int8 only
};
AreaPart PartOf(const KvLayout& layout, int64_t area, int64_t position) {
  const int64_t begin = area * layout.area_bytes();
  const int64_t vector_bytes = layout.head_dim * layout.element_bytes();
  return {.elements = begin + position * vector_bytes,
          .scales = begin + layout.block_tokens * vector_bytes + position * layout.scale_bytes()};
}

}  // namespace

absl::Status CheckConversion(const KvConversion& conversion, const KvBlockCounts& blocks) {
  const KvLayout& from = conversion.source;
  const KvLayout& to = conversion.destination;
  for (const absl::Status& status : {
           CheckSame("layers", from.layers, to.layers),
           CheckSame("kv_heads", from.kv_heads, to.kv_heads),
           CheckSame("head_dim", from.head_dim, to.head_dim),
       }) {
    if (!status.ok()) return status;
  }
  if (conversion.layer_begin < 0 || conversion.layer_begin > conversion.layer_end ||
      conversion.layer_end > from.layers) {
    return absl::InvalidArgumentError(StrCat("KV conversion: layers ", conversion.layer_begin,
                                             " to ", conversion.layer_end, " are not within ",
                                             from.layers));
  }
  if (conversion.tokens < 0) {
    return absl::InvalidArgumentError(
        StrCat("KV conversion: tokens must be at least 0, but is ", conversion.tokens));
  }
  const absl::Status status = CheckBlocks("source", from, conversion.tokens, blocks.source);
  if (!status.ok()) return status;
  return CheckBlocks("destination", to, conversion.tokens, blocks.destination);
}

KvConversionRun::KvConversionRun(const KvConversion& conversion,
                                 std::span<const void* const> sources,
                                 std::span<void* const> destinations, KvRowConverter convert)
    : conversion_(conversion),
      sources_(sources),
      destinations_(destinations),
      convert_(convert),
      layer_(conversion.layer_begin) {}

bool KvConversionRun::Step() {
  if (position_ >= conversion_.tokens || conversion_.layer_begin == conversion_.layer_end) {
    return false;
  }
  const KvLayout& from = conversion_.source;
  const KvLayout& to = conversion_.destination;
  const int64_t from_position = position_ % from.block_tokens;
  const int64_t to_position = position_ % to.block_tokens;
  const int64_t rows = std::min({conversion_.tokens - position_, from.block_tokens - from_position,
                                 to.block_tokens - to_position, int64_t{64}});
  const auto* source =
      static_cast<const std::byte*>(sources_[static_cast<size_t>(position_ / from.block_tokens)]);
  auto* destination =
      static_cast<std::byte*>(destinations_[static_cast<size_t>(position_ / to.block_tokens)]);
  const int64_t areas = 2 * from.kv_heads;  // of a layer: all heads' keys, then their values
  for (int64_t area = layer_ * areas; area < (layer_ + 1) * areas; ++area) {
    const AreaPart in = PartOf(from, area, from_position);
    const AreaPart out = PartOf(to, area, to_position);
    convert_({.source = source + in.elements,
              .source_scales = from.type == KvType::kInt8 ? source + in.scales : nullptr,
              .source_type = from.type,
              .destination = destination + out.elements,
              .destination_scales = to.type == KvType::kInt8 ? destination + out.scales : nullptr,
              .destination_type = to.type,
              .rows = rows,
              .head_dim = from.head_dim});
  }
  if (++layer_ == conversion_.layer_end) {
    layer_ = conversion_.layer_begin;
    position_ += rows;
  }
  return true;
}

}  // namespace baton
