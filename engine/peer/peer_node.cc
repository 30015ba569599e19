#include "engine/peer/peer_node.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/thread_name.h"

namespace baton {
namespace {

constexpr TimeUs kTickUs = 20'000;
constexpr TimeUs kHandshakeUs = 10'000'000;  // then who has not proved the secret is let go
constexpr TimeUs kBackoffMinUs = 100'000;
constexpr TimeUs kBackoffMaxUs = 5'000'000;
constexpr int kChunksInFlight = 4;  // of a link
constexpr size_t kLinksMax = 256;
constexpr uint64_t kChunkTag = 1;

std::string_view Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

}  // namespace

PeerNode::PeerNode(PeerNodeOptions options, std::unique_ptr<PeerTransport> transport,
                   Handler handler, Metrics& metrics, const Clock& clock)
    : options_(std::move(options)),
      transport_(std::move(transport)),
      handler_(std::move(handler)),
      clock_(clock),
      open_(std::make_unique<std::atomic<bool>[]>(options_.peers.size())),
      metrics_{.links_out = &metrics.Gauge(MetricId::kPeerLinks, {"out"}),
               .links_in = &metrics.Gauge(MetricId::kPeerLinks, {"in"}),
               .leases = &metrics.Gauge(MetricId::kPeerLeases),
               .sent_bytes = &metrics.Counter(MetricId::kPeerSentBytes)} {
  for (const Address& address : options_.peers) peers_.push_back({.address = address});
  const absl::StatusOr<uint64_t> generation = DrawGeneration();
  BATON_CHECK(generation.ok());
  generation_ = *generation;
  thread_ = std::jthread([this] { Run(); });
}

PeerNode::~PeerNode() {
  stopping_ = true;
  transport_->Wake();
  thread_.join();
}

bool PeerNode::IsOpen(int peer) const { return open_[static_cast<size_t>(peer)]; }

void PeerNode::Do(absl::AnyInvocable<void()> task) {
  tasks_.Push(std::move(task));
  transport_->Wake();
}

PeerCallId PeerNode::Prefill(int peer, PeerPrefill message, Answered answered) {
  const uint64_t call = next_id_++;
  message.call = call;
  Do([this, peer, call, message = std::move(message), answered = std::move(answered)]() mutable {
    const std::optional<LinkId> link = peers_[static_cast<size_t>(peer)].link;
    if (!link || !open_[static_cast<size_t>(peer)]) {
      return answered(absl::UnavailableError("there is no link to it"));
    }
    calls_.emplace(call,
                   Call{.link = *link,
                        .peer = peer,
                        .deadline_us = clock_.NowUs() + static_cast<TimeUs>(message.timeout_us),
                        .answered = std::move(answered)});
    Send(*link, std::move(message));
    HoldsAt("asked");
  });
  return PeerCallId(call);
}

void PeerNode::Cancel(PeerCallId call) {
  Do([this, call] {
    const auto it = calls_.find(call.value());
    if (it == calls_.end()) return;
    const LinkId link = it->second.link;
    calls_.erase(it);
    Send(link, PeerCancel{.call = call.value()});
  });
}

std::pair<PeerPullId, std::shared_ptr<PeerPull>> PeerNode::Pull(int peer, uint64_t lease,
                                                                int32_t first,
                                                                std::vector<void*> destinations,
                                                                int64_t block_bytes) {
  const uint64_t id = next_id_++;
  const auto blocks = static_cast<uint32_t>(destinations.size());
  auto pull = std::make_shared<PeerPull>(std::move(destinations), block_bytes, clock_.NowUs());
  Do([this, peer, lease, first, blocks, id, pull] {
    const std::optional<LinkId> link = peers_[static_cast<size_t>(peer)].link;
    if (!link || !open_[static_cast<size_t>(peer)]) {
      return pull->Fail(absl::UnavailableError("there is no link to the peer"), clock_.NowUs());
    }
    pulls_.emplace(id, Pulling{.link = *link, .pull = pull});
    Send(*link,
         PeerPullBlocks{
             .pull = id, .lease = lease, .first = static_cast<uint32_t>(first), .blocks = blocks});
    HoldsAt("pulling");
  });
  return {PeerPullId(id), std::move(pull)};
}

void PeerNode::Forget(PeerPullId pull) {
  Do([this, pull] { pulls_.erase(pull.value()); });
}

void PeerNode::Release(int peer, uint64_t lease) {
  Do([this, peer, lease] {
    if (HoldsAt("done")) return;
    const std::optional<LinkId> link = peers_[static_cast<size_t>(peer)].link;
    if (link) Send(*link, PeerRelease{.lease = lease});
  });
}

void PeerNode::Answer(PeerServeId serve, absl::StatusOr<PeerKv> kv) {
  auto shared = std::make_shared<absl::StatusOr<PeerKv>>(std::move(kv));
  Do([this, serve, shared] {
    const auto it = servings_.find(serve);
    if (it == servings_.end()) return;  // cancelled, or its link has ended
    const Serving serving = it->second;
    servings_.erase(it);
    Link& link = links_.at(serving.link);
    link.serving.erase(serving.call);
    absl::StatusOr<PeerKv>& answer = *shared;
    if (!answer.ok()) {
      return Send(
          serving.link,
          PeerFailure{.of = PeerFailure::Of::kCall, .id = serving.call, .status = answer.status()});
    }
    const uint64_t lease = next_lease_++;
    const TimeUs now_us = clock_.NowUs();
    const PeerHeld held{.call = serving.call,
                        .lease = lease,
                        .blocks = static_cast<uint32_t>(answer->blocks),
                        .block_bytes = static_cast<uint64_t>(answer->block_bytes),
                        .prefill_us = static_cast<uint64_t>(answer->prefill_us)};
    leases_.emplace(lease, Lease{.link = serving.link,
                                 .kv = std::make_shared<const PeerKv>(*std::move(answer)),
                                 .until_us = now_us + options_.lease_us,
                                 .last_us = serving.until_us + options_.lease_us});
    link.leases.insert(lease);
    Send(serving.link, held);
    HoldsAt("ready");
  });
}

// ---- The thread

void PeerNode::Run() {
  NameThread("peer");
  TimeUs tick_us = 0;
  while (!stopping_) {
    transport_->Turn(*this, tasks_.size() > 0 ? 0 : kTickUs);
    for (absl::AnyInvocable<void()>& task : tasks_.PopAll(0)) task();
    const TimeUs now_us = clock_.NowUs();
    if (now_us - tick_us < kTickUs) continue;
    tick_us = now_us;
    Tick(now_us);
    UpdateGauges();
  }
}

bool PeerNode::HoldsAt(const char* point) {
  if (!held_ && options_.hold_at == point) {
    held_ = true;
    Log().warn("rehearsal: peer held at {}", point);
  }
  return held_;
}

void PeerNode::Tick(TimeUs now_us) {
  for (int number = 0; number < peer_count(); ++number) {
    const Peer& peer = peers_[static_cast<size_t>(number)];
    if (!peer.link && now_us >= peer.try_at_us) ConnectTo(number, now_us);
  }
  std::vector<std::pair<LinkId, absl::Status>> lost;
  for (auto& [id, link] : links_) {
    if (!link.handshake.done()) {
      if (now_us - link.since_us >= kHandshakeUs) {
        lost.emplace_back(id, absl::DeadlineExceededError("the handshake did not end"));
      }
      continue;
    }
    if (now_us - link.heard_us >= options_.lease_us) {
      lost.emplace_back(id, absl::DeadlineExceededError("it is silent"));
    } else if (now_us - link.beat_us >= options_.lease_us / 6) {
      link.beat_us = now_us;
      Send(id, PeerHeartbeat{});
    }
  }
  for (const auto& [id, why] : lost) Drop(id, why);

  std::vector<uint64_t> late;
  for (const auto& [id, call] : calls_) {
    if (now_us >= call.deadline_us) late.push_back(id);
  }
  for (const uint64_t id : late) {
    Call call = std::move(calls_.at(id));
    calls_.erase(id);
    Send(call.link, PeerCancel{.call = id});
    call.answered(absl::DeadlineExceededError("it did not answer within peer.timeout_ms"));
  }
  std::vector<uint64_t> expired;
  for (const auto& [id, lease] : leases_) {
    if (now_us >= std::min(lease.until_us, lease.last_us)) expired.push_back(id);
  }
  for (const uint64_t id : expired) {
    Log().warn("peer: lease {} was not renewed and is released", id);
    EndLease(id);
  }
}

void PeerNode::ConnectTo(int number, TimeUs now_us) {
  Peer& peer = peers_[static_cast<size_t>(number)];
  peer.try_at_us = now_us + std::max(peer.backoff_us, kBackoffMinUs);
  peer.backoff_us = std::clamp(peer.backoff_us * 2, kBackoffMinUs, kBackoffMaxUs);
  const absl::StatusOr<PeerNonce> nonce = DrawNonce();
  const absl::StatusOr<LinkId> link =
      nonce.ok() ? transport_->Connect(peer.address) : absl::StatusOr<LinkId>(nonce.status());
  if (!link.ok()) {
    Log().debug("peer {}: {}", peer.address.ToString(), Text(link.status()));
    return;
  }
  const auto it = links_
                      .emplace(*link, Link{.peer = number,
                                           .handshake = PeerHandshake(&options_.secret,
                                                                      PeerSecret::Side::kClient,
                                                                      *nonce, generation_),
                                           .since_us = now_us,
                                           .heard_us = now_us,
                                           .beat_us = now_us})
                      .first;
  peer.link = *link;
  Send(*link, it->second.handshake.Begin());
}

void PeerNode::Send(LinkId link, const PeerMessage& message) {
  const auto it = links_.find(link);
  if (it == links_.end() || held_) return;
  auto body = std::make_shared<const std::vector<std::byte>>(EncodeBody(message));
  transport_->Send(
      link,
      EncodeEnvelope(EnvelopeOf(
          message, it->second.handshake.done() ? it->second.handshake.token_out() : PeerToken{})),
      *body, body, 0);
}

void PeerNode::SendChunks(LinkId id) {
  const auto it = links_.find(id);
  if (it == links_.end()) return;
  Link& link = it->second;
  while (!link.outgoing.empty() && link.chunks_in_flight < kChunksInFlight && !held_) {
    Outgoing& out = link.outgoing.front();
    const int64_t bytes = std::min(PeerChunkBytes(out.total), out.total - out.sent);
    PeerEnvelope envelope{.type = PeerEnvelope::kChunkType,
                          .token = link.handshake.token_out(),
                          .pull = out.pull,
                          .offset = static_cast<uint64_t>(out.sent)};
    ++link.chunks_in_flight;
    transport_->Send(id, EncodeEnvelope(envelope),
                     {out.kv->memory.data() + out.first + out.sent, static_cast<size_t>(bytes)},
                     out.kv, kChunkTag);
    metrics_.sent_bytes->Increment(static_cast<double>(bytes));
    out.sent += bytes;
    if (2 * out.sent >= out.total && HoldsAt("half")) return;
    if (out.sent == out.total) link.outgoing.pop_front();
  }
}

void PeerNode::OnSent(LinkId id, uint64_t) {
  const auto it = links_.find(id);
  if (it == links_.end()) return;
  --it->second.chunks_in_flight;
  SendChunks(id);
}

void PeerNode::Drop(LinkId id, const absl::Status& why) {
  const auto it = links_.find(id);
  if (it == links_.end()) return;
  Link link = std::move(it->second);
  links_.erase(it);
  transport_->Close(id);
  EndLink(id, std::move(link), why);
}

void PeerNode::OnClosed(LinkId id, const absl::Status& why) {
  const auto it = links_.find(id);
  if (it == links_.end()) return;
  Link link = std::move(it->second);
  links_.erase(it);
  EndLink(id, std::move(link), why);
}

void PeerNode::EndLink(LinkId id, Link link, const absl::Status& why) {
  const TimeUs now_us = clock_.NowUs();
  std::string name = "one that has connected";
  if (link.peer) {
    Peer& peer = peers_[static_cast<size_t>(*link.peer)];
    const bool was_open = open_[static_cast<size_t>(*link.peer)].exchange(false);
    peer.link.reset();
    if (was_open) peer.backoff_us = 0;
    peer.try_at_us = now_us + std::max(peer.backoff_us, kBackoffMinUs);
    name = peer.address.ToString();
    // One that is away is tried again and again: said once.
    if (was_open || peer.trouble != Text(why)) {
      Log().warn("peer {}: {}", name, Text(why));
    }
    peer.trouble = Text(why);
  } else if (!absl::IsUnavailable(why)) {
    Log().warn("peer: {}: {}", name, Text(why));
  }
  for (const uint64_t lease : link.leases) leases_.erase(lease);
  for (const auto& [call, serve] : link.serving) {
    servings_.erase(serve);
    handler_.on_cancel(serve);
  }
  std::vector<Call> calls;
  for (auto it = calls_.begin(); it != calls_.end();) {
    if (it->second.link == id) {
      calls.push_back(std::move(it->second));
      it = calls_.erase(it);
    } else {
      ++it;
    }
  }
  const absl::Status lost = absl::UnavailableError(StrCat("the link was lost: ", Text(why)));
  std::erase_if(pulls_, [&](const auto& entry) {
    if (entry.second.link != id) return false;
    entry.second.pull->Fail(lost, now_us);
    return true;
  });
  for (Call& call : calls) call.answered(lost);
}

void PeerNode::EndLease(uint64_t id) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return;
  const auto link = links_.find(it->second.link);
  if (link != links_.end()) {
    link->second.leases.erase(id);
    // Nobody waits for what is left of it; what is being sent keeps its memory until it is.
    std::erase_if(link->second.outgoing,
                  [&](const Outgoing& out) { return out.kv == it->second.kv; });
  }
  leases_.erase(it);
}

