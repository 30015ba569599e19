#include "engine/peer_lane.h"

#include <algorithm>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kPeersMax = 64;
constexpr TimeUs kFetchPollUs = 200;

std::string_view OutcomeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return "ok";
    case absl::StatusCode::kFailedPrecondition:
      return "refused";
    case absl::StatusCode::kResourceExhausted:
      return "full";
    case absl::StatusCode::kDeadlineExceeded:
      return "timeout";
    case absl::StatusCode::kUnavailable:
      return "lost";
    case absl::StatusCode::kCancelled:
      return "cancelled";
    default:
      return "failed";
  }
}

// `answered`: it holds the KV, so that what went wrong tells nothing of its room or its models.
PeerChoice::Outcome ChoiceOf(const absl::Status& status, bool answered) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return PeerChoice::Outcome::kDone;
    case absl::StatusCode::kDeadlineExceeded:
      return PeerChoice::Outcome::kTimedOut;
    case absl::StatusCode::kResourceExhausted:
      return answered ? PeerChoice::Outcome::kOther : PeerChoice::Outcome::kFull;
    case absl::StatusCode::kFailedPrecondition:
      return answered ? PeerChoice::Outcome::kOther : PeerChoice::Outcome::kRefused;
    default:
      return PeerChoice::Outcome::kOther;
  }
}

}  // namespace

PeerLane::PeerLane(const PeerOptions& options, std::vector<Address> peers, Env env)
    : options_(options),
      env_(std::move(env)),
      peers_(std::move(peers)),
      choice_(peers_.size(), options.requests_max),
      used_(&env_.metrics->Gauge(MetricId::kPeerMemoryBytes, {"used"})),
      seconds_(&env_.metrics->Histogram(MetricId::kPeerPrefillSeconds)) {}

absl::StatusOr<std::unique_ptr<PeerLane>> PeerLane::Create(const PeerOptions& options,
                                                           const TransferOptions& transfer,
                                                           const std::string& hold_at, Env env) {
  UcxOptions ucx{.transports = options.transports, .devices = options.devices};
  if (!options.listen.empty()) {
    ASSIGN_OR_RETURN(ucx.listen, ParseAddress("peer.listen", options.listen));
  }
  if (options.prefill.size() > kPeersMax) {
    return absl::InvalidArgumentError(StrCat("peer.prefill must name at most ", kPeersMax,
                                             " daemons, but names ", options.prefill.size()));
  }
  for (const std::string& address : options.prefill) {
    ASSIGN_OR_RETURN(Address peer, ParseAddress("peer.prefill", address));
    if (peer.port == 0) {
      return absl::InvalidArgumentError(StrCat("peer.prefill: ", address, " has no port"));
    }
    ucx.peers.push_back(std::move(peer));
  }
  if (options.secret_file.empty()) {
    return absl::InvalidArgumentError(
        "peer.secret_file is empty, but peer.listen and peer.prefill need a secret");
  }
  ASSIGN_OR_RETURN(PeerSecret secret, PeerSecret::Read(options.secret_file));
  std::unique_ptr<PeerLane> lane(new PeerLane(options, ucx.peers, std::move(env)));
  ASSIGN_OR_RETURN(lane->memory_, PinnedPool::Create(options.memory_mb << 20));
  ASSIGN_OR_RETURN(std::unique_ptr<PeerTransport> network, MakeUcxTransport(ucx));
  lane->env_.metrics->Gauge(MetricId::kPeerMemoryBytes, {"total"})
      .Set(static_cast<double>(options.memory_mb << 20));

  // What the node tells belongs to prompts under way, of which a link has peer.requests_max, or is
  // a heartbeat: so the mailbox stays bounded.
  PeerLane* const self = lane.get();
  const auto post = [self](Mailbox::Task task) { self->env_.mailbox->Post(std::move(task)); };
  PeerNode::Handler handler{.on_prefill =
                                [self, post](PeerServeId serve, PeerPrefill order) {
                                  post([self, serve, order = std::move(order)]() mutable {
                                    self->env_.serve(serve, std::move(order));
                                  });
                                },
                            .on_cancel =
                                [self, post](PeerServeId serve) {
                                  post([self, serve] { self->env_.stop_serving(serve); });
                                },
                            .on_heard =
                                [self, post](int number, uint64_t generation) {
                                  post([self, number, generation] {
                                    self->choice_.Heard(number, generation);
                                    self->env_.transfer->Heartbeat(
                                        PeerId(static_cast<uint64_t>(number)), generation,
                                        self->env_.clock->NowUs());
                                  });
                                }};
  lane->node_ = std::make_unique<PeerNode>(PeerNodeOptions{.peers = ucx.peers,
                                                           .secret = std::move(secret),
                                                           .lease_us = transfer.lease_ms * 1000,
                                                           .requests_max = options.requests_max,
                                                           .hold_at = hold_at},
                                           std::move(network), std::move(handler),
                                           *lane->env_.metrics, *lane->env_.clock);
  lane->path_ = std::make_unique<NetworkPath>(*lane->node_);
  if (ucx.listen) {
    Log().info("peer: prefills for others on {}", lane->node_->listening().ToString());
  }
  return lane;
}

