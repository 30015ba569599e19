#include "engine/transfer/staged_path.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/transfer/kv_conversion.h"

namespace baton {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Consecutive places of `stride` bytes, `offset` into each.
template <class Pointer>
std::vector<Pointer> Places(std::byte* begin, int64_t count, int64_t stride, int64_t offset) {
  std::vector<Pointer> places;
  for (int64_t i = 0; i < count; ++i) places.push_back(begin + i * stride + offset);
  return places;
}

// Some of `blocks`, `offset` into each.
template <class Pointer, class Byte>
std::vector<Pointer> Blocks(const std::vector<Pointer>& blocks, int64_t first, int64_t count,
                            int64_t offset) {
  std::vector<Pointer> some;
  for (int64_t i = first; i < first + count; ++i) {
    some.push_back(static_cast<Byte*>(blocks[static_cast<size_t>(i)]) + offset);
  }
  return some;
}

}  // namespace

StagedPath::StagedPath(const Ends& ends, CopyPath& converter, SharedPool& pool,
                       const Limits& limits, const Clock& clock)
    : ends_(ends),
      converter_(converter),
      pool_(pool),
      limits_(limits),
      clock_(clock),
      name_(StrCat("staged_", ToString(ends.source), "_to_", ToString(ends.destination))) {}

// Where it makes less of what the source's link carries.
bool StagedPath::PacksOnTheWay(const KvConversion& conversion) const {
  return ends_.in != nullptr && ends_.out != nullptr &&
         conversion.destination_bytes() < conversion.source_bytes() && ends_.in->Packs(conversion);
}

int64_t StagedPath::BytesOf(const Job& job) const {
  return job.conversion && PacksOnTheWay(*job.conversion) ? job.conversion->destination_bytes()
                                                          : job.bytes();
}

absl::StatusOr<StagedPath::Shape> StagedPath::ShapeOf(const Job& job) const {
  Shape shape;
  if (job.conversion) {
    const KvConversion& conversion = *job.conversion;
    RETURN_IF_ERROR(CheckConversion(
        conversion, {.source = job.sources.size(), .destination = job.destinations.size()}));
    const int64_t unit_tokens =
        std::max(conversion.source.block_tokens, conversion.destination.block_tokens);
    shape.units = CeilDiv(conversion.tokens, unit_tokens);
    shape.sources = CeilDiv(conversion.tokens, conversion.source.block_tokens);
    shape.destinations = CeilDiv(conversion.tokens, conversion.destination.block_tokens);
    shape.source_blocks = unit_tokens / conversion.source.block_tokens;
    shape.destination_blocks = unit_tokens / conversion.destination.block_tokens;
    shape.packs = PacksOnTheWay(conversion);
    if (ends_.in != nullptr && !shape.packs) shape.in_bytes = conversion.source.block_bytes();
    if (ends_.out != nullptr) shape.out_bytes = conversion.destination.block_bytes();
  } else {
    if (job.sources.size() != job.destinations.size() || job.block_bytes < 0 || OnlyConverts()) {
      return absl::InvalidArgumentError(StrCat("path ", name_, ": a copy of ", job.sources.size(),
                                               " blocks of ", job.block_bytes, " bytes to ",
                                               job.destinations.size(), " as they are"));
    }
    shape.units = job.block_bytes == 0 ? 0 : std::ssize(job.sources);
    shape.sources = shape.destinations = shape.units;
    shape.in_bytes = job.block_bytes;
  }
  if (shape.unit_bytes() > pool_.buffer_bytes_max()) {
    return absl::ResourceExhaustedError(
        StrCat("transfer.staging_mb: a piece of a copy by ", name_, " needs ", shape.unit_bytes(),
               " bytes, the largest buffer is of ", pool_.buffer_bytes_max()));
  }
  return shape;
}

