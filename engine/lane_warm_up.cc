#include "engine/lane_warm_up.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr std::chrono::seconds kStepMax{60};
constexpr int kRuns = 2;

// Steps of one job. All positions of all sequences are in one block: what is read there was written
// by some step, so it is a number, and what comes of it is nobody's.
class Steps {
 public:
  Steps(const WarmUpJob& job, KvBlockRef block)
      : job_(job), block_(job.blocks->Data(block)), layout_(job.blocks->layout()) {}

  absl::Status Prompt(int32_t tokens) {
    LlmItem item = ItemOf(0, tokens);
    item.work_class = WorkClass::kPrefill;
    item.position = 0;
    item.tokens.assign(static_cast<size_t>(tokens), 0);
    std::vector<LlmItem> items;
    items.push_back(std::move(item));
    return Run(std::move(items));
  }
  absl::Status Decodes(const DecodeShape& shape) {
    std::vector<LlmItem> items;
    for (int32_t i = 0; i < shape.sequences; ++i) items.push_back(ItemOf(i, shape.positions));
    return Run(std::move(items));
  }

 private:
  LlmItem ItemOf(int32_t sequence, int32_t positions) const {
    LlmItem item;
    item.slot = SlotId(job_.first_slot + sequence);
    item.position = positions - 1;
    const int32_t blocks = (positions + layout_.block_tokens - 1) / layout_.block_tokens;
    item.blocks.assign(static_cast<size_t>(blocks), block_);
    item.sample = true;
    return item;
  }

  absl::Status Run(std::vector<LlmItem> items) {
    // Shared with the answer, which may come after this has given up.
    const auto answer = std::make_shared<std::promise<absl::Status>>();
    std::future<absl::Status> status = answer->get_future();
    job_.skill->Execute({.model = job_.model, .layout = layout_, .items = std::move(items)},
                        [answer](const LlmBatchResult& result) {
                          absl::Status of = result.status;
                          for (const LlmBatchResult::Item& item : result.items) {
                            of.Update(item.status);
                          }
                          answer->set_value(std::move(of));
                        });
    if (status.wait_for(kStepMax) != std::future_status::ready) {
      return absl::DeadlineExceededError(
          StrCat("a step did not come back within ", kStepMax.count(), " s"));
    }
    return status.get();
  }

  const WarmUpJob& job_;
  std::byte* const block_;
  const KvLayout& layout_;
};

}  // namespace

absl::StatusOr<int32_t> WarmUp(const WarmUpJob& job,
                               absl::FunctionRef<bool(int32_t done, int32_t all)> go_on) {
  WarmUpSteps wanted = job.skill->StepsToWarmUp(*job.model);
  std::vector<DecodeShape>& shapes = wanted.decodes;
  if (shapes.empty()) return 0;
  for (DecodeShape& shape : shapes) {
    shape.sequences = std::min(shape.sequences, job.sequences_max);
    shape.positions = std::min(shape.positions, job.model->shape().context_tokens);
  }
  shapes.erase(std::unique(shapes.begin(), shapes.end()), shapes.end());
  int32_t slots = 1;
  for (const DecodeShape& shape : shapes) slots = std::max(slots, shape.sequences);
  ASSIGN_OR_RETURN(const KvBlockRef block, job.blocks->Allocate());
  for (int32_t i = 0; i < slots; ++i) {
    SlotSetup setup;
    setup.sampler.params.temperature = 0;
    setup.sampler.generated = {0};  // a decode goes on from it
    job.skill->OpenSlot(SlotId(job.first_slot + i), std::move(setup));
  }
  Steps steps(job, block);
  // The block whole, then as many tokens as a step may have, or gain by it.
  const int32_t block_tokens = job.blocks->layout().block_tokens;
  const int32_t prompt_max =
      std::min({job.chunk_tokens_max, job.model->shape().context_tokens, wanted.prompt_tokens_max});
  std::vector<int32_t> prompts = {std::min(block_tokens, prompt_max)};
  if (prompt_max > prompts.front()) prompts.push_back(prompt_max);
  const auto all = static_cast<int32_t>(prompts.size() + kRuns * shapes.size());
  int32_t done = 0;
  absl::Status status;
  const auto next = [&] {
    if (!status.ok()) return false;
    if (!go_on(done++, all)) status = absl::CancelledError("the daemon is shutting down");
    return status.ok();
  };
  for (const int32_t tokens : prompts) {
    if (next()) status = steps.Prompt(tokens);
  }
  for (const DecodeShape& shape : shapes) {
    for (int run = 0; run < kRuns; ++run) {
      if (next()) status = steps.Decodes(shape);
    }
  }
  for (int32_t i = 0; i < slots; ++i) job.skill->CloseSlot(SlotId(job.first_slot + i));
  if (!absl::IsDeadlineExceeded(status)) job.blocks->Free(block);
  RETURN_IF_ERROR(status);
  return all;
}

}  // namespace baton
