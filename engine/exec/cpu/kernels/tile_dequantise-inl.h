#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/packed_block-inl.h"
#include "engine/exec/cpu/kernels/tiles-inl.h"

#if defined(__AMX_BF16__)

namespace baton::BATON_SIMD_NAMESPACE {

// Weights as tiles of bf16: pairs of columns by rows.

// Sixteen rows' weights of 32 columns: w = scale * q - min, with one of both, or one for each half.
struct TileScales {
  __m512 scale;
  __m512 bias;  // of q with kTileMagic in place: -(256 + offset) * scale, or -256 * scale - min
};

static BATON_INLINE TileScales OffsetScales(__m512 scale, int offset) {
  return {scale, _mm512_mul_ps(scale, _mm512_set1_ps(static_cast<float>(-256 - offset)))};
}

// A byte in the upper bits of the mantissa of 256 makes 256 + q; the product with the scale is
// exact but for the last rounding, for 256 + offset times an f16 is.
template <int kShift>
static BATON_INLINE __m512 ByteAsFloat(__m512i v) {
  __m512i placed;
  if constexpr (kShift > 0) {
    placed = _mm512_slli_epi32(v, kShift);
  } else {
    placed = _mm512_srli_epi32(v, -kShift);
  }
  constexpr int kAndOr = 0xea;  // (a & b) | c
  return reinterpret_cast<__m512>(_mm512_ternarylogic_epi32(placed, _mm512_set1_epi32(0xff << 15),
                                                            _mm512_set1_epi32(0x43800000), kAndOr));
}

// Four columns of sixteen rows, a byte each: two rows of a tile.
static BATON_INLINE void FourColumns(__m512i bytes, const TileScales& s, uint16_t* out) {
  const auto weight = [&s](__m512 q) { return _mm512_fmadd_ps(q, s.scale, s.bias); };
  _mm512_store_si512(out,
                     PairsOfBF16(weight(ByteAsFloat<15>(bytes)), weight(ByteAsFloat<7>(bytes))));
  _mm512_store_si512(out + 32,
                     PairsOfBF16(weight(ByteAsFloat<-1>(bytes)), weight(ByteAsFloat<-9>(bytes))));
}

// Where a panel is dequantised from.
struct TilePanel {
  const std::byte* data;
  int64_t cols;
  int64_t rows;  // that it has
};

// A tile that is dequantised, columns [32 * part, 32 * (part + 1)) of a panel, in eight steps.
template <PackedKind kKind>
struct TileToDequantise {
  TileToDequantise(const TilePanel& panel, int64_t part, Bf16Tile& tile) : out(tile.q[0]) {
    using Form = PackedForm<kKind>;
    constexpr int64_t kBlockParts = PackedBlockColumns(kKind) / 32;
    const std::byte* const p = panel.data + part / kBlockParts * PackedBlockBytes(kKind);
    const int64_t j = part % kBlockParts;
    quants = p + j * 64 * QuantBits(kKind == PackedKind::k6BitK ? PackedKind::k4Bit : kKind);
    pairs = p + 2048 + j / 2 * 256;
    odd = j % 2 != 0;
    const std::byte* const tail =
        p + PackedBlockColumns(kKind) * kPackedRows * QuantBits(kKind) / 8;
    if constexpr (Form::kMinimums) {
      const auto [scale, min] = ScaleAndMinOf<kKind>(tail, j);
      low = {scale, _mm512_fnmsub_ps(scale, _mm512_set1_ps(256), min)};
      high = low;
    } else if constexpr (kKind == PackedKind::k6BitK) {
      const __m512 d = HalfScales(tail);
      const std::byte* const scales = tail + 32 + j * 32;
      low = OffsetScales(_mm512_mul_ps(d, SignedByteScales(scales)), Form::kOffset);
      high = OffsetScales(_mm512_mul_ps(d, SignedByteScales(scales + 16)), Form::kOffset);
    } else {
      low = OffsetScales(HalfScales(tail), Form::kOffset);
      high = low;
    }
  }

  template <int kStep>
  BATON_INLINE void Step() const {
    if constexpr (QuantBits(kKind) == 8) {
      FourColumns(LoadQuants(quants + kStep * 64), low, out + kStep * 64);
    } else {
      constexpr bool kUpper = kStep >= 4;
      const __m512i both = LoadQuants(quants + kStep % 4 * 64);
      __m512i v =
          _mm512_and_si512(kUpper ? _mm512_srli_epi16(both, 4) : both, _mm512_set1_epi8(15));
      if constexpr (kKind == PackedKind::k6BitK) {
        // Bits 0..3 of the even 32 columns' pairs, 4..7 of the odd ones'.
        const __m512i pair = _mm512_srli_epi16(LoadQuants(pairs + kStep % 4 * 64), odd ? 4 : 0);
        v = _mm512_or_si512(
            v, _mm512_and_si512(_mm512_slli_epi16(pair, kUpper ? 2 : 4), _mm512_set1_epi8(0x30)));
      }
      FourColumns(v, kUpper ? high : low, out + kStep * 64);
    }
  }

