#include "engine/exec/cpu/kernels/kv_convert.h"

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "tests/support/naive_kv.h"

namespace baton {
namespace {

constexpr uint32_t kSeed = 20261122;
constexpr std::array kTypes = {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8};
constexpr auto kUntouched = std::byte{0x5a};

int64_t ElementBytes(KvType type) {
  return type == KvType::kF32 ? 4 : type == KvType::kInt8 ? 1 : 2;
}

// Rows at a misaligned address, as far as their type allows, with a margin that must stay as it is.
struct Rows {
  Rows(KvType of, int64_t rows, int64_t head_dim, int64_t misaligned)
      : type(of),
        at(64 + misaligned * ElementBytes(of)),
        bytes(rows * head_dim * ElementBytes(of)),
        memory(static_cast<size_t>(at + bytes + 64), kUntouched),
        scales(static_cast<size_t>(rows) + 2, 12345.0f) {}
  std::byte* data() { return memory.data() + at; }
  std::byte* scale_data() {
    return type == KvType::kInt8 ? reinterpret_cast<std::byte*>(scales.data() + 1) : nullptr;
  }

  KvType type;
  int64_t at;
  int64_t bytes;
  std::vector<std::byte> memory;
  std::vector<float> scales;
};

KvRowsArgs Args(Rows& from, Rows& to, int64_t rows, int64_t head_dim) {
  return {.source = from.data(),
          .source_scales = from.scale_data(),
          .source_type = from.type,
          .destination = to.data(),
          .destination_scales = to.scale_data(),
          .destination_type = to.type,
          .rows = rows,
          .head_dim = head_dim};
}

// Fills `to` with `values`, by the twin.
void Fill(Rows& to, const std::vector<float>& values, int64_t rows, int64_t head_dim) {
  Rows from(KvType::kF32, rows, head_dim, 0);
  if (!values.empty()) std::memcpy(from.data(), values.data(), values.size() * sizeof(float));
  NaiveConvertRows(Args(from, to, rows, head_dim));
}

// Whether both hold the same, NaN being as good as NaN; a row whose scale is NaN holds nothing.
bool Same(const Rows& a, const Rows& b, int64_t rows, int64_t head_dim) {
  if (a.type == KvType::kInt8) {
    for (size_t r = 0; r < a.scales.size(); ++r) {
      if (a.scales[r] != b.scales[r] && !(std::isnan(a.scales[r]) && std::isnan(b.scales[r]))) {
        return false;
      }
    }
  }
  for (int64_t i = 0; i < a.at; ++i) {
    if (a.memory[i] != b.memory[i]) return false;
  }
  for (size_t i = static_cast<size_t>(a.at + a.bytes); i < a.memory.size(); ++i) {
    if (a.memory[i] != b.memory[i]) return false;
  }
  for (int64_t r = 0; r < rows; ++r) {
    if (a.type == KvType::kInt8 && std::isnan(a.scales[r + 1])) continue;
    const int64_t begin = a.at + r * head_dim * ElementBytes(a.type);
    for (int64_t d = 0; d < head_dim; ++d) {
      const float x = NaiveElement(a.type, a.memory.data() + begin, d, 1);
      const float y = NaiveElement(b.type, b.memory.data() + begin, d, 1);
      if (std::isnan(x) ? !std::isnan(y) : x != y || std::signbit(x) != std::signbit(y)) {
        return false;
      }
    }
  }
  return true;
}

TEST_CASE("KV rows convert as their naive twin, of any type, size and alignment") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const KvRowConverter convert = KvConverterFor(level);
  std::mt19937 random(kSeed);
  for (const KvType from_type : kTypes) {
    for (const KvType to_type : kTypes) {
      for (const int32_t head_dim : {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 80, 100, 128, 256}) {
        for (const int64_t rows : {0, 1, 2, 7, 16, 64}) {
          const float spread = std::array{1e-42f, 1e-30f, 1e-5f, 1.0f, 100.0f, 1e6f}[random() % 6];
          std::normal_distribution<float> normal(0.0f, spread);
          std::vector<float> values(static_cast<size_t>(rows * head_dim));
          for (float& value : values) value = normal(random);
          if (rows > 1) std::fill_n(values.begin(), head_dim, 0.0f);  // a row of nothing
          if (rows > 2) {
            values[static_cast<size_t>(2 * head_dim) + random() % static_cast<size_t>(head_dim)] =
                std::array{INFINITY, -INFINITY, NAN}[random() % 3];
          }
          Rows from(from_type, rows, head_dim, static_cast<int64_t>(random() % 5));
          Fill(from, values, rows, head_dim);
          const auto misaligned = static_cast<int64_t>(random() % 5);
          Rows got(to_type, rows, head_dim, misaligned);
          Rows want(to_type, rows, head_dim, misaligned);
          convert(Args(from, got, rows, head_dim));
          NaiveConvertRows(Args(from, want, rows, head_dim));
          if (!Same(got, want, rows, head_dim)) {
            CAPTURE(kSeed, Name(level), Name(from_type), Name(to_type), head_dim, rows, spread);
            FAIL("differs from the twin");
          }
        }
      }
    }
  }
  SUCCEED();
}

TEST_CASE("every bf16 and every tie between two converts as it should") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  for (uint32_t high = 0; high < 0x10000; high += 8) {
    for (const uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      Rows from(KvType::kF32, 1, 8, 0);
      for (uint32_t i = 0; i < 8; ++i) {
        const uint32_t bits = (high + i) << 16 | low;
        std::memcpy(from.data() + 4 * i, &bits, 4);
      }
      Rows got(KvType::kBF16, 1, 8, 1);
      Rows want(KvType::kBF16, 1, 8, 1);
      KvConverterFor(level)(Args(from, got, 1, 8));
      NaiveConvertRows(Args(from, want, 1, 8));
      if (!Same(got, want, 1, 8)) {
        CAPTURE(Name(level), high, low);
        FAIL("differs from the twin");
      }
    }
  }
  SUCCEED();
}

TEST_CASE("a type that holds another gives back what it was given") {
  const KvRowConverter convert = KvConverterFor(DetectedSimdLevel());
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal;
  std::vector<float> values(16 * 128);
  for (float& value : values) value = normal(random);
  for (const KvType type : {KvType::kF16, KvType::kBF16, KvType::kInt8}) {
    CAPTURE(Name(type));
    Rows small(type, 16, 128, 0);
    Fill(small, values, 16, 128);
    Rows wide(KvType::kF32, 16, 128, 0);
    convert(Args(small, wide, 16, 128));
    Rows back(type, 16, 128, 0);
    convert(Args(wide, back, 16, 128));
    // int8's largest element is 127 again, so its scale comes back but for a rounding.
    if (type == KvType::kInt8) {
      CHECK(back.memory == small.memory);
      for (size_t r = 1; r < 17; ++r)
        CHECK(back.scales[r] == Approx(small.scales[r]).epsilon(1e-6));
    } else {
      CHECK(Same(back, small, 16, 128));
    }
  }
}

}  // namespace
}  // namespace baton
