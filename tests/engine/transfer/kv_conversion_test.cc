#include "engine/transfer/kv_conversion.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <vector>

#include "tests/support/naive_kv.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr uint32_t kSeed = 20261122;
constexpr auto kUntouched = std::byte{0x5a};

struct Side {
  Side(const KvLayout& of, size_t count)
      : layout(of),
        blocks(count, std::vector<std::byte>(static_cast<size_t>(of.block_bytes()), kUntouched)) {
    for (auto& block : blocks) pointers.push_back(block.data());
  }
  // Where an element lies, said as KvLayout's comment says it.
  const std::byte* Row(int64_t layer, int64_t kv, int64_t head, int64_t token) const {
    const std::byte* block = blocks[static_cast<size_t>(token / layout.block_tokens)].data();
    return block + layer * layout.layer_bytes() + kv * layout.plane_bytes() +
           head * layout.area_bytes() +
           token % layout.block_tokens * layout.head_dim * layout.element_bytes();
  }
  float Scale(int64_t layer, int64_t kv, int64_t head, int64_t token) const {
    if (layout.type != KvType::kInt8) return 1;
    const std::byte* block = blocks[static_cast<size_t>(token / layout.block_tokens)].data();
    float scale;
    std::memcpy(&scale,
                block + layer * layout.layer_bytes() + kv * layout.plane_bytes() +
                    head * layout.area_bytes() + int64_t{layout.block_tokens} * layout.head_dim +
                    token % layout.block_tokens * int64_t{sizeof(float)},
                sizeof(scale));
    return scale;
  }
  float At(int64_t layer, int64_t kv, int64_t head, int64_t token, int64_t d) const {
    return NaiveElement(layout.type, Row(layer, kv, head, token), d, Scale(layer, kv, head, token));
  }
  std::vector<const void*> sources() const { return {pointers.begin(), pointers.end()}; }

  KvLayout layout;
  std::vector<std::vector<std::byte>> blocks;
  std::vector<void*> pointers;
};

// Random keys and values, by way of a block of f32 that has everything.
Side RandomSide(const KvLayout& layout, int64_t tokens, std::mt19937& random) {
  Side side(layout, static_cast<size_t>((tokens + layout.block_tokens - 1) / layout.block_tokens));
  std::normal_distribution<float> normal;
  std::vector<float> row(static_cast<size_t>(layout.head_dim));
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t area = 0; area < layout.layers * 2 * layout.kv_heads; ++area) {
      for (float& value : row) value = normal(random);
      auto* block = side.blocks[static_cast<size_t>(t / layout.block_tokens)].data() +
                    area * layout.area_bytes();
      const int64_t at = t % layout.block_tokens;
      NaiveConvertRows({.source = reinterpret_cast<const std::byte*>(row.data()),
                        .source_scales = nullptr,
                        .source_type = KvType::kF32,
                        .destination = block + at * layout.head_dim * layout.element_bytes(),
                        .destination_scales =
                            layout.type == KvType::kInt8
                                ? block + int64_t{layout.block_tokens} * layout.head_dim + at * 4
                                : nullptr,
                        .destination_type = layout.type,
                        .rows = 1,
                        .head_dim = layout.head_dim});
    }
  }
  return side;
}

