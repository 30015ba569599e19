#include "engine/transfer/transfer_manager.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {
constexpr char kSameSpace[] = "same_space";
// Heartbeats come each sixth of a lease: one whose last three are missing is lost, and what it had
// is released well before its lease would end.
constexpr TimeUs PeerSilentUsMax(TimeUs lease_us) { return lease_us / 2; }
std::string_view Label(HandoffEnd end) {
  switch (end) {
    case HandoffEnd::kReleased:
      return "released";
    case HandoffEnd::kCancelled:
      return "cancelled";
    case HandoffEnd::kExpired:
      return "expired";
    case HandoffEnd::kFailed:
      return "failed";
    case HandoffEnd::kStale:
      return "stale";
    case HandoffEnd::kPeerLost:
      break;
  }
  return "peer_lost";
}

}  // namespace

std::string_view Name(HandoffEnd end) {
  switch (end) {
    case HandoffEnd::kReleased:
      return "was released";
    case HandoffEnd::kCancelled:
      return "was cancelled";
    case HandoffEnd::kExpired:
      return "has expired: nobody renewed its lease";
    case HandoffEnd::kFailed:
      return "has failed";
    case HandoffEnd::kStale:
      return "was dropped: its blocks were freed";
    case HandoffEnd::kPeerLost:
      break;
  }
  return "was dropped: its peer is lost";
}

TransferManager::TransferManager(const TransferOptions& options, Metrics& metrics)
    : lease_us_(options.lease_ms * 1000),
      handoffs_max_(static_cast<size_t>(options.handoffs_max)),
      threshold_bytes_(options.transfer_threshold_bytes),
      ahead_bytes_min_(options.ahead_kb_min < 0 ? std::nullopt
                                                : std::optional(options.ahead_kb_min << 10)),
      metrics_(metrics),
      peers_(PeerSilentUsMax(lease_us_)) {}

TransferManager::~TransferManager() {
  while (!handoffs_.empty()) End(handoffs_.begin()->first, HandoffEnd::kCancelled);
}

void TransferManager::RegisterPath(CopyPath* path) {
  BATON_CHECK(table_.Add(path->name()) == paths_.size());
  paths_.push_back({.path = path});
}

void TransferManager::RegisterDirectPath(CopyPath* path) {
  RegisterPath(path);
  paths_.back().direct = true;
}

bool TransferManager::Connects(const MemorySpace& source, const MemorySpace& destination) const {
  return std::any_of(paths_.begin(), paths_.end(),
                     [&](const Path& path) { return path.path->Connects(source, destination); });
}

std::optional<double> TransferManager::PredictUs(const SpacePair& pair, int64_t bytes) const {
  return Predict(pair, bytes, /*ahead=*/true);
}

std::optional<double> TransferManager::PredictIdleUs(const SpacePair& pair, int64_t bytes) const {
  return Predict(pair, bytes, /*ahead=*/false);
}

std::optional<double> TransferManager::Predict(const SpacePair& pair, int64_t bytes,
                                               bool ahead) const {
  std::optional<double> best;
  for (size_t i = 0; i < paths_.size(); ++i) {
    const Path& path = paths_[i];
    if (!path.path->Connects(pair.source, pair.destination)) continue;
    if (path.direct && bytes >= threshold_bytes_) continue;
    const int64_t before = ahead ? path.bytes_in_flight : 0;
    const std::optional<double> us = table_.PredictSureUs(i, pair, bytes + before);
    if (us && (!best || *us < *best)) best = us;
  }
  return best;
}

// ---- Preparing

bool TransferManager::IsCopied(const HandoffRequest& request) {
  if (request.source != request.destination || request.job.conversion) return true;
  return !std::equal(request.job.sources.begin(), request.job.sources.end(),
                     request.job.destinations.begin(), request.job.destinations.end());
}

absl::Status TransferManager::SetLayouts(Handoff& handoff) const {
  HandoffRequest& request = handoff.request;
  if (request.source_layout.has_value() != request.destination_layout.has_value()) {
    return absl::InvalidArgumentError("handoff: only one side names its layout");
  }
  if (!request.source_layout) return absl::OkStatus();
  const KvLayout& from = *request.source_layout;
  const KvLayout& to = *request.destination_layout;
  CopyPath::Job& job = request.job;
  handoff.layers = from.layers;
  const KvConversion conversion = {
      .source = from,
      .destination = to,
      .tokens = request.tokens > 0 ? request.tokens
                                   : std::ssize(job.sources) * int64_t{from.block_tokens},
      .layer_begin = 0,
      .layer_end = from.layers};
  RETURN_IF_ERROR(CheckConversion(
      conversion, {.source = job.sources.size(), .destination = job.destinations.size()}));
  if (from == to) {
    if (job.sources.size() != job.destinations.size()) {
      return absl::InvalidArgumentError(StrCat("handoff: ", job.sources.size(), " blocks to ",
                                               job.destinations.size(), " of the same layout"));
    }
    job.block_bytes = from.block_bytes();
  } else {
    job.conversion = conversion;
  }
  return absl::OkStatus();
}

