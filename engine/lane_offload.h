#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/kv_options.h"
#include "engine/kv/offload_tier.h"
#include "engine/offload_status.h"
#include "engine/transfer/transfer_manager.h"

namespace baton {

// The tier below the prefix caches of a model (KvOffloadTier), and the copies to and from it by the
// paths of the transfer manager. One tier for all memories of the model: what was computed in one
// may be brought back into another.
//
// A block goes out when it is full, a few at a time and behind the loop's back, so that it is there
// when its memory is wanted; one that was not is tried once more when it is evicted. A copy holds a
// share of its blocks. What cannot be copied, or not in time, is dropped and counted: it will be
// computed again. Not thread safe: the engine's loop uses it. No call blocks.
class LaneOffload {
 public:
  // A memory whose blocks are kept.
  struct Pool {
    MemorySpace space;
    KvBlockPool* blocks = nullptr;
  };
  struct Env {
    TransferManager* transfer = nullptr;
    Metrics* metrics = nullptr;
  };

  // What the tier takes at most.
  static int64_t Bytes(const KvOptions& options) { return options.offload_memory_mb << 20; }
  // On any thread. INVALID_ARGUMENT: kv.offload_memory_mb holds no block, there is no such
  // kv.offload_numa_node, or there is no prefix cache to be below of. RESOURCE_EXHAUSTED: the
  // memory cannot be had. The tier keeps blocks as the first pool does. A memory that keeps them
  // otherwise, or that no path connects with the tier, is left out, and the log says so.
  static absl::StatusOr<std::unique_ptr<LaneOffload>> Create(const std::string& model,
                                                             const KvOptions& options,
                                                             std::vector<Pool> pools, Env env);
  // Ends what is being copied. On any thread where it is not busy.
  ~LaneOffload();
  LaneOffload(const LaneOffload&) = delete;
  LaneOffload& operator=(const LaneOffload&) = delete;

  // ---- Out

  // A block that is full, of one of the pools: `key` names the text up to its end, `tokens` are its
  // own.
  void Store(int pool, const KvOffloadTier::Name& name, KvBlockRef block);
  // It is about to be given back: its copy is the one used last, or it is copied now.
  void OnEvicted(int pool, const KvOffloadTier::Name& name, KvBlockRef block);
  // The block's text was used until now.
  void Touch(KvChainKey key) { tier_->Touch(key); }
  // Ends a pool's copies, so that only others hold its blocks. False where there were none.
  bool DropStores(int pool);
  // Goes on with copying. Often, while busy().
  void Poll(TimeUs now_us);
  bool busy() const;

  // ---- Back

  // Whole blocks of a text behind those that are at hand.
  struct Text {
    std::string_view tenant;
    std::span<const KvChainKey> keys;
    std::span<const TokenId> tokens;  // [keys * block_tokens]
  };
  // How many of them are to be brought back into the pool, from the first one on: those that are
  // there, or none where so many are not worth it.
  int32_t Count(int pool, const Text& text, absl::FunctionRef<bool(int32_t)> worth) const;
  // How long it is expected to take to bring blocks back; nothing: not known for sure.
  std::optional<double> ReloadUs(int pool, int32_t blocks) const;

  // Blocks on their way back.
  struct Reload {
    std::vector<OffloadSlot> slots;
    std::optional<HandoffId> handoff;
  };
  // Keeps them from eviction; at most `blocks_max`, perhaps none.
  Reload Hold(const Text& text, int32_t blocks_max);
  // Begins to copy what is held into as many blocks of a pool. On an error nothing is held.
  absl::Status Post(Reload& reload, int pool, std::span<const KvBlockRef> blocks, TimeUs now_us);
  // Nothing: it is being copied. How it went where it is done; after an error, which comes within a
  // lease, what the blocks hold is undefined. Nothing is held then.
  std::optional<absl::StatusOr<HandoffReport>> Check(Reload& reload, TimeUs now_us);
  void Cancel(Reload& reload);

  const std::shared_ptr<const OffloadStatus>& status() const { return public_status_; }

 private:
  struct Item {
    OffloadSlot slot;
    KvBlockRef block;
  };
  struct Lane {
    Pool pool;
    std::optional<MemorySpace> tier_space;  // as its paths know it; nothing: none connects them
    std::deque<Item> waiting;
    std::vector<Item> copying;
    HandoffId handoff;
  };

  LaneOffload(std::string model, std::unique_ptr<KvOffloadTier> tier, std::vector<Lane> lanes,
              Env env, std::shared_ptr<OffloadStatus> status);
  void Reserve(Lane& lane, const KvOffloadTier::Name& name, KvBlockRef block);
  void BeginCopy(Lane& lane, TimeUs now_us);
  void PollCopy(Lane& lane, TimeUs now_us);
  void EndCopy(Lane& lane, const absl::Status& status);
  void ReleaseSlots(Reload& reload);
  void Update();

  const std::string model_;
  const std::unique_ptr<KvOffloadTier> tier_;
  std::vector<Lane> lanes_;  // by pool
  const Env env_;
  const std::shared_ptr<OffloadStatus> status_;
  const std::shared_ptr<const OffloadStatus> public_status_;
  const size_t copy_blocks_max_;

  struct Handles {
    prometheus::Counter *stored, *reloaded, *evicted, *dropped, *failed, *hits, *misses, *slower,
        *bytes_out, *bytes_back;
    prometheus::Gauge* used;
  };
  const Handles metrics_;
  int64_t evicted_told_ = 0;
};

}  // namespace baton