absl::StatusOr<CopyPath::Ticket> StagedPath::Post(const Job& job) {
  if (copies_.size() >= limits_.copies_max) {
    return absl::ResourceExhaustedError(
        StrCat("path ", name_, ": ", limits_.copies_max, " copies are under way"));
  }
  ASSIGN_OR_RETURN(const Shape shape, ShapeOf(job));
  Copy copy = {.job = job, .shape = shape};
  RETURN_IF_ERROR(Advance(copy).status());
  copies_.emplace(next_ticket_, std::move(copy));
  return next_ticket_++;
}

absl::StatusOr<bool> StagedPath::Poll(Ticket ticket) {
  const auto it = copies_.find(ticket);
  if (it == copies_.end()) return absl::NotFoundError(StrCat("copy ", ticket, " is not known"));
  const absl::StatusOr<bool> done = Advance(it->second);
  if (!done.ok() || *done) copies_.erase(it);
  return done;
}

absl::StatusOr<bool> StagedPath::Advance(Copy& copy) {
  const TimeUs now_us = clock_.NowUs();
  for (auto piece = copy.pieces.begin(); piece != copy.pieces.end();) {
    ASSIGN_OR_RETURN(const bool done, AdvancePiece(copy, *piece, now_us));
    piece = done ? copy.pieces.erase(piece) : std::next(piece);
  }
  while (copy.next_unit < copy.shape.units && copy.pieces.size() < limits_.pieces_max) {
    ASSIGN_OR_RETURN(std::optional<Piece> piece, NextPiece(copy));
    if (!piece) break;
    copy.pieces.push_back(*std::move(piece));
    ASSIGN_OR_RETURN(const bool done, AdvancePiece(copy, copy.pieces.back(), now_us));
    if (done) copy.pieces.pop_back();
  }
  return copy.pieces.empty() && copy.next_unit == copy.shape.units;
}

absl::StatusOr<std::optional<StagedPath::Piece>> StagedPath::NextPiece(Copy& copy) {
  const Shape& shape = copy.shape;
  const int64_t units = std::clamp<int64_t>(limits_.piece_bytes / shape.unit_bytes(), 1,
                                            shape.units - copy.next_unit);
  absl::StatusOr<SharedBuffer> buffer =
      pool_.Allocate(std::min(units * shape.unit_bytes(), pool_.buffer_bytes_max()));
  if (absl::IsResourceExhausted(buffer.status())) return std::nullopt;
  RETURN_IF_ERROR(buffer.status());
  Piece piece = {.first_unit = copy.next_unit,
                 .units = std::min(units, buffer->bytes() / shape.unit_bytes()),
                 .buffer = *std::move(buffer)};
  piece.stage = ends_.in != nullptr ? Stage::kIn : Stage::kConvert;
  copy.next_unit += piece.units;
  return piece;
}

StagedPath::Stage StagedPath::After(const Copy& copy, Stage stage) const {
  if (stage == Stage::kIn && copy.job.conversion && !copy.shape.packs) return Stage::kConvert;
  return stage != Stage::kOut && ends_.out != nullptr ? Stage::kOut : Stage::kDone;
}

absl::StatusOr<bool> StagedPath::AdvancePiece(const Copy& copy, Piece& piece, TimeUs now_us) {
  for (;;) {
    if (!piece.event) {
      const absl::Status posted = PostStage(copy, piece, now_us);
      // There will be room on the way: everything that takes some ends.
      if (absl::IsResourceExhausted(posted)) return false;
      RETURN_IF_ERROR(posted);
    }
    const std::optional<absl::Status> came = piece.event->Poll(now_us);
    if (!came) return false;
    piece.event.reset();
    RETURN_IF_ERROR(*came);
    piece.stage = After(copy, piece.stage);
    if (piece.stage == Stage::kDone) return true;
  }
}