std::vector<size_t> TransferManager::PathsFor(const Handoff& handoff, int64_t bytes) {
  const HandoffRequest& request = handoff.request;
  std::vector<PathTable::Candidate> direct;
  std::vector<PathTable::Candidate> others;
  for (size_t i = 0; i < paths_.size(); ++i) {
    const Path& path = paths_[i];
    if (!path.path->Connects(request.source, request.destination)) continue;
    if (request.job.conversion ? !path.path->Converts() : path.path->OnlyConverts()) continue;
    (path.direct ? direct : others).push_back({.path = i, .bytes_in_flight = path.bytes_in_flight});
  }
  std::vector<size_t> found;
  const SpacePair pair = {.source = request.source, .destination = request.destination};
  if (bytes < threshold_bytes_ && !direct.empty()) {
    found.push_back(direct[table_.Choose(pair, bytes, direct)].path);
  }
  if (!others.empty()) {
    const size_t chosen = others[table_.Choose(pair, bytes, others)].path;
    found.push_back(chosen);
    for (const auto& other : others) {
      if (other.path != chosen) found.push_back(other.path);
    }
  }
  return found;
}

void TransferManager::Take(Handoff& handoff, size_t path) const {
  const CopyPath& taken = *paths_[path].path;
  handoff.path = path;
  handoff.report.path = taken.name();
  handoff.report.bytes = taken.BytesOf(handoff.request.job);
}

absl::StatusOr<HandoffId> TransferManager::Prepare(HandoffRequest request, TimeUs now_us) {
  if (handoffs_.size() >= handoffs_max_) {
    return absl::ResourceExhaustedError(
        StrCat("transfer.handoffs_max: ", handoffs_max_, " handoffs are open"));
  }
  Handoff handoff;
  if (request.peer) {
    const std::optional<uint64_t> generation = peers_.AliveGeneration(*request.peer, now_us);
    if (!generation) {
      return absl::UnavailableError(StrCat("peer ", request.peer->value(),
                                           " has not been heard of for ",
                                           peers_.silent_us_max() / 1000, " ms"));
    }
    handoff.peer_generation = *generation;
  }
  handoff.request = std::move(request);
  RETURN_IF_ERROR(SetLayouts(handoff));
  const HandoffRequest& wanted = handoff.request;
  handoff.report.path = kSameSpace;
  if (IsCopied(wanted)) {
    BATON_CHECK(wanted.job.conversion ||
                wanted.job.sources.size() == wanted.job.destinations.size());
    const std::vector<size_t> paths = PathsFor(handoff, wanted.job.bytes());
    if (paths.empty()) {
      return absl::UnimplementedError(StrCat("no copy path from ", ToString(wanted.source), " to ",
                                             ToString(wanted.destination),
                                             wanted.job.conversion ? " converts" : ""));
    }
    Take(handoff, paths.front());
  }
  handoff.lease_until_us = now_us + lease_us_;
  const HandoffId id(next_id_++);
  handoffs_.emplace(id, std::move(handoff));
  return id;
}

absl::StatusOr<TransferManager::Handoff*> TransferManager::Find(HandoffId id, TimeUs now_us) {
  const auto it = handoffs_.find(id);
  if (it == handoffs_.end()) {
    const std::optional<HandoffEnd> end = EndOf(id);
    return absl::NotFoundError(
        StrCat("handoff ", id.value(), " ", end ? Name(*end) : "has expired or was released"));
  }
  Handoff& handoff = it->second;
  if (handoff.request.peer && peers_.AliveGeneration(*handoff.request.peer, now_us) !=
                                  std::optional(handoff.peer_generation)) {
    const PeerId peer = *handoff.request.peer;
    End(id, HandoffEnd::kPeerLost);
    return absl::UnavailableError(
        StrCat("handoff ", id.value(), ": peer ", peer.value(), " is silent or was restarted"));
  }
  if (!handoff.request.still_current()) {
    End(id, HandoffEnd::kStale);
    return absl::FailedPreconditionError(
        StrCat("handoff ", id.value(), ": its blocks were freed and may hold other keys"));
  }
  return &handoff;
}

