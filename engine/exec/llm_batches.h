#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/base/thread_placement.h"
#include "engine/exec/executor.h"
#include "engine/exec/forward_item.h"
#include "engine/model/sampler.h"

namespace baton {

// What every executor's LlmSkill has in common: runs batches in order on one thread of its own, and
// holds in slots what a sequence carries from batch to batch, its sampler and its last token. The
// forward pass is the executor's.
//
// Where that pass can be paused, a batch with LlmBatch::pause_after_us lets others run on its way:
// those that do not pause when prompts have run so long since the last of them, but rather before
// the next part of the pass than after it, and as soon as one with prompts waits. Behind such a one
// the next need not wait longer than for a part, for what it waits for then has had that time.
//
// A batch beyond `queue_batches` gets RESOURCE_EXHAUSTED, from the calling thread; every other
// `done` comes from the thread here. A batch that fails leaves the slots as they were. Destruction
// finishes the running batch and answers the waiting ones with CANCELLED.
class LlmBatches {
  // Of a batch that runs.
  struct Course {
    TimeUs start_us = 0;
    TimeUs point_us = 0;      // when it could last have paused
    TimeUs paused_us = 0;     // in all
    TimeUs overtaken_us = 0;  // of these
    // Of its last parts between two such points, which alternate.
    TimeUs parts_us[2] = {};
    int64_t parts = 0;
  };

 public:
  struct Options {
    std::string device = "CPU";  // as messages name it
    int64_t queue_batches = 16;  // waiting or running
    // Of the thread, which is the first of so many.
    ThreadPlacement placement = {};
    int threads = 1;
  };

  // Where a forward pass puts what it found, for the running batch's items.
  class Answers {
   public:
    // logits: [vocabulary], after the item's next token whose logits are wanted.
    void OnLogits(size_t item, std::span<const float> logits);
    // In the place of logits, of an item with ForwardItem::sampling.
    void OnToken(size_t item, ChosenToken chosen);
    // Keys and values of the first `layers` layers are in the blocks. From any thread.
    bool asks_layers() const { return batch_.layers_done != nullptr; }
    void OnLayers(int32_t layers);
    // From the thread that called Forward, which may be called anew before this returns: nothing of
    // the pass is under way that another pass would touch.
    void OnPause() { of_.Pause(batch_, course_); }

   private:
    friend class LlmBatches;
    Answers(LlmBatches& of, const LlmBatch& batch, Course& course, LlmBatchResult& result)
        : of_(of), batch_(batch), course_(course), result_(result) {}
    LlmBatches& of_;
    const LlmBatch& batch_;
    Course& course_;
    LlmBatchResult& result_;
    absl::Status status_;
  };

  // Called on the thread, with one batch after another.
  using Forward =
      absl::AnyInvocable<absl::Status(const LanguageModel& model, const KvLayout& layout,
                                      std::span<const ForwardItem> items, Answers& answers)>;

  // `clock` outlives it.
  LlmBatches(Options options, const Clock& clock, Forward forward);
  ~LlmBatches();

  // As in LlmSkill.
  void OpenSlot(SlotId slot, SlotSetup setup);
  void CloseSlot(SlotId slot);
  void Execute(LlmBatch batch, absl::AnyInvocable<void(LlmBatchResult)> done);

  int32_t queue_depth() const { return batches_; }  // waiting and running

 private:
  struct Slot {
    Sampler sampler;
    std::optional<int32_t> logprobs;
    std::optional<TokenId> last_token;
  };
  struct Open {
    SlotId slot;
    SlotSetup setup;
  };
  struct Close {
    SlotId slot;
  };
  struct Batch {
    LlmBatch batch;
    absl::AnyInvocable<void(LlmBatchResult)> done;
    TimeUs queued_us = 0;
  };
  using Command = std::variant<Open, Close, Batch>;
  // A batch as the forward pass takes it.
  struct Gathered {
    std::vector<ForwardItem> items;
    std::vector<TokenId> decode_tokens;  // of its decodes, each: last token and guesses
  };
  void ThreadMain();
  std::optional<Command> NextCommand();
  void Obey(Command& command);
  // Obeys so many batches, of those that wait and are such, and what stands before them.
  void ObeyWaiting(int64_t count, bool (*such)(const LlmBatch& batch));
  void RunBatch(Batch& batch);
  absl::Status Run(const LlmBatch& batch, Course& course, LlmBatchResult* result);
  absl::StatusOr<Gathered> GatherItems(const LlmBatch& batch) const;
  // Of the batch that runs: lets others run if it is time.
  void Pause(const LlmBatch& batch, Course& course);
  // What the next logits of an item give.
  void TakeLogits(const LlmItem& item, std::span<const float> logits, LlmBatchResult::Item& result);

  const Options options_;
  const Clock& clock_;
  Forward forward_;

  // Slot commands travel with the batches, to keep their order; they are few and never refused.
  BoundedQueue<Command> commands_;
  std::atomic<int32_t> batches_{0};
  std::atomic<bool> stopping_{false};

  // Of the thread below only.
  std::unordered_map<SlotId, Slot> slots_;
  std::deque<Command> waiting_;  // taken from commands_, to be done first
  // Of batches that pause: since when no other has run, and whether that one had prompts.
  TimeUs stretch_us_ = 0;
  bool behind_prompts_ = false;

  std::thread thread_;  // last: starts when everything above is there
};

}  // namespace baton