void PeerNode::UpdateGauges() {
  int out = 0;
  int in = 0;
  for (const auto& [id, link] : links_) {
    if (link.handshake.done()) ++(link.peer ? out : in);
  }
  metrics_.links_out->Set(out);
  metrics_.links_in->Set(in);
  metrics_.leases->Set(static_cast<double>(leases_.size()));
}

// ---- What comes

void PeerNode::OnAccepted(LinkId id) {
  const absl::StatusOr<PeerNonce> nonce = DrawNonce();
  if (links_.size() >= kLinksMax || !nonce.ok()) {
    Log().warn("peer: a connection is refused: {} links are open", links_.size());
    return transport_->Close(id);
  }
  const TimeUs now_us = clock_.NowUs();
  links_.emplace(id, Link{.peer = std::nullopt,
                          .handshake = PeerHandshake(&options_.secret, PeerSecret::Side::kServer,
                                                     *nonce, generation_),
                          .since_us = now_us,
                          .heard_us = now_us,
                          .beat_us = now_us});
}

void PeerNode::OnMessage(LinkId id, std::span<const std::byte> header,
                         std::span<const std::byte> body) {
  const auto it = links_.find(id);
  if (it == links_.end() || held_) return;
  it->second.heard_us = clock_.NowUs();
  absl::StatusOr<PeerEnvelope> envelope = ParseEnvelope(header);
  absl::Status taken = envelope.status();
  if (taken.ok()) taken = Take(id, it->second, *envelope, body);
  if (!taken.ok()) Drop(id, taken);
}

