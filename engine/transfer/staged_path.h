#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/kv/kv_rows.h"
#include "engine/transfer/copy_path.h"
#include "engine/transfer/host_copy_path.h"

namespace baton {

// Copies through this machine's memory, where one path alone does not get there: from a device, or
// to one, with a conversion, or from one device to another. Some blocks at a time are fetched,
// converted and brought on, so that what is in between stays small. What needs no stop on the way
// goes straight through the one leg there is.
//
// Used by one thread, as its legs are; the conversion has a thread of its own.
class StagedPath final : public CopyPath {
 public:
  struct Legs {
    std::unique_ptr<CopyPath> fetch;  // from the source's device; null: the host's memory
    std::unique_ptr<CopyPath> bring;  // to the destination's device; null: the host's memory
  };
  struct Options {
    std::string name;
    int64_t piece_bytes_max = 16 << 20;  // on the way at a time; one block at least
  };
  // One leg at least. `clock` outlives it.
  StagedPath(Options options, Legs legs, KvRowConverter convert, const Clock& clock);

  const std::string& name() const override { return options_.name; }
  bool Connects(const MemorySpace& source, const MemorySpace& destination) const override;
  bool Converts() const override { return true; }
  absl::StatusOr<Ticket> Post(const Job& job) override;
  absl::StatusOr<bool> Poll(Ticket ticket) override;
  std::optional<TimeUs> CopyUs(Ticket ticket) const override;
  void Cancel(Ticket ticket) override;

 private:
  enum class Stage : uint8_t { kFetch, kConvert, kBring, kOver };
  struct Copy {
    Job job;
    bool straight = false;  // one leg, which has taken the whole job
    Stage stage = Stage::kFetch;
    Ticket ticket = 0;  // of the stage
    TimeUs begin_us = 0;
    // The piece that is on its way: its blocks of both sides, and its positions.
    size_t source_begin = 0, source_end = 0;
    size_t destination_begin = 0, destination_end = 0;
    int64_t token_begin = 0, token_end = 0;
    std::vector<std::byte> fetched;    // blocks of the source's layout
    std::vector<std::byte> converted;  // of the destination's
  };
  // A part of equal size of some blocks.
  struct Part {
    int64_t block_bytes = 0;
    int64_t offset = 0;
    int64_t bytes = 0;
  };
  static Part SourcePart(const Job& job);
  static Part DestinationPart(const Job& job);
  // False: there is no piece left.
  bool NextPiece(Copy& copy) const;
  absl::Status PostStage(Copy& copy);
  absl::StatusOr<Job> JobOfStage(Copy& copy);
  CopyPath& LegOf(Stage stage);
  // Past what this copy needs none of.
  Stage Skip(const Copy& copy, Stage stage) const;

  const Options options_;
  const Legs legs_;
  const Clock& clock_;
  HostCopyPath host_;
  std::map<Ticket, Copy> copies_;
  Ticket next_ticket_ = 1;
  Ticket completed_ = 0;  // the last one that Poll said to be complete
  TimeUs completed_us_ = 0;
};

}  // namespace baton
