#include "engine/transfer/staged_path.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kConversionsMax = 1024;  // posted and not over

std::byte* At(const void* block, int64_t offset) {
  return const_cast<std::byte*>(static_cast<const std::byte*>(block)) + offset;
}

}  // namespace

StagedPath::StagedPath(Options options, Legs legs, KvRowConverter convert, const Clock& clock)
    : options_(std::move(options)),
      legs_(std::move(legs)),
      clock_(clock),
      host_(convert, kConversionsMax, clock) {
  BATON_CHECK(legs_.fetch != nullptr || legs_.bring != nullptr);
}

bool StagedPath::Connects(const MemorySpace& source, const MemorySpace& destination) const {
  constexpr MemorySpace kHost = {.kind = MemorySpace::Kind::kHost};
  return (legs_.fetch ? legs_.fetch->Connects(source, kHost) : IsHostMemory(source)) &&
         (legs_.bring ? legs_.bring->Connects(kHost, destination) : IsHostMemory(destination));
}

StagedPath::Part StagedPath::SourcePart(const Job& job) {
  if (!job.conversion)
    return {.block_bytes = job.block_bytes, .offset = 0, .bytes = job.block_bytes};
  const KvConversion& c = *job.conversion;
  const int64_t layer_bytes = c.source.layer_bytes();
  return {.block_bytes = c.source.block_bytes(),
          .offset = c.layer_begin * layer_bytes,
          .bytes = (c.layer_end - c.layer_begin) * layer_bytes};
}

StagedPath::Part StagedPath::DestinationPart(const Job& job) {
  if (!job.conversion) return SourcePart(job);
  const KvConversion& c = *job.conversion;
  const int64_t layer_bytes = c.destination.layer_bytes();
  return {.block_bytes = c.destination.block_bytes(),
          .offset = c.layer_begin * layer_bytes,
          .bytes = (c.layer_end - c.layer_begin) * layer_bytes};
}

absl::StatusOr<CopyPath::Ticket> StagedPath::Post(const Job& job) {
  Copy copy;
  copy.begin_us = clock_.NowUs();
  copy.job = job;
  if (!job.conversion && (legs_.fetch == nullptr || legs_.bring == nullptr)) {
    copy.straight = true;
    copy.stage = legs_.fetch ? Stage::kFetch : Stage::kBring;
    ASSIGN_OR_RETURN(copy.ticket, LegOf(copy.stage).Post(job));
  } else {
    if (job.conversion) {
      RETURN_IF_ERROR(CheckConversion(
          *job.conversion, {.source = job.sources.size(), .destination = job.destinations.size()}));
    } else if (job.sources.size() != job.destinations.size() || job.block_bytes <= 0) {
      return absl::InvalidArgumentError(StrCat("path ", options_.name, ": a copy of ",
                                               job.sources.size(), " blocks of ", job.block_bytes,
                                               " bytes to ", job.destinations.size()));
    }
    if (NextPiece(copy)) {
      RETURN_IF_ERROR(PostStage(copy));
    } else {
      copy.stage = Stage::kOver;
    }
  }
  copies_.emplace(next_ticket_, std::move(copy));
  return next_ticket_++;
}

bool StagedPath::NextPiece(Copy& copy) const {
  const Job& job = copy.job;
  const Part from = SourcePart(job);
  const Part to = DestinationPart(job);
  copy.source_begin = copy.source_end;
  copy.destination_begin = copy.destination_end;
  copy.token_begin = copy.token_end;
  const int64_t piece_bytes = std::max(from.block_bytes, to.block_bytes);
  if (!job.conversion) {
    const auto blocks =
        static_cast<size_t>(std::max<int64_t>(1, options_.piece_bytes_max / piece_bytes));
    copy.source_end = std::min(copy.source_begin + blocks, job.sources.size());
    copy.destination_end = copy.source_end;
  } else {
    // Pieces begin where blocks of both sides do.
    const KvConversion& c = *job.conversion;
    const int64_t step = std::max(c.source.block_tokens, c.destination.block_tokens);
    const int64_t step_bytes = step * std::max(c.source.token_bytes(), c.destination.token_bytes());
    const int64_t tokens = step * std::max<int64_t>(1, options_.piece_bytes_max / step_bytes);
    copy.token_end = std::min(copy.token_begin + tokens, c.tokens);
    const auto blocks = [&](int64_t block_tokens) {
      return static_cast<size_t>((copy.token_end + block_tokens - 1) / block_tokens);
    };
    copy.source_end = blocks(c.source.block_tokens);
    copy.destination_end = blocks(c.destination.block_tokens);
  }
  copy.stage = Skip(copy, Stage::kFetch);
  if (copy.source_end == copy.source_begin) return false;
  const bool fetches = legs_.fetch != nullptr;
  const size_t sources = copy.source_end - copy.source_begin;
  const size_t destinations = copy.destination_end - copy.destination_begin;
  copy.fetched.resize(fetches ? sources * static_cast<size_t>(from.block_bytes) : 0);
  // Positions behind the last one are nobody's, and do not leave as what was here before.
  const bool stages = job.conversion && legs_.bring != nullptr;
  copy.converted.assign(stages ? destinations * static_cast<size_t>(to.block_bytes) : 0,
                        std::byte{0});
  return true;
}