PeerLane::~PeerLane() { node_.reset(); }

// ---- To ask

std::optional<int> PeerLane::Choose(const PeerChoice::Prompt& prompt) {
  return choice_.Choose(
      prompt, [this](int peer) { return node_->IsOpen(peer); }, env_.clock->NowUs());
}

absl::StatusOr<uint64_t> PeerLane::Fetch(int number, PeerPrefill order, int32_t blocks,
                                         const KvLayout& layout, Done done) {
  absl::StatusOr<PinnedBuffer> memory = Allocate(blocks * layout.block_bytes());
  if (!memory.ok()) {
    env_.metrics->Counter(MetricId::kPeerPrefills, {"asked", "no_memory"}).Increment();
    return memory.status();
  }
  const uint64_t id = next_fetch_++;
  const TimeUs now_us = env_.clock->NowUs();
  order.timeout_us = std::min(order.timeout_us, static_cast<uint64_t>(options_.timeout_ms) * 1000);
  Asking asking{.peer = number,
                .asked = choice_.Begin(number, order.model.name, std::ssize(order.tokens)),
                .begun_us = now_us,
                .until_us = now_us + static_cast<TimeUs>(order.timeout_us),
                .kv = std::make_shared<GivenKv>(),
                .done = std::move(done)};
  asking.kv->memory = *std::move(memory);
  asking.kv->blocks = blocks;
  asking.kv->layout = layout;
  asking.call =
      node_->Prefill(number, std::move(order), [this, id](absl::StatusOr<RemoteKv> answer) {
        env_.mailbox->Post(
            [this, id, answer = std::move(answer)]() mutable { OnAnswer(id, std::move(answer)); });
      });
  asking_.emplace(id, std::move(asking));
  return id;
}

void PeerLane::OnAnswer(uint64_t id, absl::StatusOr<RemoteKv> answer) {
  const auto it = asking_.find(id);
  if (it == asking_.end()) {  // dropped meanwhile
    if (answer.ok()) node_->Release(answer->peer, answer->lease);
    return;
  }
  Asking& asking = it->second;
  if (!answer.ok()) {
    if (absl::IsFailedPrecondition(answer.status())) {
      Log().warn("peer {} does not prefill for model {}: {}", NameOf(asking.peer),
                 asking.asked.model, std::string(answer.status().message()));
    }
    return End(id, answer.status());
  }
  asking.remote = *answer;
  if (answer->blocks != asking.kv->blocks ||
      answer->block_bytes != asking.kv->layout.block_bytes()) {
    return End(id,
               absl::InternalError(StrCat(
                   "it holds ", answer->blocks, " blocks of ", answer->block_bytes, " bytes, but ",
                   asking.kv->blocks, " of ", asking.kv->layout.block_bytes(), " were asked for")));
  }
  const absl::Status posted = Post(asking, env_.clock->NowUs());
  if (!posted.ok()) End(id, posted);
}

absl::Status PeerLane::Post(Asking& asking, TimeUs now_us) {
  CopyPath::Job job{
      .sources = {}, .destinations = {}, .block_bytes = asking.kv->layout.block_bytes()};
  for (int32_t i = 0; i < asking.kv->blocks; ++i) {
    asking.blocks.push_back({.peer = asking.peer, .lease = asking.remote->lease, .index = i});
  }
  for (int32_t i = 0; i < asking.kv->blocks; ++i) {
    job.sources.push_back(&asking.blocks[static_cast<size_t>(i)]);
    job.destinations.push_back(asking.kv->memory.data() + i * asking.kv->layout.block_bytes());
  }
  ASSIGN_OR_RETURN(const HandoffId handoff,
                   env_.transfer->Prepare({.source = NetworkPath::SpaceOf(asking.peer),
                                           .destination = {.kind = MemorySpace::Kind::kHost},
                                           .job = std::move(job),
                                           .still_current = [] { return true; },  // its own memory
                                           .peer = PeerId(static_cast<uint64_t>(asking.peer))},
                                          now_us));
  RETURN_IF_ERROR(env_.transfer->Post(handoff, now_us));
  asking.handoff = handoff;
  asking.renew_at_us = now_us + env_.transfer->renew_interval_us();
  return absl::OkStatus();
}

