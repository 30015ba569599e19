#include "engine/exec/cpu/packed_matrix.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

namespace baton {
namespace {

constexpr uint16_t kHalfSign = 0x8000;

std::optional<PackedKind> KindFor(TensorType type) {
  switch (type) {
    case TensorType::kQ8_0:
    case TensorType::kQ5_0:
      return PackedKind::k8Bit;
    case TensorType::kQ4_0:
      return PackedKind::k4Bit;
    case TensorType::kQ4_1:
      return PackedKind::k4BitMin;
    case TensorType::kQ5_1:
      return PackedKind::k8BitMin;
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

// Where column c of row r stands in a plane of whole bytes.
int64_t ByteIndex(int c, int r) { return c / 4 * 64 + r * 4 + c % 4; }

// Writes row r of a panel's block.
void Place(PackedKind kind, const QuantBlock& block, int r, std::byte* out) {
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
    case PackedKind::k8BitMin:
    case PackedKind::k8BitK: {
      const int shift = kind == PackedKind::k8Bit ? kPackedOffset8Bit - block.offset : 0;
      for (int c = 0; c < columns; ++c) {
        p[ByteIndex(c, r)] = static_cast<std::byte>(block.quants[c] + shift);
      }
      p += columns * 16;
      break;
    }
    case PackedKind::k4Bit:
    case PackedKind::k4BitMin:
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
    case PackedKind::kRowsBF16:
      return;  // not packed
  }
  place_half(p, block.scale_f16);
  p += 32;
  if (kind == PackedKind::k4BitMin || kind == PackedKind::k8BitMin) {
    place_half(p, block.min_f16 ^ kHalfSign);  // these add their minimum
  } else if (kind == PackedKind::k6BitK) {
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

int64_t PackedMatrix::Bytes(const MatrixView& w) {
  const std::optional<PackedKind> kind = KindFor(w.type);
  if (!kind) return 0;
  const int64_t panels = (w.rows + kPackedRows - 1) / kPackedRows;
  return panels * (w.cols / PackedBlockColumns(*kind)) * PackedBlockBytes(*kind);
}

PackedMatrix::PackedMatrix(const MatrixView& w, ThreadTeam& team, HugeArena& arena) {
  const std::optional<PackedKind> kind = KindFor(w.type);
  if (!kind || w.rows == 0 || w.cols == 0) return;
  const int64_t panels = (w.rows + kPackedRows - 1) / kPackedRows;
  const int64_t columns = PackedBlockColumns(*kind);
  const int64_t blocks = w.cols / columns;
  const int64_t block_bytes = PackedBlockBytes(*kind);
  const int64_t file_block_bytes = RowBytes(w.type, columns);
  const int64_t row_bytes = RowBytes(w.type, w.cols);
  // Zeroed: rows behind the last one are of weight 0.
  const auto memory = arena.Take(static_cast<size_t>(Bytes(w)));
  std::byte* const data = memory.get();
  team.ParallelFor(panels, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t panel = begin; panel < end; ++panel) {
      std::byte* out = data + panel * blocks * block_bytes;
      const int64_t rows = std::min(kPackedRows, w.rows - panel * kPackedRows);
      for (int64_t block = 0; block < blocks; ++block, out += block_bytes) {
        for (int64_t r = 0; r < rows; ++r) {
          const std::byte* const from =
              w.data + (panel * kPackedRows + r) * row_bytes + block * file_block_bytes;
          Place(*kind, UnpackBlock(w.type, from), static_cast<int>(r), out);
        }
      }
    }
  });
  data_ = memory;
  weights_ = {.kind = *kind, .data = data, .rows = w.rows, .cols = w.cols};
}

}  // namespace baton