absl::Status StagedPath::PostStage(const Copy& copy, Piece& piece, TimeUs now_us) {
  const Shape& shape = copy.shape;
  const std::optional<KvConversion>& conversion = copy.job.conversion;
  const int64_t first_source = piece.first_unit * shape.source_blocks;
  const int64_t first_destination = piece.first_unit * shape.destination_blocks;
  const int64_t sources = std::min(piece.units * shape.source_blocks, shape.sources - first_source);
  const int64_t destinations =
      std::min(piece.units * shape.destination_blocks, shape.destinations - first_destination);
  const int64_t in_bytes = piece.units * shape.source_blocks * shape.in_bytes;
  std::byte* const in_place = piece.buffer.data();
  // Without a conversion what arrives leaves as it is.
  std::byte* const out_place = conversion ? in_place + in_bytes : in_place;
  const int64_t out_stride = conversion ? shape.out_bytes : shape.in_bytes;
  const auto layers_of = [&](const KvLayout& layout) {
    return std::pair(conversion->layer_begin * layout.layer_bytes(),
                     (conversion->layer_end - conversion->layer_begin) * layout.layer_bytes());
  };

  // The piece's positions.
  const auto part = [&] {
    const int64_t unit_tokens = shape.source_blocks * conversion->source.block_tokens;
    KvConversion of_piece = *conversion;
    of_piece.tokens =
        std::min(piece.units * unit_tokens, conversion->tokens - piece.first_unit * unit_tokens);
    return of_piece;
  };

  Job job;
  CopyPath* path = nullptr;
  switch (piece.stage) {
    case Stage::kIn: {
      path = ends_.in;
      if (shape.packs) {
        job = {.sources =
                   Blocks<const void*, const std::byte>(copy.job.sources, first_source, sources, 0),
               .destinations = Places<void*>(out_place, destinations, out_stride, 0),
               .conversion = part()};
        break;
      }
      const auto [offset, bytes] =
          conversion ? layers_of(conversion->source) : std::pair(int64_t{0}, copy.job.block_bytes);
      job = {.sources = Blocks<const void*, const std::byte>(copy.job.sources, first_source,
                                                             sources, offset),
             .destinations = Places<void*>(in_place, sources, shape.in_bytes, offset),
             .block_bytes = bytes,
             .offset_bytes = conversion ? offset : copy.job.offset_bytes};
      break;
    }
    case Stage::kConvert: {
      path = &converter_;
      if (ends_.in != nullptr) {
        RETURN_IF_ERROR(piece.buffer.Sync(ends_.source, SyncDirection::kFromDevice,
                                          {.begin = 0, .bytes = in_bytes}));
      }
      if (ends_.out != nullptr) {
        std::memset(out_place, 0, static_cast<size_t>(destinations * out_stride));
      }
      job = {.sources = ends_.in != nullptr
                            ? Places<const void*>(in_place, sources, shape.in_bytes, 0)
                            : Blocks<const void*, const std::byte>(copy.job.sources, first_source,
                                                                   sources, 0),
             .destinations = ends_.out != nullptr
                                 ? Places<void*>(out_place, destinations, out_stride, 0)
                                 : Blocks<void*, std::byte>(copy.job.destinations,
                                                            first_destination, destinations, 0),
             .conversion = part()};
      break;
    }
    case Stage::kOut: {
      path = ends_.out;
      if (!conversion || shape.packs) {
        RETURN_IF_ERROR(piece.buffer.Sync(
            ends_.source, SyncDirection::kFromDevice,
            {.begin = 0, .bytes = shape.packs ? destinations * out_stride : in_bytes}));
      }
      RETURN_IF_ERROR(
          piece.buffer.Sync(ends_.destination, SyncDirection::kToDevice,
                            {.begin = out_place - in_place, .bytes = destinations * out_stride}));
      const auto [offset, bytes] = conversion ? layers_of(conversion->destination)
                                              : std::pair(int64_t{0}, copy.job.block_bytes);
      job = {.sources = Places<const void*>(out_place, destinations, out_stride, offset),
             .destinations = Blocks<void*, std::byte>(copy.job.destinations, first_destination,
                                                      destinations, offset),
             .block_bytes = bytes,
             .offset_bytes = conversion ? offset : copy.job.offset_bytes};
      break;
    }
    case Stage::kDone:
      return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(DeviceEvent event, DeviceEvent::Post(*path, job, now_us + limits_.timeout_us));
  piece.event = std::move(event);
  return absl::OkStatus();
}

}  // namespace baton
