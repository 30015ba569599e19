#include "engine/exec/cpu/cpu_llm.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/logprobs.h"

namespace baton {
namespace {

bool AllFinite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

}  // namespace

CpuLlm::CpuLlm(const CpuLlmOptions& options, const CpuKernels& kernels, const Clock& clock)
    : options_(options),
      kernels_(kernels),
      clock_(clock),
      team_(options.threads, options.placement),
      commands_(std::numeric_limits<size_t>::max()),
      thread_([this] { ThreadMain(); }) {}

CpuLlm::~CpuLlm() {
  stopping_ = true;
  commands_.Close();
  thread_.join();
}

int64_t CpuLlm::ModelBytes(const LanguageModel& model) const {
  return DecoderForward::Bytes(model, kernels_, options_.threads, options_.step_tokens_max);
}

absl::Status CpuLlm::LoadModel(std::shared_ptr<const LanguageModel> model) {
  const LanguageModel* const key = model.get();
  ThreadTeam packers(options_.threads,
                     options_.placement);  // batches of other models may use the team
  auto forward = std::make_unique<DecoderForward>(std::move(model), kernels_, team_,
                                                  options_.step_tokens_max, &packers);
  const std::lock_guard lock(models_mutex_);
  models_.try_emplace(key, std::move(forward));
  return absl::OkStatus();
}

void CpuLlm::UnloadModel(const LanguageModel& model) {
  std::unique_ptr<DecoderForward> forward;  // outlives the lock: freeing takes a while
  const std::lock_guard lock(models_mutex_);
  const auto found = models_.find(&model);
  if (found == models_.end()) return;
  forward = std::move(found->second);
  models_.erase(found);
}

bool CpuLlm::TellsPromptsApart(const LanguageModel& model) const {
  return DecoderForward::TellsPromptsApart(model, kernels_);
}

void CpuLlm::OpenSlot(SlotId slot, SlotSetup setup) {
  commands_.Push(Open{.slot = slot, .setup = std::move(setup)});
}

void CpuLlm::CloseSlot(SlotId slot) { commands_.Push(Close{.slot = slot}); }

void CpuLlm::Execute(LlmBatch batch, absl::AnyInvocable<void(LlmBatchResult)> done) {
  if (++batches_ > options_.queue_batches) {
    --batches_;
    LlmBatchResult refused;
    refused.status = absl::ResourceExhaustedError(
        StrCat("the CPU's language model queue is full: ", options_.queue_batches, " batches"));
    done(std::move(refused));
    return;
  }
  commands_.Push(
      Batch{.batch = std::move(batch), .done = std::move(done), .queued_us = clock_.NowUs()});
}

void CpuLlm::ThreadMain() {
  options_.placement.Bind({.index = 0, .count = options_.threads});
  while (std::optional<Command> command = commands_.Pop()) {
    if (auto* open = std::get_if<Open>(&*command)) {
      const std::vector<TokenId>& generated = open->setup.sampler.generated;
      slots_.insert_or_assign(
          open->slot,
          Slot{.sampler = Sampler(open->setup.sampler),
               .logprobs = open->setup.logprobs,
               .last_token = generated.empty() ? std::nullopt : std::optional(generated.back())});
    } else if (auto* close = std::get_if<Close>(&*command)) {
      slots_.erase(close->slot);
    } else {
      RunBatch(std::get<Batch>(*command));
    }
  }
}

void CpuLlm::RunBatch(Batch& batch) {
  LlmBatchResult result;
  const TimeUs start_us = clock_.NowUs();
  result.status = stopping_ ? absl::CancelledError("the CPU executor is shutting down")
                            : Forward(batch.batch, &result);
  if (!result.status.ok()) result.items.clear();
  result.times = {.queue_us = start_us - batch.queued_us, .run_us = clock_.NowUs() - start_us};
  --batches_;
  batch.batch.model.reset();  // with the last answer the model may go
  batch.done(std::move(result));
}

// The batch as the forward pass takes it: items_ and the tokens of its decodes.
absl::Status CpuLlm::GatherItems(const LlmBatch& batch) {
  items_.clear();
  decode_tokens_.clear();
  size_t decode_tokens = 0;
  for (const LlmItem& item : batch.items) decode_tokens += 1 + item.tokens.size();
  decode_tokens_.reserve(decode_tokens);  // items_ points into it
  for (const LlmItem& item : batch.items) {
    const auto slot = slots_.find(item.slot);
    if (slot == slots_.end()) {
      return absl::InternalError(StrCat("slot ", item.slot.value(), " is not open"));
    }
    ForwardItem forward{.tokens = item.tokens,
                        .generated = item.generated,
                        .position = item.position,
                        .blocks = item.blocks,
                        .logits = static_cast<int32_t>(item.score.size()) + (item.sample ? 1 : 0)};
    if (item.work_class == WorkClass::kDecode) {
      const std::optional<TokenId> last = slot->second.last_token;
      if (!last) {
        return absl::InternalError(
            StrCat("slot ", item.slot.value(), " has no token to continue from"));
      }
      const size_t first = decode_tokens_.size();
      decode_tokens_.push_back(*last);
      decode_tokens_.insert(decode_tokens_.end(), item.tokens.begin(), item.tokens.end());
      forward.tokens = std::span(decode_tokens_).subspan(first);
      forward.generated = static_cast<int32_t>(forward.tokens.size());
      if (item.sample) forward.logits = static_cast<int32_t>(forward.tokens.size());
    }
    items_.push_back(forward);
  }
  return absl::OkStatus();
}

absl::Status CpuLlm::Forward(const LlmBatch& batch, LlmBatchResult* result) {
  ASSIGN_OR_RETURN(DecoderForward* const forward, FindModel(batch.model.get()));
  RETURN_IF_ERROR(GatherItems(batch));
  for (const LlmItem& item : batch.items) {
    result->items.push_back({.sequence = item.sequence, .tokens = {}});
  }
  absl::Status status;
  RETURN_IF_ERROR(forward->Run(batch.layout, items_, [&](size_t i, std::span<const float> logits) {
    const LlmItem& item = batch.items[i];
    LlmBatchResult::Item& of_item = result->items[i];
    const std::vector<TokenId>& sampled = of_item.tokens;
    // Behind a wrong guess, or a text's end, stands a text that nobody wrote.
    if (of_item.complete || !of_item.status.ok()) return;
    if (!sampled.empty() && sampled.back() != item.tokens[sampled.size() - 1]) return;
    if (!AllFinite(logits)) {
      status.Update(absl::InternalError(
          StrCat("model ", batch.model->name(), " gave logits that are not finite")));
      return;
    }
    TakeLogits(item, logits, of_item);
  }));
  RETURN_IF_ERROR(status);
  for (size_t i = 0; i < batch.items.size(); ++i) {
    const std::vector<TokenId>& sampled = result->items[i].tokens;
    if (!sampled.empty()) slots_.at(batch.items[i].slot).last_token = sampled.back();
  }
  return absl::OkStatus();
}

void CpuLlm::TakeLogits(const LlmItem& item, std::span<const float> logits,
                        LlmBatchResult::Item& result) {
  Slot& slot = slots_.at(item.slot);
  const size_t scored = result.score_logprobs.size();
  if (scored < item.score.size()) {
    result.score_logprobs.push_back(
        LogprobsOf(logits, item.score[scored], slot.logprobs.value_or(0)));
    return;
  }
  const TokenId token = slot.sampler.Sample(logits);
  result.tokens.push_back(token);
  result.complete = slot.sampler.complete();
  result.status = slot.sampler.status();
  if (slot.logprobs.has_value()) {
    result.logprobs.push_back(LogprobsOf(logits, token, *slot.logprobs));
  }
}

absl::StatusOr<DecoderForward*> CpuLlm::FindModel(const LanguageModel* model) {
  const std::lock_guard lock(models_mutex_);
  const auto found = models_.find(model);
  if (found == models_.end()) {
    return absl::InternalError("a batch for a model that was not loaded into the CPU executor");
  }
  return found->second.get();
}

}  // namespace baton