// ---- Copying

CopyPath::Job TransferManager::JobOf(const Handoff& handoff, int32_t layer_begin,
                                     int32_t layer_end) {
  CopyPath::Job job = handoff.request.job;
  if (job.conversion) {
    job.conversion->layer_begin = layer_begin;
    job.conversion->layer_end = layer_end;
  } else if (handoff.layers > 0) {  // a block's layers lie one behind another
    const int64_t layer_bytes = handoff.request.source_layout->layer_bytes();
    for (const void*& source : job.sources) {
      source = static_cast<const std::byte*>(source) + layer_begin * layer_bytes;
    }
    for (void*& destination : job.destinations) {
      destination = static_cast<std::byte*>(destination) + layer_begin * layer_bytes;
    }
    job.block_bytes = (layer_end - layer_begin) * layer_bytes;
    job.offset_bytes = layer_begin * layer_bytes;
  }
  return job;
}

absl::Status TransferManager::PostPart(HandoffId id, Handoff& handoff, int32_t layer_end,
                                       TimeUs now_us) {
  if (handoff.path) {
    const CopyPath::Job job = JobOf(handoff, handoff.layers_posted, layer_end);
    const int64_t bytes = job.bytes();
    const SpacePair pair = {.source = handoff.request.source,
                            .destination = handoff.request.destination};
    absl::StatusOr<CopyPath::Ticket> ticket = paths_[*handoff.path].path->Post(job);
    if (!ticket.ok()) {
      // Nothing is on its way yet: another path may take all of it.
      std::vector<size_t> others;
      if (handoff.state == State::kPrepared) {
        others = PathsFor(handoff, handoff.request.job.bytes());
      }
      const size_t refused = *handoff.path;
      table_.ObserveFailure(refused, pair);
      for (const size_t other : others) {
        if (ticket.ok() || other == refused) continue;
        Take(handoff, other);
        ticket = paths_[other].path->Post(job);
        if (!ticket.ok()) table_.ObserveFailure(other, pair);
      }
    }
    if (!ticket.ok()) {
      End(id, HandoffEnd::kFailed);
      return ticket.status();
    }
    paths_[*handoff.path].bytes_in_flight += bytes;
    if (handoff.parts.empty()) handoff.busy_since_us = now_us;
    handoff.parts.push_back({.ticket = *ticket, .bytes = bytes, .posted_us = now_us});
  }
  handoff.state = State::kPosted;
  handoff.layers_posted = layer_end;
  handoff.all_posted = layer_end == handoff.layers;
  if (handoff.all_posted && !handoff.path) MarkReady(handoff);
  return absl::OkStatus();
}

absl::Status TransferManager::Post(HandoffId id, TimeUs now_us) {
  ASSIGN_OR_RETURN(Handoff * handoff, Find(id, now_us));
  if (handoff->all_posted) {
    return absl::FailedPreconditionError(
        StrCat("handoff ", id.value(), " has been posted already"));
  }
  return PostPart(id, *handoff, handoff->layers, now_us);
}

absl::Status TransferManager::PostLayers(HandoffId id, int32_t layer_end, TimeUs now_us) {
  ASSIGN_OR_RETURN(Handoff * handoff, Find(id, now_us));
  if (handoff->all_posted) {
    return absl::FailedPreconditionError(
        StrCat("handoff ", id.value(), " has been posted already"));
  }
  if (handoff->layers == 0) {
    return absl::InvalidArgumentError(
        StrCat("handoff ", id.value(), " names no layouts, so it has no layers to post"));
  }
  if (layer_end <= handoff->layers_posted || layer_end > handoff->layers) {
    return absl::InvalidArgumentError(
        StrCat("handoff ", id.value(), ": layer_end must be above ", handoff->layers_posted,
               ", which are posted, and at most ", handoff->layers, ", but is ", layer_end));
  }
  return PostPart(id, *handoff, layer_end, now_us);
}