void PeerLane::Poll(TimeUs now_us) {
  struct Ended {
    uint64_t id;
    absl::StatusOr<HandoffReport> report;
  };
  std::vector<Ended> ended;
  for (auto& [id, asking] : asking_) {
    if (now_us >= asking.until_us) {
      ended.push_back({id, absl::DeadlineExceededError("it took longer than peer.timeout_ms")});
      continue;
    }
    if (!asking.handoff) continue;
    const absl::StatusOr<TransferManager::State> state =
        env_.transfer->Check(*asking.handoff, now_us);
    if (!state.ok()) {
      asking.handoff.reset();  // it has been released
      ended.push_back({id, state.status()});
    } else if (*state == TransferManager::State::kReady) {
      ended.push_back({id, *env_.transfer->Release(*asking.handoff)});
      asking.handoff.reset();
    } else if (now_us >= asking.renew_at_us) {
      asking.renew_at_us = now_us + env_.transfer->renew_interval_us();
      env_.transfer->Renew(*asking.handoff, now_us).IgnoreError();  // the next Check says why
    }
  }
  for (Ended& each : ended) End(each.id, std::move(each.report));
  used_->Set(static_cast<double>(memory_->GetStats().bytes - memory_->GetStats().free_bytes));
}

void PeerLane::LetGo(Asking& asking, const absl::Status& status) {
  if (asking.handoff) env_.transfer->Release(*asking.handoff);
  if (asking.remote) {
    node_->Release(asking.peer, asking.remote->lease);
  } else {
    node_->Cancel(asking.call);
  }
  const TimeUs now_us = env_.clock->NowUs();
  choice_.End(asking.asked, ChoiceOf(status, asking.remote.has_value()), now_us - asking.begun_us,
              now_us);
}

void PeerLane::End(uint64_t id, absl::StatusOr<HandoffReport> report) {
  const auto it = asking_.find(id);
  Asking asking = std::move(it->second);
  asking_.erase(it);
  LetGo(asking, report.status());
  env_.metrics->Counter(MetricId::kPeerPrefills, {"asked", OutcomeOf(report.status())}).Increment();
  if (report.ok()) seconds_->Observe(Seconds(env_.clock->NowUs() - asking.begun_us));
  if (!report.ok()) return asking.done(report.status());
  asking.done(Fetched{.kv = std::move(asking.kv),
                      .report = *std::move(report),
                      .peer_us = asking.remote->prefill_us});
}

void PeerLane::Drop(uint64_t id) {
  const auto it = asking_.find(id);
  if (it == asking_.end()) return;
  Asking asking = std::move(it->second);
  asking_.erase(it);
  LetGo(asking, absl::CancelledError("nobody wants it any more"));
  env_.metrics->Counter(MetricId::kPeerPrefills, {"asked", "cancelled"}).Increment();
}

TimeUs PeerLane::NextWakeUs(TimeUs now_us) const {
  TimeUs wake_us = kNoDeadline;
  for (const auto& [id, asking] : asking_) {
    wake_us = std::min(wake_us, asking.handoff ? now_us + kFetchPollUs : asking.until_us);
  }
  return wake_us;
}

// ---- To serve

absl::StatusOr<PinnedBuffer> PeerLane::Allocate(int64_t bytes) {
  absl::StatusOr<PinnedBuffer> memory = memory_->Allocate(bytes);
  if (memory.ok()) return memory;
  return absl::ResourceExhaustedError(StrCat("peer.memory_mb is ", options_.memory_mb, ": ",
                                             std::string(memory.status().message())));
}

void PeerLane::Answer(PeerServeId serve, absl::StatusOr<PeerKv> kv) {
  env_.metrics->Counter(MetricId::kPeerPrefills, {"served", OutcomeOf(kv.status())}).Increment();
  node_->Answer(serve, std::move(kv));
}

}  // namespace baton
