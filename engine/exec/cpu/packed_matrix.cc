#include "engine/exec/cpu/packed_matrix.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <optional>
#include <vector>

namespace baton {
namespace {

constexpr std::align_val_t kAlignment{64};

std::optional<PackedKind> KindFor(TensorType type) {
  switch (type) {
    case TensorType::kQ8_0:
    case TensorType::kQ5_0:
      return PackedKind::k8Bit;
    case TensorType::kQ4_0:
      return PackedKind::k4Bit;
    case TensorType::kQ4K:
      return PackedKind::k4BitK;
    case TensorType::kQ5K:
      return PackedKind::k8BitK;
    case TensorType::kQ6K:
      return PackedKind::k6BitK;
    default:
      return std::nullopt;
  }
}

// A block of one row, taken apart: what the packed layouts are made of.
struct RowBlock {
  std::array<uint8_t, 256> quants{};  // unsigned, the offset of the packed kind included
  uint16_t scale_f16 = 0;
  uint16_t min_f16 = 0;
  std::array<uint8_t, 16> scales{};  // of sub-blocks; Q6_K's are signed
  std::array<uint8_t, 8> mins{};
};

uint16_t HalfAt(const std::byte* p) {
  uint16_t half;
  std::memcpy(&half, p, sizeof(half));
  return half;
}

uint8_t ByteAt(const std::byte* p) { return std::to_integer<uint8_t>(*p); }

uint8_t Nibble(const std::byte* nibbles, int i) {
  return static_cast<uint8_t>(i < 16 ? ByteAt(nibbles + i) & 15 : ByteAt(nibbles + i - 16) >> 4);
}

// The blocks' layouts are described in engine/model/tensor_type.cc.
RowBlock Unpack(TensorType type, const std::byte* p) {
  RowBlock block;
  switch (type) {
    case TensorType::kQ8_0:
      block.scale_f16 = HalfAt(p);
      for (int i = 0; i < 32; ++i) {
        block.quants[i] = static_cast<uint8_t>(ByteAt(p + 2 + i) ^ 0x80);
      }
      break;
    case TensorType::kQ5_0: {
      block.scale_f16 = HalfAt(p);
      uint32_t fifth;
      std::memcpy(&fifth, p + 2, sizeof(fifth));
      for (int i = 0; i < 32; ++i) {
        block.quants[i] = static_cast<uint8_t>((Nibble(p + 6, i) | (fifth >> i & 1) << 4) +
                                               kPackedOffset8Bit - 16);
      }
      break;
    }
    case TensorType::kQ4_0:
      block.scale_f16 = HalfAt(p);
      for (int i = 0; i < 32; ++i) block.quants[i] = Nibble(p + 2, i);
      break;
    case TensorType::kQ4K:
    case TensorType::kQ5K: {
      block.scale_f16 = HalfAt(p);
      block.min_f16 = HalfAt(p + 2);
      const std::byte* const packed = p + 4;
      const bool five = type == TensorType::kQ5K;
      const std::byte* const fifth = p + 16;
      const std::byte* const nibbles = p + (five ? 48 : 16);
      for (int j = 0; j < 8; ++j) {
        if (j < 4) {
          block.scales[j] = ByteAt(packed + j) & 63;
          block.mins[j] = ByteAt(packed + j + 4) & 63;
        } else {
          const int low = ByteAt(packed + j + 4);
          block.scales[j] = static_cast<uint8_t>((low & 15) | ByteAt(packed + j - 4) >> 6 << 4);
          block.mins[j] = static_cast<uint8_t>(low >> 4 | ByteAt(packed + j) >> 6 << 4);
        }
        for (int i = 0; i < 32; ++i) {
          const int byte = ByteAt(nibbles + j / 2 * 32 + i);
          int q = j % 2 == 0 ? byte & 15 : byte >> 4;
          if (five) q |= (ByteAt(fifth + i) >> j & 1) << 4;
          block.quants[j * 32 + i] = static_cast<uint8_t>(q);
        }
      }
      break;
    }
    default: {  // Q6_K
      block.scale_f16 = HalfAt(p + 208);
      for (int j = 0; j < 16; ++j) block.scales[j] = ByteAt(p + 192 + j);
      for (int i = 0; i < 256; ++i) {
        const int half = i / 128;
        const int at = i % 128;
        const int byte = ByteAt(p + half * 64 + at % 64);
        const int pairs = ByteAt(p + 128 + half * 32 + at % 32);
        block.quants[i] = static_cast<uint8_t>((at < 64 ? byte & 15 : byte >> 4) |
                                               (pairs >> (at / 32 * 2) & 3) << 4);
      }
    }
  }
  return block;
}

// Where column c of row r stands in a plane of whole bytes.
int64_t ByteIndex(int c, int r) { return c / 4 * 64 + r * 4 + c % 4; }

// Writes row r of a panel's block.
void Place(PackedKind kind, const RowBlock& block, int r, std::byte* out) {
  const auto columns = static_cast<int>(PackedBlockColumns(kind));
  // Two columns of a byte are 16 apart: its low nibble is of the first half of 32 columns.
  const auto place_nibbles = [&](std::byte* plane) {
    for (int c = 0; c < columns; ++c) {
      std::byte& byte = plane[c / 32 * 256 + ByteIndex(c % 16, r)];
      byte |= static_cast<std::byte>((block.quants[c] & 15) << (c % 32 < 16 ? 0 : 4));
    }
  };
  const auto place_half = [r](std::byte* plane, uint16_t half) {
    std::memcpy(plane + 2 * r, &half, sizeof(half));
  };
  std::byte* p = out;
  switch (kind) {
    case PackedKind::k8Bit:
    case PackedKind::k8BitK:
      for (int c = 0; c < columns; ++c)
        p[ByteIndex(c, r)] = static_cast<std::byte>(block.quants[c]);
      p += columns * 16;
      break;
    case PackedKind::k4Bit:
    case PackedKind::k4BitK:
      place_nibbles(p);
      p += columns * 8;
      break;
    case PackedKind::k6BitK:
      place_nibbles(p);
      p += columns * 8;
      // The bit pairs of four groups of 4 columns, 16 columns apart, share a byte.
      for (int c = 0; c < columns; ++c) {
        std::byte& byte = p[c / 64 * 256 + ByteIndex(c % 16, r)];
        byte |= static_cast<std::byte>(block.quants[c] >> 4 << (c % 64 / 16 * 2));
      }
      p += columns * 4;
      break;
  }
  place_half(p, block.scale_f16);
  p += 32;
  if (kind == PackedKind::k6BitK) {
    for (int j = 0; j < 16; ++j) p[16 * j + r] = static_cast<std::byte>(block.scales[j]);
  } else if (kind == PackedKind::k4BitK || kind == PackedKind::k8BitK) {
    place_half(p, block.min_f16);
    p += 32;
    for (int j = 0; j < 8; ++j) {
      p[32 * j + r] = static_cast<std::byte>(block.scales[j]);
      p[32 * j + 16 + r] = static_cast<std::byte>(block.mins[j]);
    }
  }
}

}  // namespace

void PackedMatrix::Free::operator()(std::byte* p) const { ::operator delete[](p, kAlignment); }

PackedMatrix::PackedMatrix(const MatrixView& w, ThreadTeam& team) {
  const std::optional<PackedKind> kind = KindFor(w.type);
  if (!kind || w.rows == 0 || w.cols == 0) return;
  const int64_t panels = (w.rows + kPackedRows - 1) / kPackedRows;
  const int64_t columns = PackedBlockColumns(*kind);
  const int64_t blocks = w.cols / columns;
  const int64_t block_bytes = PackedBlockBytes(*kind);
  const int64_t file_block_bytes = RowBytes(w.type, columns);
  const int64_t row_bytes = RowBytes(w.type, w.cols);
  const auto bytes = static_cast<size_t>(panels * blocks * block_bytes);
  data_.reset(new (kAlignment) std::byte[bytes]);
  std::byte* const data = data_.get();
  team.ParallelFor(panels, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t panel = begin; panel < end; ++panel) {
      std::byte* out = data + panel * blocks * block_bytes;
      // Rows behind the last one are of weight 0.
      std::memset(out, 0, static_cast<size_t>(blocks * block_bytes));
      const int64_t rows = std::min(kPackedRows, w.rows - panel * kPackedRows);
      for (int64_t block = 0; block < blocks; ++block, out += block_bytes) {
        for (int64_t r = 0; r < rows; ++r) {
          const std::byte* const from =
              w.data + (panel * kPackedRows + r) * row_bytes + block * file_block_bytes;
          Place(*kind, Unpack(w.type, from), static_cast<int>(r), out);
        }
      }
    }
  });
  weights_ = {.kind = *kind, .data = data, .rows = w.rows, .cols = w.cols};
}

}  // namespace baton