absl::Status PeerNode::Take(LinkId id, Link& link, const PeerEnvelope& envelope,
                            std::span<const std::byte> body) {
  // The Welcome is the first that has a token.
  const bool welcome = !link.handshake.done() && envelope.token != PeerToken{};
  if ((link.handshake.done() || welcome) && !SameToken(envelope.token, link.handshake.token_in())) {
    return absl::PermissionDeniedError("a message has a wrong envelope.token");
  }
  if (envelope.type == PeerEnvelope::kChunkType && link.handshake.done()) {
    return TakeChunk(id, envelope, body);
  }
  ASSIGN_OR_RETURN(PeerMessage message, ParseBody(envelope.type, body));
  if (!link.handshake.done()) {
    if (welcome != std::holds_alternative<PeerWelcome>(message)) {
      return absl::PermissionDeniedError("a message of the handshake has a wrong envelope.token");
    }
    return Shake(id, link, message);
  }
  if (std::holds_alternative<PeerHeartbeat>(message)) {
    OnHeartbeat(link);
    return absl::OkStatus();
  }
  if (link.peer) {  // this daemon asks there
    if (const auto* held = std::get_if<PeerHeld>(&message)) return OnHeld(id, link, *held);
    if (const auto* failure = std::get_if<PeerFailure>(&message)) return OnFailure(id, *failure);
  } else {
    if (auto* prefill = std::get_if<PeerPrefill>(&message)) {
      return OnPrefill(id, link, std::move(*prefill));
    }
    if (const auto* cancel = std::get_if<PeerCancel>(&message)) {
      const auto serving = link.serving.find(cancel->call);
      if (serving == link.serving.end()) return absl::OkStatus();  // answered meanwhile
      const PeerServeId serve = serving->second;
      link.serving.erase(serving);
      servings_.erase(serve);
      handler_.on_cancel(serve);
      return absl::OkStatus();
    }
    if (const auto* pull = std::get_if<PeerPullBlocks>(&message)) return OnPull(id, link, *pull);
    if (const auto* release = std::get_if<PeerRelease>(&message)) {
      if (link.leases.contains(release->lease)) EndLease(release->lease);
      HoldsAt("released");
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(
      StrCat("message ", envelope.type, " is none that this side of a link gets"));
}

absl::Status PeerNode::Shake(LinkId id, Link& link, const PeerMessage& message) {
  if (std::holds_alternative<PeerHello>(message) && HoldsAt("accepted")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<PeerMessage> reply, link.handshake.OnMessage(message));
  if (reply) Send(id, *reply);
  if (!link.handshake.done()) return absl::OkStatus();
  if (!link.peer) {
    transport_->LimitBodies(id, kPeerBodyBytesMax);
    Log().info("peer: a daemon has proved the secret and may have prompts prefilled");
    return absl::OkStatus();
  }
  transport_->LimitBodies(id, kPeerChunkBytesMax);
  Peer& peer = peers_[static_cast<size_t>(*link.peer)];
  peer.backoff_us = 0;
  peer.trouble.clear();
  Log().info("peer {}: linked", peer.address.ToString());
  handler_.on_heard(*link.peer, link.handshake.peer_generation());
  open_[static_cast<size_t>(*link.peer)] = true;
  return absl::OkStatus();
}

void PeerNode::OnHeartbeat(const Link& link) {
  if (link.peer) return handler_.on_heard(*link.peer, link.handshake.peer_generation());
  for (const uint64_t lease : link.leases) {
    leases_.at(lease).until_us = clock_.NowUs() + options_.lease_us;
  }
}

absl::Status PeerNode::OnPrefill(LinkId id, Link& link, PeerPrefill message) {
  if (HoldsAt("requested")) return absl::OkStatus();
  const auto open = static_cast<int64_t>(link.serving.size() + link.leases.size());
  if (open >= options_.requests_max) {
    Send(id, PeerFailure{.of = PeerFailure::Of::kCall,
                         .id = message.call,
                         .status = absl::ResourceExhaustedError(
                             StrCat("peer.requests_max: ", open, " prompts are under way"))});
    return absl::OkStatus();
  }
  const PeerServeId serve(next_serve_++);
  if (!link.serving.emplace(message.call, serve).second) {
    return absl::InvalidArgumentError(StrCat("prefill.call ", message.call, " is under way"));
  }
  servings_.emplace(serve,
                    Serving{.link = id,
                            .call = message.call,
                            .until_us = clock_.NowUs() + static_cast<TimeUs>(message.timeout_us)});
  handler_.on_prefill(serve, std::move(message));
  HoldsAt("prefilling");
  return absl::OkStatus();
}

absl::Status PeerNode::OnPull(LinkId id, Link& link, const PeerPullBlocks& message) {
  if (HoldsAt("posted")) return absl::OkStatus();
  const auto refuse = [&](absl::Status status) {
    Send(id, PeerFailure{
                 .of = PeerFailure::Of::kPull, .id = message.pull, .status = std::move(status)});
    return absl::OkStatus();
  };
  if (!link.leases.contains(message.lease)) {
    return refuse(absl::NotFoundError(StrCat("lease ", message.lease, " has ended")));
  }
  const std::shared_ptr<const PeerKv>& kv = leases_.at(message.lease).kv;
  if (uint64_t{message.first} + message.blocks > static_cast<uint64_t>(kv->blocks)) {
    return refuse(absl::InvalidArgumentError(StrCat("pull.first ", message.first, " and blocks ",
                                                    message.blocks, " reach beyond the ",
                                                    kv->blocks, " that are held")));
  }
  if (std::ssize(link.outgoing) >= options_.requests_max) {
    return refuse(absl::ResourceExhaustedError(
        StrCat("peer.requests_max: ", link.outgoing.size(), " pulls are under way")));
  }
  link.outgoing.push_back({.pull = message.pull,
                           .kv = kv,
                           .first = int64_t{message.first} * kv->block_bytes,
                           .total = int64_t{message.blocks} * kv->block_bytes});
  SendChunks(id);
  return absl::OkStatus();
}

absl::Status PeerNode::TakeChunk(LinkId id, const PeerEnvelope& envelope,
                                 std::span<const std::byte> body) {
  const auto it = pulls_.find(envelope.pull);
  if (it == pulls_.end()) return absl::OkStatus();  // cancelled
  if (it->second.link != id) {
    return absl::InvalidArgumentError(StrCat("chunk.pull ", envelope.pull, " is another link's"));
  }
  if (envelope.offset > static_cast<uint64_t>(INT64_MAX)) {
    return absl::InvalidArgumentError(StrCat("chunk.offset is ", envelope.offset));
  }
  RETURN_IF_ERROR(
      it->second.pull->Put(static_cast<int64_t>(envelope.offset), body, clock_.NowUs()));
  HoldsAt("receiving");
  return absl::OkStatus();
}

absl::Status PeerNode::OnHeld(LinkId id, Link& link, const PeerHeld& message) {
  if (HoldsAt("answered")) return absl::OkStatus();
  const auto it = calls_.find(message.call);
  if (it == calls_.end() || it->second.link != id) {
    Send(id, PeerRelease{.lease = message.lease});  // nobody waits for it any more
    return absl::OkStatus();
  }
  Answered answered = std::move(it->second.answered);
  calls_.erase(it);
  answered(RemoteKv{.peer = *link.peer,
                    .lease = message.lease,
                    .blocks = static_cast<int32_t>(message.blocks),
                    .block_bytes = static_cast<int64_t>(message.block_bytes),
                    .prefill_us = static_cast<TimeUs>(message.prefill_us)});
  return absl::OkStatus();
}

absl::Status PeerNode::OnFailure(LinkId id, const PeerFailure& message) {
  if (message.of == PeerFailure::Of::kPull) {
    const auto it = pulls_.find(message.id);
    if (it == pulls_.end() || it->second.link != id) return absl::OkStatus();
    it->second.pull->Fail(message.status, clock_.NowUs());
    pulls_.erase(it);
    return absl::OkStatus();
  }
  const auto it = calls_.find(message.id);
  if (it == calls_.end() || it->second.link != id) return absl::OkStatus();
  Answered answered = std::move(it->second.answered);
  calls_.erase(it);
  answered(message.status);
  return absl::OkStatus();
}

}  // namespace baton
