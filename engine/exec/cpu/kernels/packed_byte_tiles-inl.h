#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/packed_block-inl.h"
#include "engine/exec/cpu/kernels/tiles-inl.h"

#if defined(__AMX_BF16__)

namespace baton::BATON_SIMD_NAMESPACE {

// Packed products for some sixteen tokens, in tile registers of bytes: steps of decodes, and of
// decodes with their guesses, which read the weights once for all of them. A product of tiles is up
// to sixteen tokens by sixteen rows by as many columns as share a scale, 32 or 16. Its sums are the
// integers that PackedPanelTile has, and they are scaled and summed in the same order, so that
// results are the same bits.
//
// Whole bytes are multiplied where they lie; others are unpacked to signed bytes, in as few
// instructions as it takes: times 16 where a nibble is in the upper half of its byte, times 4 where
// six bits are in the upper ones. That the scales undo.

// What a kind's bytes are times its quants, as UnpackBytes leaves them.
constexpr float ByteFactor(PackedKind kind) {
  return kind == PackedKind::k4Bit ? 16 : kind == PackedKind::k6BitK ? 4 : 1;
}

// Product tiles that are at work together: as many parts of panels, or halves of them, make a turn.
// A turn's weights are unpacked three turns before it, for tiles are loaded from what has reached
// the cache, not from stores that wait for it; and its products leave their tiles in the turn
// behind it, and are scaled in the next, when those are done.
constexpr int kByteProducts = 4;
constexpr int64_t kUnpackAhead = 3;

// The workspace of one thread: what is unpacked, and what came out of the product tiles, by turns.
struct alignas(64) ByteTileSpace {
  uint8_t quants[kUnpackAhead + 1][kByteProducts][8][64];
  float stage[2][kByteProducts][kTileTokens][kPackedRows];
};
static_assert(sizeof(ByteTileSpace) + 64 <= PackedScratchBytes(0));

// (v & mask) ^ sign, and v & mask | other.
static BATON_INLINE __m512i MaskedSigned(__m512i v, int mask, int sign) {
  constexpr int kAndXor = 0x6a;  // (a & b) ^ c, by 4a + 2b + c
  return _mm512_ternarylogic_epi32(v, _mm512_set1_epi8(static_cast<char>(mask)),
                                   _mm512_set1_epi8(static_cast<char>(sign)), kAndXor);
}
static BATON_INLINE __m512i MaskedOr(__m512i v, int mask, __m512i other) {
  constexpr int kAndOr = 0xea;  // (a & b) | c
  return _mm512_ternarylogic_epi32(v, _mm512_set1_epi8(static_cast<char>(mask)), other, kAndOr);
}

// The bytes of a block's 32 columns j.
template <PackedKind kKind>
static BATON_INLINE void UnpackBytes(const std::byte* p, int64_t j, uint8_t (&out)[8][64]) {
  if constexpr (kKind == PackedKind::k4Bit) {
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const __m512i both = LoadQuants(p + j * 256 + g * 64);
      _mm512_store_si512(out[g], MaskedSigned(_mm512_slli_epi16(both, 4), 0xf0, 0x80));
      _mm512_store_si512(out[g + 4], MaskedSigned(both, 0xf0, 0x80));
    }
  } else if constexpr (QuantBits(kKind) == 4) {
    const __m512i low_mask = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const __m512i both = LoadQuants(p + j * 256 + g * 64);
      _mm512_store_si512(out[g], _mm512_and_si512(both, low_mask));
      _mm512_store_si512(out[g + 4], _mm512_and_si512(_mm512_srli_epi16(both, 4), low_mask));
    }
  } else if constexpr (kKind == PackedKind::k6BitK) {
    const std::byte* const pairs = p + 2048 + j / 2 * 256;
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const __m512i both = LoadQuants(p + j * 256 + g * 64);
      // Bits 0..3 of the even 32 columns' pairs, 4..7 of the odd ones'.
      const __m512i pair = _mm512_srli_epi16(LoadQuants(pairs + g * 64), j % 2 == 0 ? 0 : 4);
      const __m512i low = MaskedSigned(_mm512_slli_epi16(pair, 6), 0xc0, 0x80);
      const __m512i high = MaskedSigned(_mm512_slli_epi16(pair, 4), 0xc0, 0x80);
      _mm512_store_si512(out[g], MaskedOr(_mm512_slli_epi16(both, 2), 0x3c, low));
      _mm512_store_si512(out[g + 4], MaskedOr(_mm512_srli_epi16(both, 2), 0x3c, high));
    }
  }
}

