#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/transfer/copy_path.h"
#include "engine/transfer/device_event.h"
#include "engine/transfer/shared_buffer.h"

namespace baton {

// Copies from one memory space to another through host memory that both devices reach: into it by
// the source's path, converted there where the layouts differ, out of it by the destination's path.
// Large copies go in pieces, so that one piece leaves while the next arrives. So the type that a
// link carries is the one of its own device; or the smaller one of both, where the source's path
// packs: then what arrives leaves as it is.
//
// Where one side is host memory itself its blocks are used as they are, and only what is to be
// converted goes this way. What goes to the last block behind the last position is zero.
//
// Post: RESOURCE_EXHAUSTED where two blocks that belong together are more than the memory, or too
// many copies are under way; INVALID_ARGUMENT where a conversion is none. A copy that finds no
// memory, or no room on the way, waits for the next Poll; a part of it that is under way longer
// than the timeout ends it with DEADLINE_EXCEEDED.
class StagedPath final : public CopyPath {
 public:
  // Where it begins and ends, and how the host's memory is reached from there.
  struct Ends {
    MemorySpace source;
    MemorySpace destination;
    CopyPath* in = nullptr;   // from the source; null: the source is host memory
    CopyPath* out = nullptr;  // to the destination; null: the destination is
  };
  struct Limits {
    int64_t piece_bytes = 4 << 20;  // of staging, where a block is not larger
    size_t pieces_max = 4;          // of a copy, under way at once
    size_t copies_max = 1024;
    TimeUs timeout_us = 10'000'000;
  };

  // `converter` copies and converts between host memory. All of these outlive the path.
  StagedPath(const Ends& ends, CopyPath& converter, SharedPool& pool, const Limits& limits,
             const Clock& clock);

  // "staged_SOURCE_to_DESTINATION".
  const std::string& name() const override { return name_; }
  bool Connects(const MemorySpace& source, const MemorySpace& destination) const override {
    return source == ends_.source && destination == ends_.destination;
  }
  bool Converts() const override { return true; }
  bool OnlyConverts() const override { return ends_.in == nullptr || ends_.out == nullptr; }
  int64_t BytesOf(const Job& job) const override;
  absl::StatusOr<Ticket> Post(const Job& job) override;
  absl::StatusOr<bool> Poll(Ticket ticket) override;
  void Cancel(Ticket ticket) override { copies_.erase(ticket); }

 private:
  enum class Stage : uint8_t { kIn, kConvert, kOut, kDone };
  // Blocks that are staged together: without a conversion one, with one those that hold the same
  // positions.
  struct Shape {
    int64_t units = 0;
    int64_t sources = 0;  // blocks that hold what is copied
    int64_t destinations = 0;
    int64_t source_blocks = 1;       // of a unit
    int64_t destination_blocks = 1;  // of a unit
    int64_t in_bytes = 0;   // of a block's place for what arrives; 0: it is used where it lies
    int64_t out_bytes = 0;  // of one for what leaves, where it is another
    bool packs = false;     // what arrives is converted already

    int64_t unit_bytes() const { return source_blocks * in_bytes + destination_blocks * out_bytes; }
  };
  struct Piece {
    int64_t first_unit = 0;
    int64_t units = 0;
    SharedBuffer buffer;
    Stage stage = Stage::kIn;
    std::optional<DeviceEvent> event = std::nullopt;  // nothing: the stage is yet to be posted
  };
  struct Copy {
    Job job;
    Shape shape;
    int64_t next_unit = 0;
    std::list<Piece> pieces;
  };

  bool PacksOnTheWay(const KvConversion& conversion) const;
  absl::StatusOr<Shape> ShapeOf(const Job& job) const;
  // As far as it can go now. True: all is done.
  absl::StatusOr<bool> Advance(Copy& copy);
  // True: the piece is done.
  absl::StatusOr<bool> AdvancePiece(const Copy& copy, Piece& piece, TimeUs now_us);
  // Nothing where there is no memory for a piece now.
  absl::StatusOr<std::optional<Piece>> NextPiece(Copy& copy);
  Stage After(const Copy& copy, Stage stage) const;
  absl::Status PostStage(const Copy& copy, Piece& piece, TimeUs now_us);

  const Ends ends_;
  CopyPath& converter_;
  SharedPool& pool_;
  const Limits limits_;
  const Clock& clock_;
  const std::string name_;
  std::map<Ticket, Copy> copies_;
  Ticket next_ticket_ = 1;
};

}  // namespace baton
