#include "engine/transfer/transfer_manager.h"

#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {
constexpr char kSameSpace[] = "same_space";
}  // namespace

TransferManager::TransferManager(const TransferOptions& options, Metrics& metrics)
    : lease_us_(options.lease_ms * 1000),
      handoffs_max_(static_cast<size_t>(options.handoffs_max)),
      metrics_(metrics) {}

TransferManager::~TransferManager() {
  while (!handoffs_.empty()) Release(handoffs_.begin()->first);
}

void TransferManager::RegisterPath(CopyPath* path) { paths_.push_back(path); }

absl::StatusOr<HandoffId> TransferManager::Prepare(HandoffRequest request, TimeUs now_us) {
  if (handoffs_.size() >= handoffs_max_) {
    return absl::ResourceExhaustedError(
        StrCat("transfer.handoffs_max: ", handoffs_max_, " handoffs are open"));
  }
  Handoff handoff;
  handoff.report.path = kSameSpace;
  if (request.source != request.destination) {
    for (CopyPath* path : paths_) {
      if (handoff.path == nullptr && path->Connects(request.source, request.destination)) {
        handoff.path = path;
      }
    }
    if (handoff.path == nullptr) {
      return absl::UnimplementedError(StrCat("no copy path from ", ToString(request.source), " to ",
                                             ToString(request.destination)));
    }
    BATON_CHECK(request.job.sources.size() == request.job.destinations.size());
    handoff.report.path = handoff.path->name();
    handoff.report.bytes =
        request.job.block_bytes * static_cast<int64_t>(request.job.sources.size());
  }
  handoff.request = std::move(request);
  handoff.lease_until_us = now_us + lease_us_;
  const HandoffId id(next_id_++);
  handoffs_.emplace(id, std::move(handoff));
  return id;
}

absl::StatusOr<TransferManager::Handoff*> TransferManager::Find(HandoffId id) {
  const auto it = handoffs_.find(id);
  if (it == handoffs_.end()) {
    return absl::NotFoundError(StrCat("handoff ", id.value(), " has expired or was released"));
  }
  if (!it->second.request.still_current()) {
    Release(id);
    return absl::FailedPreconditionError(
        StrCat("handoff ", id.value(), ": its blocks were freed and may hold other keys"));
  }
  return &it->second;
}

absl::Status TransferManager::Post(HandoffId id, TimeUs now_us) {
  ASSIGN_OR_RETURN(Handoff * handoff, Find(id));
  if (handoff->state != State::kPrepared) {
    return absl::FailedPreconditionError(
        StrCat("handoff ", id.value(), " has been posted already"));
  }
  handoff->posted_us = now_us;
  if (handoff->path == nullptr) {
    MarkReady(*handoff, now_us);
    return absl::OkStatus();
  }
  absl::StatusOr<CopyPath::Ticket> ticket = handoff->path->Post(handoff->request.job);
  if (!ticket.ok()) {
    Release(id);
    return ticket.status();
  }
  handoff->ticket = *ticket;
  handoff->state = State::kPosted;
  return absl::OkStatus();
}

absl::StatusOr<TransferManager::State> TransferManager::Check(HandoffId id, TimeUs now_us) {
  ASSIGN_OR_RETURN(Handoff * handoff, Find(id));
  if (handoff->state == State::kPosted) {
    const absl::StatusOr<bool> done = handoff->path->Poll(handoff->ticket);
    if (!done.ok()) {
      Release(id);
      return done.status();
    }
    if (*done) MarkReady(*handoff, now_us);
  }
  return handoff->state;
}

void TransferManager::MarkReady(Handoff& handoff, TimeUs now_us) {
  HandoffReport& report = handoff.report;
  handoff.state = State::kReady;
  report.copy_us = now_us - handoff.posted_us;
  metrics_.Counter(MetricId::kHandoffs, {report.path}).Increment();
  metrics_.Counter(MetricId::kHandoffBytes, {report.path})
      .Increment(static_cast<double>(report.bytes));
  metrics_.Histogram(MetricId::kHandoffSeconds, {report.path})
      .Observe(static_cast<double>(report.copy_us) * 1e-6);
}

absl::Status TransferManager::Renew(HandoffId id, TimeUs now_us) {
  ASSIGN_OR_RETURN(Handoff * handoff, Find(id));
  handoff->lease_until_us = now_us + lease_us_;
  return absl::OkStatus();
}

std::optional<HandoffReport> TransferManager::Release(HandoffId id) {
  const auto it = handoffs_.find(id);
  if (it == handoffs_.end()) return std::nullopt;
  Handoff& handoff = it->second;
  if (handoff.state == State::kPosted) handoff.path->Cancel(handoff.ticket);
  std::optional<HandoffReport> report;
  if (handoff.state == State::kReady) report = handoff.report;
  handoffs_.erase(it);
  return report;
}

std::vector<HandoffId> TransferManager::ExpireLeases(TimeUs now_us) {
  std::vector<HandoffId> expired;
  for (const auto& [id, handoff] : handoffs_) {
    if (handoff.lease_until_us <= now_us) expired.push_back(id);
  }
  for (const HandoffId id : expired) Release(id);
  return expired;
}

}  // namespace baton