// What multiplies the bytes' products; of six bits, of each half of the columns.
template <PackedKind kKind>
static BATON_INLINE ScaleAndMin ByteScaleAndMin(const std::byte* p, int64_t j, int half) {
  const std::byte* const tail = p + PackedBlockColumns(kKind) * kPackedRows * QuantBits(kKind) / 8;
  if constexpr (PackedForm<kKind>::kMinimums) {
    return ScaleAndMinOf<kKind>(tail, j);
  } else {
    __m512 scale = _mm512_mul_ps(HalfScales(tail), _mm512_set1_ps(1 / ByteFactor(kKind)));
    if constexpr (kKind == PackedKind::k6BitK) {
      scale = _mm512_mul_ps(scale, SignedByteScales(tail + 32 + j * 32 + half * 16));
    }
    return {scale, _mm512_setzero_ps()};
  }
}

// Tiles 0 and 1: tokens; 2 and 3: weights; 4 to 7: products.
static void ConfigureByteTiles(int tokens, int columns) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    const bool of_weights = i == 2 || i == 3;
    config.rows[i] = static_cast<uint8_t>(of_weights ? columns / 4 : tokens);
    config.row_bytes[i] = static_cast<uint16_t>(i < 2 ? columns : 64);
  }
  LoadTileConfig(config);
}

// A panel by up to kTokens tokens.
template <PackedKind kKind, int kTokens>
class BytePanel {
  using Form = PackedForm<kKind>;
  static constexpr int kHalves = Form::kScales;
  static constexpr int kBlockParts = PackedBlockColumns(kKind) / 32;
  static constexpr int kTurnParts = kByteProducts / kHalves;
  static constexpr bool kUnpacks = QuantBits(kKind) != 8;

 public:
  BATON_INLINE BytePanel(const std::byte* panel, const ByteTile* x, int64_t parts,
                         ByteTileSpace& space)
      : data_(panel), x_(x), parts_(parts), space_(space) {
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) sums_[t] = _mm512_setzero_ps();
  }

  BATON_INLINE void Multiply() {
    const int64_t turns = (parts_ + kTurnParts - 1) / kTurnParts;
    for (int64_t turn = 0; turn < kUnpackAhead; ++turn) {
      Unpack<0>(turn);
      Unpack<1>(turn);
      Unpack<2>(turn);
      Unpack<3>(turn);
    }
    for (int64_t turn = 0; turn < turns + 2; ++turn) {
      Take<0>(turn);
      Take<1>(turn);
      Take<2>(turn);
      Take<3>(turn);
    }
  }

  BATON_INLINE void Store(const PackedMatmulArgs& args, int64_t panel, int64_t tokens) const {
    const __mmask16 rows = PackedRowMask(args.w, panel);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      if (t >= tokens) continue;
      float* const out = args.y + t * args.y_stride + panel * kPackedRows;
      const __m512 before = args.add ? _mm512_maskz_loadu_ps(rows, out) : _mm512_setzero_ps();
      _mm512_mask_storeu_ps(out, rows, args.add ? _mm512_add_ps(before, sums_[t]) : sums_[t]);
    }
  }

 private:
  // Of a turn's product: its columns, and which half of them.
  template <int kProduct>
  static BATON_INLINE int64_t PartOf(int64_t turn) {
    return turn * kTurnParts + kProduct / kHalves;
  }
  template <int kProduct>
  static constexpr int kHalfOf = kProduct % kHalves;

  BATON_INLINE const std::byte* Block(int64_t part) const {
    return data_ + part / kBlockParts * PackedBlockBytes(kKind);
  }

  template <int kProduct>
  BATON_INLINE void Unpack(int64_t turn) {
    const int64_t part = PartOf<kProduct>(turn);
    if (kHalfOf<kProduct> != 0 || part >= parts_) return;
    const std::byte* const p = Block(part);
    const int64_t j = part % kBlockParts;
    FetchAhead<PackedBlockBytes(kKind) / kBlockParts>(p, j);
    if constexpr (kUnpacks) {
      UnpackBytes<kKind>(p, j, space_.quants[turn % (kUnpackAhead + 1)][kProduct]);
    }
  }

  // What a turn does with one of the product tiles.
  template <int kProduct>
  BATON_INLINE void Take(int64_t turn) {
    if (turn > 0 && PartOf<kProduct>(turn - 1) < parts_) {
      StoreTile<4 + kProduct>(space_.stage[(turn - 1) % 2][kProduct]);
    }
    if (PartOf<kProduct>(turn) < parts_) Multiply<kProduct>(turn);
    Unpack<kProduct>(turn + kUnpackAhead);
    if (turn > 1 && PartOf<kProduct>(turn - 2) < parts_) Scale<kProduct>(turn - 2);
  }

  template <int kProduct>
  BATON_INLINE void Multiply(int64_t turn) {
    constexpr int kHalf = kHalfOf<kProduct>;
    constexpr int kA = kProduct % 2;
    constexpr int kB = 2 + kProduct % 2;
    const int64_t part = PartOf<kProduct>(turn);
    LoadTile<kA>(x_[part].q[0] + 16 * kHalf, sizeof(x_->q[0]));
    if constexpr (kUnpacks) {
      LoadTile<kB>(space_.quants[turn % (kUnpackAhead + 1)][kProduct - kHalf][4 * kHalf], 64);
    } else {
      LoadTile<kB>(Block(part) + part % kBlockParts * 512, 64);
    }
    ClearTile<4 + kProduct>();
    AddByteProduct<4 + kProduct, kA, kB, kKind == PackedKind::k8Bit>();
  }

  template <int kProduct>
  BATON_INLINE void Scale(int64_t turn) {
    const int64_t part = PartOf<kProduct>(turn);
    const ByteTile& x = x_[part];
    const auto& stage = space_.stage[turn % 2][kProduct];
    const auto [scale, min] =
        ByteScaleAndMin<kKind>(Block(part), part % kBlockParts, kHalfOf<kProduct>);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      __m512i dots = _mm512_load_si512(stage[t]);
      if constexpr (kKind == PackedKind::k8Bit) {
        dots = _mm512_add_epi32(dots, _mm512_set1_epi32(x.offsets[t]));
      }
      const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[t]));
      sums_[t] = _mm512_fmadd_ps(both, ToFloats(dots), sums_[t]);
      if constexpr (Form::kMinimums) {
        sums_[t] = _mm512_fnmadd_ps(min, _mm512_set1_ps(x.scaled_sums[t]), sums_[t]);
      }
    }
  }

  const std::byte* const data_;
  const ByteTile* const x_;  // [parts_]
  const int64_t parts_;
  ByteTileSpace& space_;
  __m512 sums_[kTokens];
};