absl::StatusOr<TransferManager::State> TransferManager::Check(HandoffId id, TimeUs now_us) {
  ASSIGN_OR_RETURN(Handoff * handoff, Find(id, now_us));
  if (handoff->state != State::kPosted) return handoff->state;
  if (handoff->path) {
    Path& path = paths_[*handoff->path];
    const SpacePair pair = {.source = handoff->request.source,
                            .destination = handoff->request.destination};
    std::vector<Part>& parts = handoff->parts;
    for (size_t i = 0; i < parts.size();) {
      const Part part = parts[i];
      const absl::StatusOr<bool> done = path.path->Poll(part.ticket);
      if (done.ok() && !*done) {
        ++i;
        continue;
      }
      path.bytes_in_flight -= part.bytes;
      parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i));  // its ticket is gone
      if (!done.ok()) {
        table_.ObserveFailure(*handoff->path, pair);
        End(id, HandoffEnd::kFailed);
        return done.status();
      }
      table_.Observe(*handoff->path, pair, part.bytes,
                     path.path->CopyUs(part.ticket).value_or(now_us - part.posted_us));
      if (parts.empty()) handoff->report.copy_us += now_us - handoff->busy_since_us;
    }
  }
  if (handoff->all_posted && handoff->parts.empty()) MarkReady(*handoff);
  return handoff->state;
}

void TransferManager::MarkReady(Handoff& handoff) {
  const HandoffReport& report = handoff.report;
  handoff.state = State::kReady;
  if (handoff.request.offload) return;
  metrics_.Counter(MetricId::kHandoffBytes, {report.path})
      .Increment(static_cast<double>(report.bytes));
  if (handoff.request.ahead) return;
  metrics_.Counter(MetricId::kHandoffs, {report.path}).Increment();
  metrics_.Histogram(MetricId::kHandoffSeconds, {report.path})
      .Observe(static_cast<double>(report.copy_us) * 1e-6);
}

// ---- Leases and endings

absl::Status TransferManager::Renew(HandoffId id, TimeUs now_us) {
  ASSIGN_OR_RETURN(Handoff * handoff, Find(id, now_us));
  handoff->lease_until_us = now_us + lease_us_;
  return absl::OkStatus();
}

std::optional<HandoffReport> TransferManager::End(HandoffId id, HandoffEnd how) {
  const auto it = handoffs_.find(id);
  if (it == handoffs_.end()) return std::nullopt;
  Handoff& handoff = it->second;
  for (const Part& part : handoff.parts) {
    Path& path = paths_[*handoff.path];
    path.path->Cancel(part.ticket);
    path.bytes_in_flight -= part.bytes;
  }
  std::optional<HandoffReport> report;
  if (handoff.state == State::kReady) report = std::move(handoff.report);
  handoffs_.erase(it);
  metrics_.Counter(MetricId::kHandoffsEnded, {Label(how)}).Increment();
  ends_.emplace(id, how);
  while (ends_.size() > kEndsKept) ends_.erase(ends_.begin());
  return report;
}

std::optional<HandoffReport> TransferManager::Release(HandoffId id) {
  const auto it = handoffs_.find(id);
  if (it == handoffs_.end()) return std::nullopt;
  return End(id,
             it->second.state == State::kReady ? HandoffEnd::kReleased : HandoffEnd::kCancelled);
}

absl::Status TransferManager::Cancel(HandoffId id) {
  if (!handoffs_.contains(id)) {
    const std::optional<HandoffEnd> end = EndOf(id);
    return absl::NotFoundError(
        StrCat("handoff ", id.value(), " ", end ? Name(*end) : "has expired or was released"));
  }
  End(id, HandoffEnd::kCancelled);
  return absl::OkStatus();
}

std::optional<HandoffEnd> TransferManager::EndOf(HandoffId id) const {
  const auto it = ends_.find(id);
  if (it == ends_.end()) return std::nullopt;
  return it->second;
}

std::vector<HandoffId> TransferManager::ExpireLeases(TimeUs now_us) {
  std::vector<std::pair<HandoffId, HandoffEnd>> ending;
  for (const auto& [id, handoff] : handoffs_) {
    if (handoff.lease_until_us <= now_us) {
      ending.emplace_back(id, HandoffEnd::kExpired);
    } else if (handoff.request.peer && peers_.AliveGeneration(*handoff.request.peer, now_us) !=
                                           std::optional(handoff.peer_generation)) {
      ending.emplace_back(id, HandoffEnd::kPeerLost);
    }
  }
  std::vector<HandoffId> ended;
  for (const auto& [id, how] : ending) {
    End(id, how);
    ended.push_back(id);
  }
  return ended;
}

void TransferManager::Heartbeat(PeerId peer, uint64_t generation, TimeUs now_us) {
  if (!peers_.Heard(peer, generation, now_us)) return;
  std::vector<HandoffId> lost;
  for (const auto& [id, handoff] : handoffs_) {
    if (handoff.request.peer == peer && handoff.peer_generation != generation) lost.push_back(id);
  }
  for (const HandoffId id : lost) End(id, HandoffEnd::kPeerLost);
}

}  // namespace baton