TEST_CASE("every position lands where the other layout has it, whatever the block sizes") {
  std::mt19937 random(kSeed);
  for (int round = 0; round < 120; ++round) {
    const auto any_type = [&] { return static_cast<KvType>(random() % 4); };
    const auto any_tokens = [&] { return static_cast<int32_t>(8 << random() % 4); };
    KvLayout from = {.layers = static_cast<int32_t>(1 + random() % 4),
                     .kv_heads = static_cast<int32_t>(1 + random() % 3),
                     .head_dim = static_cast<int32_t>(1 + random() % 20),
                     .block_tokens = any_tokens(),
                     .type = any_type()};
    KvLayout to = from;
    to.block_tokens = any_tokens();
    to.type = any_type();
    const auto tokens = static_cast<int64_t>(random() % 150);
    const auto layer_begin = static_cast<int32_t>(random() % static_cast<uint32_t>(from.layers));
    const auto layer_end = static_cast<int32_t>(
        layer_begin + 1 + static_cast<int32_t>(random() % static_cast<uint32_t>(from.layers)));
    const KvConversion conversion = {.source = from,
                                     .destination = to,
                                     .tokens = tokens,
                                     .layer_begin = layer_begin,
                                     .layer_end = std::min(layer_end, from.layers)};
    CAPTURE(kSeed, round, Name(from.type), Name(to.type), from.block_tokens, to.block_tokens,
            tokens, layer_begin, conversion.layer_end);
    const Side source = RandomSide(from, tokens, random);
    Side destination(to, static_cast<size_t>((tokens + to.block_tokens - 1) / to.block_tokens));
    REQUIRE_OK(CheckConversion(
        conversion, {.source = source.blocks.size(), .destination = destination.blocks.size()}));
    const auto sources = source.sources();
    KvConversionRun run(conversion, sources, destination.pointers, &NaiveConvertRows);
    while (run.Step()) {
    }
    REQUIRE_FALSE(run.Step());
    int64_t wrong = 0;
    for (int64_t layer = 0; layer < from.layers; ++layer) {
      const bool wanted = layer >= conversion.layer_begin && layer < conversion.layer_end;
      for (int64_t kv = 0; kv < 2; ++kv) {
        for (int64_t head = 0; head < from.kv_heads; ++head) {
          for (int64_t t = 0; t < std::ssize(destination.blocks) * to.block_tokens; ++t) {
            if (!wanted || t >= tokens) {  // left as it was
              for (int64_t i = 0; i < to.head_dim * to.element_bytes(); ++i) {
                wrong += destination.Row(layer, kv, head, t)[i] == kUntouched ? 0 : 1;
              }
              continue;
            }
            double largest = 0;
            for (int64_t d = 0; d < from.head_dim; ++d) {
              largest = std::max(largest, std::abs(double{source.At(layer, kv, head, t, d)}));
            }
            const double step = to.type == KvType::kInt8   ? largest * 0.51 / 127
                                : to.type == KvType::kBF16 ? largest / 256
                                : to.type == KvType::kF16  ? largest / 2048 + 1e-7
                                                           : 0;
            for (int64_t d = 0; d < from.head_dim; ++d) {
              const double difference = std::abs(double{source.At(layer, kv, head, t, d)} -
                                                 destination.At(layer, kv, head, t, d));
              wrong += difference <= step ? 0 : 1;
            }
          }
        }
      }
    }
    REQUIRE(wrong == 0);
  }
}

TEST_CASE("what cannot be converted is refused by the field") {
  const KvLayout good = {.layers = 2, .kv_heads = 2, .head_dim = 4, .block_tokens = 8};
  const auto check = [&](auto change, size_t sources, size_t destinations) {
    KvConversion conversion = {
        .source = good, .destination = good, .tokens = 20, .layer_begin = 0, .layer_end = 2};
    change(conversion);
    return CheckConversion(conversion, {.source = sources, .destination = destinations});
  };
  const auto nothing = [](KvConversion&) {};
  REQUIRE_OK(check(nothing, 3, 3));
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  REQUIRE_STATUS(check(nothing, 2, 3), kInvalid, "20 positions need 3 blocks at the source");
  REQUIRE_STATUS(check(nothing, 3, 2), kInvalid, "at the destination, which has 2");
  REQUIRE_STATUS(check([](auto& c) { c.destination.layers = 3; }, 3, 3), kInvalid, "layers");
  REQUIRE_STATUS(check([](auto& c) { c.destination.kv_heads = 3; }, 3, 3), kInvalid, "kv_heads");
  REQUIRE_STATUS(check([](auto& c) { c.source.head_dim = 8; }, 3, 3), kInvalid,
                 "head_dim must be above 0 and alike, but is 8 at the source and 4");
  REQUIRE_STATUS(check([](auto& c) { c.source.head_dim = c.destination.head_dim = 0; }, 3, 3),
                 kInvalid, "head_dim");
  REQUIRE_STATUS(check([](auto& c) { c.source.block_tokens = 0; }, 3, 3), kInvalid,
                 "block_tokens of the source");
  REQUIRE_STATUS(check([](auto& c) { c.layer_end = 3; }, 3, 3), kInvalid, "layers 0 to 3");
  REQUIRE_STATUS(check([](auto& c) { c.layer_begin = -1; }, 3, 3), kInvalid, "layers -1");
  REQUIRE_STATUS(check([](auto& c) { c.tokens = -1; }, 3, 3), kInvalid, "tokens");
}

}  // namespace
}  // namespace baton