// The first tokens, up to sixteen: says how many. Two panels at a time would be more sums than
// there are registers.
template <PackedKind kKind>
static int64_t PackedByteTilesOf(const PackedMatmulArgs& args) {
  const auto address = reinterpret_cast<uintptr_t>(args.scratch);
  auto& space = *reinterpret_cast<ByteTileSpace*>((address + 63) / 64 * 64);
  const int64_t tokens = args.m < kTileTokens ? args.m : kTileTokens;
  const int64_t parts = args.w.cols / 32;
  const int64_t panel_bytes = args.w.cols / PackedBlockColumns(kKind) * PackedBlockBytes(kKind);
  const auto take = [&]<int kTokens>() {
    for (int64_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
      BytePanel<kKind, kTokens> of(args.w.data + panel * panel_bytes, args.x.byte_tiles, parts,
                                   space);
      of.Multiply();
      of.Store(args, panel, tokens);
    }
  };
  ConfigureByteTiles(static_cast<int>(tokens), 32 / PackedForm<kKind>::kScales);
  if (tokens == kByteTilesFrom) {
    take.template operator()<kByteTilesFrom>();
  } else {
    take.template operator()<kTileTokens>();
  }
  ReleaseTiles();
  return tokens;
}

// As Quantise32, into a row of a tile.
static BATON_INLINE void QuantiseByteRow(const float* x, int64_t t, ByteTile& out) {
  const __m512 low = _mm512_loadu_ps(x);
  const __m512 high = _mm512_loadu_ps(x + 16);
  const float largest =
      _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
  const __m512 inverse = _mm512_set1_ps(largest > 0 ? 127.0f / largest : 0.0f);
  const __m512i q_low = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse));
  const __m512i q_high = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
  auto* const q = reinterpret_cast<__m128i*>(out.q[t]);
  _mm_store_si128(q, _mm512_cvtsepi32_epi8(q_low));
  _mm_store_si128(q + 1, _mm512_cvtsepi32_epi8(q_high));
  const int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(q_low, q_high));
  out.scales[t] = largest / 127.0f;
  out.scaled_sums[t] = out.scales[t] * static_cast<float>(sum);
  out.offsets[t] = -kPackedOffset8Bit * sum;
}

// The first tokens, up to sixteen; says the first of those behind them.
static int64_t QuantiseByteTiles(const QuantiseArgs& args) {
  int64_t token = args.token_begin;
  for (; token < args.token_end && token < kTileTokens; ++token) {
    for (int64_t i = 0; i < args.cols / kActivationBlock; ++i) {
      QuantiseByteRow(args.x + token * args.cols + i * kActivationBlock, token,
                      args.out.byte_tiles[i]);
    }
  }
  return token;
}

}  // namespace baton::BATON_SIMD_NAMESPACE

#endif  // __AMX_BF16__
