#include "engine/lane_offload.h"

#include <algorithm>
#include <array>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/transfer/host_copy_path.h"

namespace baton {
namespace {

// Of one copy out: some milliseconds, for which a copy back on the same path waits at most.
constexpr int64_t kCopyBytesMax = 32 << 20;
constexpr size_t kCopyBlocksMax = 64;
// Blocks of a memory that wait to be copied; more are dropped.
constexpr size_t kWaitingMax = 1024;

std::vector<KvOffloadTier::Name> NamesOf(const LaneOffload::Text& text, size_t blocks_max) {
  std::vector<KvOffloadTier::Name> names;
  if (text.keys.empty()) return names;
  const size_t step = text.tokens.size() / text.keys.size();
  for (size_t i = 0; i < std::min(text.keys.size(), blocks_max); ++i) {
    names.push_back({.tenant = text.tenant,
                     .key = text.keys[i],
                     .tokens = text.tokens.subspan(i * step, step)});
  }
  return names;
}

// How the tier's memory is called by a path that connects it with a pool. Far memory is the
// processor's as well, so a device's path to the host reaches it.
std::optional<MemorySpace> TierSpaceFor(const MemorySpace& pool, const MemorySpace& tier,
                                        const TransferManager& transfer) {
  for (const MemorySpace& space : {tier, MemorySpace{.kind = MemorySpace::Kind::kHost}}) {
    if (transfer.Connects(pool, space) && transfer.Connects(space, pool)) return space;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LaneOffload>> LaneOffload::Create(const std::string& model,
                                                                 const KvOptions& options,
                                                                 std::vector<Pool> pools, Env env) {
  if (!options.prefix_cache) {
    return absl::InvalidArgumentError(
        StrCat("kv.offload_memory_mb is ", options.offload_memory_mb,
               ", but kv.prefix_cache is false: what it would find blocks by"));
  }
  const KvLayout& layout = pools.front().blocks->layout();
  if (Bytes(options) < layout.block_bytes()) {
    return absl::InvalidArgumentError(StrCat("kv.offload_memory_mb is ", options.offload_memory_mb,
                                             ", but one KV block of model \"", model, "\" takes ",
                                             layout.block_bytes(), " bytes"));
  }
  const bool devices = std::any_of(pools.begin(), pools.end(), [](const Pool& pool) {
    return !IsHostMemory(pool.space);  // which copy faster from and to locked pages
  });
  absl::StatusOr<std::unique_ptr<KvOffloadTier>> tier = KvOffloadTier::Create(
      layout, Bytes(options), static_cast<int32_t>(options.offload_numa_node), devices);
  if (absl::IsInvalidArgument(tier.status())) {
    return absl::InvalidArgumentError(
        StrCat("kv.offload_numa_node: ", std::string(tier.status().message())));
  }
  RETURN_IF_ERROR(tier.status());

  MemorySpace space{.kind = MemorySpace::Kind::kHost};
  if (options.offload_numa_node >= 0) {
    space = {.kind = MemorySpace::Kind::kCxl,
             .device = static_cast<int32_t>(options.offload_numa_node)};
  }
  std::vector<Lane> lanes;
  for (Pool& pool : pools) {
    Lane& lane = lanes.emplace_back();
    lane.pool = pool;
    if (pool.blocks->layout() != layout) {
      Log().warn("model {}: KV in {} is not kept as {}, as that in {} is, so it is not offloaded",
                 model, ToString(pool.space), Name(layout.type), ToString(pools.front().space));
      continue;
    }
    lane.tier_space = TierSpaceFor(pool.space, space, *env.transfer);
    if (!lane.tier_space) {
      Log().warn("model {}: no copy paths lead from {} to {} and back, so its KV is not offloaded",
                 model, ToString(pool.space), ToString(space));
    }
  }
  const KvOffloadTier::Stats stats = (*tier)->GetStats();
  auto status = std::make_shared<OffloadStatus>();
  status->space = ToString(space);
  status->bytes = stats.slots * layout.block_bytes();
  status->on_node = stats.on_node;
  status->locked = stats.locked;
  status->blocks = stats.slots;
  status->block_bytes = layout.block_bytes();
  status->block_tokens = layout.block_tokens;
  for (const Lane& lane : lanes) {
    if (lane.tier_space) {
      status->ways.push_back({.pool = lane.pool.space, .tier = *lane.tier_space});
    }
  }
  Log().info("model {}: {} KV blocks of {} bytes are kept in {} when their memory is wanted{}{}",
             model, stats.slots, layout.block_bytes(), status->space,
             options.offload_numa_node >= 0 && !stats.on_node
                 ? ", not bound to it: the system places them"
                 : "",
             devices && !stats.locked ? ", not locked: see ulimit -l" : "");
  return std::unique_ptr<LaneOffload>(
      new LaneOffload(model, *std::move(tier), std::move(lanes), env, std::move(status)));
}

LaneOffload::LaneOffload(std::string model, std::unique_ptr<KvOffloadTier> tier,
                         std::vector<Lane> lanes, Env env, std::shared_ptr<OffloadStatus> status)
    : model_(std::move(model)),
      tier_(std::move(tier)),
      lanes_(std::move(lanes)),
      env_(env),
      status_(std::move(status)),
      public_status_(status_),
      copy_blocks_max_(static_cast<size_t>(
          std::clamp<int64_t>(kCopyBytesMax / tier_->layout().block_bytes(), 1, kCopyBlocksMax))),
      metrics_{.stored = &env_.metrics->Counter(MetricId::kKvOffloadEvents, {"stored"}),
               .reloaded = &env_.metrics->Counter(MetricId::kKvOffloadEvents, {"reloaded"}),
               .evicted = &env_.metrics->Counter(MetricId::kKvOffloadEvents, {"evicted"}),
               .dropped = &env_.metrics->Counter(MetricId::kKvOffloadEvents, {"dropped"}),
               .failed = &env_.metrics->Counter(MetricId::kKvOffloadEvents, {"failed"}),
               .hits = &env_.metrics->Counter(MetricId::kKvOffloadLookups, {"hit"}),
               .misses = &env_.metrics->Counter(MetricId::kKvOffloadLookups, {"miss"}),
               .slower = &env_.metrics->Counter(MetricId::kKvOffloadLookups, {"slower"}),
               .bytes_out = &env_.metrics->Counter(MetricId::kKvOffloadBytes, {"out"}),
               .bytes_back = &env_.metrics->Counter(MetricId::kKvOffloadBytes, {"back"}),
               .used = &env_.metrics->Gauge(MetricId::kKvOffloadBlocks, {model_, "used"})} {
  env_.metrics->Gauge(MetricId::kKvOffloadBlocks, {model_, "total"})
      .Set(static_cast<double>(status_->blocks));
}

LaneOffload::~LaneOffload() {
  for (size_t pool = 0; pool < lanes_.size(); ++pool) DropStores(static_cast<int>(pool));
  for (const char* state : {"total", "used"}) {
    env_.metrics->RemoveGauge(MetricId::kKvOffloadBlocks, {model_, state});
  }
}

// ---- Out

void LaneOffload::Reserve(Lane& lane, const KvOffloadTier::Name& name, KvBlockRef block) {
  const absl::StatusOr<OffloadSlot> slot = tier_->Reserve(name);
  if (absl::IsAlreadyExists(slot.status())) return;
  if (!slot.ok()) {  // all are held
    metrics_.dropped->Increment();
    return;
  }
  lane.pool.blocks->Share(block);
  lane.waiting.push_back({.slot = *slot, .block = block});
}

void LaneOffload::Store(int pool, const KvOffloadTier::Name& name, KvBlockRef block) {
  Lane& lane = lanes_[static_cast<size_t>(pool)];
  if (!lane.tier_space || lane.waiting.size() >= kWaitingMax) return;  // OnEvicted tries again
  Reserve(lane, name, block);
}

void LaneOffload::OnEvicted(int pool, const KvOffloadTier::Name& name, KvBlockRef block) {
  Lane& lane = lanes_[static_cast<size_t>(pool)];
  if (!lane.tier_space) return;
  // Memory is wanted now, and what waits holds it: no more than the next copy takes.
  if (lane.waiting.size() >= copy_blocks_max_) {
    if (!tier_->Touch(name.key)) metrics_.dropped->Increment();
    return;
  }
  Reserve(lane, name, block);
}

bool LaneOffload::DropStores(int pool) {
  Lane& lane = lanes_[static_cast<size_t>(pool)];
  if (lane.waiting.empty() && lane.copying.empty()) return false;
  if (!lane.copying.empty()) {
    env_.transfer->Release(lane.handoff);  // the copy touches the blocks no more
    EndCopy(lane, absl::CancelledError("dropped"));
  }
  for (const Item& item : std::exchange(lane.waiting, {})) {
    tier_->Abandon(item.slot);
    lane.pool.blocks->Free(item.block);
    metrics_.dropped->Increment();
  }
  Update();
  return true;
}

bool LaneOffload::busy() const {
  return std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) {
    return !lane.waiting.empty() || !lane.copying.empty();
  });
}

void LaneOffload::Poll(TimeUs now_us) {
  for (Lane& lane : lanes_) {
    if (!lane.copying.empty()) PollCopy(lane, now_us);
    if (lane.copying.empty() && !lane.waiting.empty()) BeginCopy(lane, now_us);
  }
  Update();
}

void LaneOffload::BeginCopy(Lane& lane, TimeUs now_us) {
  CopyPath::Job job{
      .sources = {}, .destinations = {}, .block_bytes = tier_->layout().block_bytes()};
  while (!lane.waiting.empty() && lane.copying.size() < copy_blocks_max_) {
    const Item item = lane.waiting.front();
    lane.waiting.pop_front();
    lane.copying.push_back(item);
    job.sources.push_back(lane.pool.blocks->Data(item.block));
    job.destinations.push_back(tier_->Data(item.slot));
  }
  const absl::StatusOr<HandoffId> handoff =
      env_.transfer->Prepare({.source = lane.pool.space,
                              .destination = *lane.tier_space,
                              .job = std::move(job),
                              .still_current = [] { return true; },  // it has its own share
                              .offload = true},
                             now_us);
  absl::Status status = handoff.status();
  if (status.ok()) {
    lane.handoff = *handoff;
    status = env_.transfer->Post(lane.handoff, now_us);
  }
  if (!status.ok()) return EndCopy(lane, status);
  PollCopy(lane, now_us);  // what is small was copied at once
}

void LaneOffload::PollCopy(Lane& lane, TimeUs now_us) {
  // Its lease is never renewed: a copy that hangs ends with it.
  const absl::StatusOr<TransferManager::State> state = env_.transfer->Check(lane.handoff, now_us);
  if (state.ok() && *state != TransferManager::State::kReady) return;
  if (state.ok()) env_.transfer->Release(lane.handoff);
  EndCopy(lane, state.status());
}

void LaneOffload::EndCopy(Lane& lane, const absl::Status& status) {
  const auto blocks = static_cast<double>(lane.copying.size());
  for (const Item& item : std::exchange(lane.copying, {})) {
    if (status.ok()) {
      tier_->Commit(item.slot);
    } else {
      tier_->Abandon(item.slot);
    }
    lane.pool.blocks->Free(item.block);
  }
  if (status.ok()) {
    metrics_.stored->Increment(blocks);
    metrics_.bytes_out->Increment(blocks * static_cast<double>(tier_->layout().block_bytes()));
  } else if (absl::IsCancelled(status)) {
    metrics_.dropped->Increment(blocks);
  } else {
    metrics_.failed->Increment(blocks);
    Log().debug("model {}: {} KV blocks were not offloaded: {}", model_, blocks,
                std::string(status.message()));
  }
}

// ---- Back

int32_t LaneOffload::Count(int pool, const Text& text,
                           absl::FunctionRef<bool(int32_t)> worth) const {
  if (!lanes_[static_cast<size_t>(pool)].tier_space || text.keys.empty()) return 0;
  const auto found = static_cast<int32_t>(tier_->CountRun(NamesOf(text, text.keys.size())));
  const bool reloaded = found > 0 && worth(found);
  (reloaded ? metrics_.hits : found > 0 ? metrics_.slower : metrics_.misses)->Increment();
  return reloaded ? found : 0;
}

std::optional<double> LaneOffload::ReloadUs(int pool, int32_t blocks) const {
  const Lane& lane = lanes_[static_cast<size_t>(pool)];
  if (!lane.tier_space) return std::nullopt;
  return env_.transfer->PredictUs({.source = *lane.tier_space, .destination = lane.pool.space},
                                  blocks * tier_->layout().block_bytes());
}

LaneOffload::Reload LaneOffload::Hold(const Text& text, int32_t blocks_max) {
  return {.slots = tier_->Acquire(NamesOf(text, static_cast<size_t>(blocks_max))), .handoff = {}};
}

absl::Status LaneOffload::Post(Reload& reload, int pool, std::span<const KvBlockRef> blocks,
                               TimeUs now_us) {
  BATON_CHECK(blocks.size() == reload.slots.size() && !reload.handoff);
  const Lane& lane = lanes_[static_cast<size_t>(pool)];
  KvBlockPool& to = *lane.pool.blocks;
  CopyPath::Job job{
      .sources = {}, .destinations = {}, .block_bytes = tier_->layout().block_bytes()};
  for (size_t i = 0; i < blocks.size(); ++i) {
    job.sources.push_back(tier_->Data(reload.slots[i]));
    job.destinations.push_back(to.Data(blocks[i]));
  }
  const absl::StatusOr<HandoffId> handoff = env_.transfer->Prepare(
      {.source = *lane.tier_space,
       .destination = lane.pool.space,
       .job = std::move(job),
       .still_current =
           [&to, held = std::vector(blocks.begin(), blocks.end())] {
             return std::all_of(held.begin(), held.end(),
                                [&](KvBlockRef block) { return to.IsCurrent(block); });
           },
       .offload = true},
      now_us);
  absl::Status status = handoff.status();
  if (status.ok()) status = env_.transfer->Post(*handoff, now_us);
  if (status.ok()) {
    reload.handoff = *handoff;
    return status;
  }
  metrics_.failed->Increment(static_cast<double>(reload.slots.size()));
  ReleaseSlots(reload);
  return status;
}

std::optional<absl::StatusOr<HandoffReport>> LaneOffload::Check(Reload& reload, TimeUs now_us) {
  const absl::StatusOr<TransferManager::State> state =
      env_.transfer->Check(*reload.handoff, now_us);
  if (state.ok() && *state != TransferManager::State::kReady) return std::nullopt;
  const auto blocks = static_cast<double>(reload.slots.size());
  if (!state.ok()) {
    metrics_.failed->Increment(blocks);
    ReleaseSlots(reload);
    return state.status();
  }
  HandoffReport report = *env_.transfer->Release(*reload.handoff);
  metrics_.reloaded->Increment(blocks);
  metrics_.bytes_back->Increment(static_cast<double>(report.bytes));
  status_->reloaded += std::ssize(reload.slots);
  ReleaseSlots(reload);
  return report;
}

void LaneOffload::Cancel(Reload& reload) {
  if (reload.handoff) env_.transfer->Release(*reload.handoff);
  ReleaseSlots(reload);
}

void LaneOffload::ReleaseSlots(Reload& reload) {
  // Those behind first: without what is before them they are of no use.
  for (size_t i = reload.slots.size(); i-- > 0;) tier_->Release(reload.slots[i]);
  reload = {};
}

void LaneOffload::Update() {
  const KvOffloadTier::Stats stats = tier_->GetStats();
  metrics_.evicted->Increment(static_cast<double>(stats.evicted - evicted_told_));
  evicted_told_ = stats.evicted;
  metrics_.used->Set(static_cast<double>(stats.used));
  status_->used = stats.used;
  status_->stored = stats.stored;
}

}  // namespace baton