StagedPath::Stage StagedPath::Skip(const Copy& copy, Stage stage) const {
  if (stage == Stage::kFetch && legs_.fetch == nullptr) stage = Stage::kConvert;
  if (stage == Stage::kConvert && !copy.job.conversion) stage = Stage::kBring;
  if (stage == Stage::kBring && legs_.bring == nullptr) stage = Stage::kOver;
  return stage;
}

CopyPath& StagedPath::LegOf(Stage stage) {
  if (stage == Stage::kFetch) return *legs_.fetch;
  if (stage == Stage::kBring) return *legs_.bring;
  return host_;
}

absl::StatusOr<CopyPath::Job> StagedPath::JobOfStage(Copy& copy) {
  const Job& whole = copy.job;
  const Part from = SourcePart(whole);
  const Part to = DestinationPart(whole);
  // Block i of the piece, where it is before and behind the conversion.
  const auto source = [&](size_t i) -> const void* {
    return legs_.fetch ? copy.fetched.data() + static_cast<int64_t>(i) * from.block_bytes
                       : whole.sources[copy.source_begin + i];
  };
  const auto destination = [&](size_t i) -> void* {
    if (legs_.bring == nullptr) return whole.destinations[copy.destination_begin + i];
    return copy.converted.data() + static_cast<int64_t>(i) * to.block_bytes;
  };
  const size_t sources = copy.source_end - copy.source_begin;
  const size_t destinations = copy.destination_end - copy.destination_begin;
  Job job;
  switch (copy.stage) {
    case Stage::kFetch:
      for (size_t i = 0; i < sources; ++i) {
        job.sources.push_back(At(whole.sources[copy.source_begin + i], from.offset));
        job.destinations.push_back(At(source(i), from.offset));
      }
      job.block_bytes = from.bytes;
      break;
    case Stage::kConvert:
      for (size_t i = 0; i < sources; ++i) job.sources.push_back(source(i));
      for (size_t i = 0; i < destinations; ++i) job.destinations.push_back(destination(i));
      job.conversion = whole.conversion;
      job.conversion->tokens = copy.token_end - copy.token_begin;
      break;
    case Stage::kBring:
      for (size_t i = 0; i < destinations; ++i) {
        const void* const staged = whole.conversion ? destination(i) : source(i);
        job.sources.push_back(At(staged, to.offset));
        job.destinations.push_back(At(whole.destinations[copy.destination_begin + i], to.offset));
      }
      job.block_bytes = to.bytes;
      break;
    case Stage::kOver:
      return absl::InternalError("a copy that is over has no job");
  }
  return job;
}

absl::Status StagedPath::PostStage(Copy& copy) {
  ASSIGN_OR_RETURN(const Job job, JobOfStage(copy));
  ASSIGN_OR_RETURN(copy.ticket, LegOf(copy.stage).Post(job));
  return absl::OkStatus();
}

absl::StatusOr<bool> StagedPath::Poll(Ticket ticket) {
  const auto it = copies_.find(ticket);
  if (it == copies_.end()) return absl::NotFoundError(StrCat("copy ", ticket, " is not known"));
  Copy& copy = it->second;
  const auto failed = [&](absl::Status status) {
    copies_.erase(it);
    return status;
  };
  while (copy.stage != Stage::kOver) {
    const absl::StatusOr<bool> done = LegOf(copy.stage).Poll(copy.ticket);
    if (!done.ok()) return failed(done.status());
    if (!*done) return false;
    copy.stage = copy.straight
                     ? Stage::kOver
                     : Skip(copy, static_cast<Stage>(static_cast<uint8_t>(copy.stage) + 1));
    if (copy.straight || (copy.stage == Stage::kOver && !NextPiece(copy))) {
      copy.stage = Stage::kOver;
      break;
    }
    if (absl::Status posted = PostStage(copy); !posted.ok()) return failed(std::move(posted));
  }
  completed_ = ticket;
  completed_us_ = clock_.NowUs() - copy.begin_us;
  copies_.erase(it);
  return true;
}

std::optional<TimeUs> StagedPath::CopyUs(Ticket ticket) const {
  if (ticket != completed_) return std::nullopt;
  return completed_us_;
}

void StagedPath::Cancel(Ticket ticket) {
  const auto it = copies_.find(ticket);
  if (it == copies_.end()) return;
  Copy& copy = it->second;
  if (copy.stage != Stage::kOver) LegOf(copy.stage).Cancel(copy.ticket);
  copies_.erase(it);
}

}  // namespace baton