  const std::byte* quants;
  const std::byte* pairs;  // of 6 bits: the upper two
  bool odd;
  TileScales low;
  TileScales high;
  uint16_t* out;
};

// The same of rows of bf16: pairs of columns are turned from rows into columns, of four rows at a
// time. Rows that the matrix has not are its last one once more; their sums go nowhere.
template <>
struct TileToDequantise<PackedKind::kRowsBF16> {
  TileToDequantise(const TilePanel& panel, int64_t part, Bf16Tile& tile)
      : from(panel.data + part * 64),
        row_bytes(panel.cols * 2),
        last(panel.rows < kPackedRows ? panel.rows - 1 : kPackedRows - 1),
        out(tile.q[0]) {}

  template <int kStep>
  BATON_INLINE void Step() const {
    constexpr int kRow = kStep / 2 * 4;   // of four
    constexpr int kPair = kStep % 2 * 8;  // of eight
    const __m256i a = Pairs<kPair>(kRow);
    const __m256i b = Pairs<kPair>(kRow + 1);
    const __m256i c = Pairs<kPair>(kRow + 2);
    const __m256i d = Pairs<kPair>(kRow + 3);
    const __m256i ab_low = _mm256_unpacklo_epi32(a, b);
    const __m256i ab_high = _mm256_unpackhi_epi32(a, b);
    const __m256i cd_low = _mm256_unpacklo_epi32(c, d);
    const __m256i cd_high = _mm256_unpackhi_epi32(c, d);
    const auto store = [this](int pair, __m256i v) {
      uint16_t* const to = out + (kPair + pair) * 32 + kRow * 2;
      _mm_store_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(v));
      _mm_store_si128(reinterpret_cast<__m128i*>(to + 4 * 32), _mm256_extracti128_si256(v, 1));
    };
    store(0, _mm256_unpacklo_epi64(ab_low, cd_low));
    store(1, _mm256_unpackhi_epi64(ab_low, cd_low));
    store(2, _mm256_unpacklo_epi64(ab_high, cd_high));
    store(3, _mm256_unpackhi_epi64(ab_high, cd_high));
  }
  template <int kPair>
  BATON_INLINE __m256i Pairs(int64_t row) const {
    const std::byte* const p = from + (row < last ? row : last) * row_bytes + kPair * 4;
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }

  const std::byte* from;
  int64_t row_bytes;
  int64_t last;  // row of the panel
  uint16_t* out;
};

// Steps of a tile that is dequantised, kFirst and as many behind it.
template <int kFirst, int kCount, PackedKind kKind>
static BATON_INLINE void DequantiseSteps(const TileToDequantise<kKind>& tile) {
  if constexpr (kCount > 0) {
    tile.template Step<kFirst>();
    DequantiseSteps<kFirst + 1, kCount - 1>(tile);
  }
}

template <PackedKind kKind>
static BATON_INLINE void DequantiseTile(const TileToDequantise<kKind>& tile) {
  DequantiseSteps<0, 8>(tile);
}

// A pair of panels, or of its first alone, and a stretch of columns.
struct PanelTurn {
  int64_t panel;
  int64_t part;
  int64_t parts;
  bool whole;
};

// The tiles of a turn, in the order in which they are dequantised.
template <PackedKind kKind>
struct TurnToDequantise {
  BATON_INLINE TileToDequantise<kKind> Tile(int64_t i) const {
    const int64_t panel = turn.whole ? i % 2 : 0;
    const int64_t part = turn.whole ? i / 2 : i;
    return TileToDequantise<kKind>(panels[panel], turn.part + part, out[2 * part + panel]);
  }
  BATON_INLINE int64_t count() const { return turn.parts * (turn.whole ? 2 : 1); }
  // Calls beside() with each.
  template <class Beside>
  BATON_INLINE void Rest(const Beside& beside) {
    for (; done < count(); ++done) {
      DequantiseTile(Tile(done));
      beside();
    }
  }

  PanelTurn turn;
  TilePanel panels[2];
  Bf16Tile* out;  // [parts][2]
  int64_t done = 0;
};

// What a later pair of panels will be dequantised from is asked for while this one is unpacked and
// multiplied, some lines at a time.
struct TileAhead {
  const std::byte* panels[2];
  int64_t bytes;      // of each,
  int64_t row_bytes;  // so many of them at a time,
  int64_t row_apart;  // which lie so far apart
  int64_t at = 0;
  int64_t of_row = 0;

  BATON_INLINE void Fetch(int64_t count) {
    for (const int64_t end = at + count; at < end && at < bytes; at += 64) {
      __builtin_prefetch(panels[0] + of_row, 0, 2);
      __builtin_prefetch(panels[1] + of_row, 0, 2);
      of_row += 64;
      if (of_row == row_bytes) {
        of_row = 0;
        panels[0] += row_apart;
        panels[1] += row_apart;
      }
    }
  }
};

}  // namespace baton::BATON_SIMD_NAMESPACE

#endif  // __AMX_BF16__
