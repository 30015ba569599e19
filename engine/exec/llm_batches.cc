#include "engine/exec/llm_batches.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/thread_name.h"
#include "engine/model/logprobs.h"

namespace baton {
namespace {

bool AllFinite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

bool HasPrompts(const LlmBatch& batch) {
  return std::any_of(batch.items.begin(), batch.items.end(),
                     [](const LlmItem& item) { return item.work_class == WorkClass::kPrefill; });
}

}  // namespace

LlmBatches::LlmBatches(Options options, const Clock& clock, Forward forward)
    : options_(std::move(options)),
      clock_(clock),
      forward_(std::move(forward)),
      commands_(std::numeric_limits<size_t>::max()),
      thread_([this] { ThreadMain(); }) {}

LlmBatches::~LlmBatches() {
  stopping_ = true;
  commands_.Close();
  thread_.join();
}

void LlmBatches::OpenSlot(SlotId slot, SlotSetup setup) {
  commands_.Push(Open{.slot = slot, .setup = std::move(setup)});
}

void LlmBatches::CloseSlot(SlotId slot) { commands_.Push(Close{.slot = slot}); }

void LlmBatches::Execute(LlmBatch batch, absl::AnyInvocable<void(LlmBatchResult)> done) {
  if (++batches_ > options_.queue_batches) {
    --batches_;
    LlmBatchResult refused;
    refused.status =
        absl::ResourceExhaustedError(StrCat("the ", options_.device, "'s language model queue is ",
                                            "full: ", options_.queue_batches, " batches"));
    done(std::move(refused));
    return;
  }
  commands_.Push(
      Batch{.batch = std::move(batch), .done = std::move(done), .queued_us = clock_.NowUs()});
}

void LlmBatches::ThreadMain() {
  NameThread("llm");
  options_.placement.Bind({.index = 0, .count = options_.threads});
  while (std::optional<Command> command = NextCommand()) Obey(*command);
}

std::optional<LlmBatches::Command> LlmBatches::NextCommand() {
  if (waiting_.empty()) return commands_.Pop();
  std::optional<Command> next(std::move(waiting_.front()));
  waiting_.pop_front();
  return next;
}

void LlmBatches::Obey(Command& command) {
  if (auto* open = std::get_if<Open>(&command)) {
    const std::vector<TokenId>& generated = open->setup.sampler.generated;
    slots_.insert_or_assign(
        open->slot,
        Slot{.sampler = Sampler(open->setup.sampler),
             .logprobs = open->setup.logprobs,
             .last_token = generated.empty() ? std::nullopt : std::optional(generated.back())});
  } else if (auto* close = std::get_if<Close>(&command)) {
    slots_.erase(close->slot);
  } else {
    RunBatch(std::get<Batch>(command));
  }
}

void LlmBatches::RunBatch(Batch& batch) {
  LlmBatchResult result;
  const TimeUs start_us = clock_.NowUs();
  Course course{.start_us = start_us, .point_us = start_us};
  if (!batch.batch.overtakes) stretch_us_ = start_us;
  result.status =
      stopping_
          ? absl::CancelledError(StrCat("the ", options_.device, " executor is shutting down"))
          : Run(batch.batch, course, &result);
  if (!result.status.ok()) result.items.clear();
  result.times = {.queue_us = start_us - batch.queued_us,
                  .run_us = clock_.NowUs() - start_us - course.paused_us};
  --batches_;
  batch.batch.model.reset();  // with the last answer the model may go
  batch.done(std::move(result));
}

void LlmBatches::Pause(const LlmBatch& batch, Course& course) {
  if (!batch.pause_after_us) return;
  const TimeUs now_us = clock_.NowUs();
  course.parts_us[course.parts % 2] = now_us - course.point_us;
  // What comes next is of the kind of the part before the last.
  const TimeUs next_us = course.parts_us[course.parts == 0 ? 0 : (course.parts + 1) % 2];
  ++course.parts;

  std::ranges::move(commands_.PopAll(/*wait_us=*/0), std::back_inserter(waiting_));
  int64_t steps = 0;
  bool prompts = false;
  bool overtaken = false;
  for (const Command& command : waiting_) {
    const auto* other = std::get_if<Batch>(&command);
    if (other == nullptr) continue;
    if (other->batch.pause_after_us) {
      overtaken = overtaken || other->batch.overtakes;
    } else {
      ++steps;
      prompts = prompts || HasPrompts(other->batch);
    }
  }
  const TimeUs after_us = behind_prompts_ ? 0 : *batch.pause_after_us;
  if (steps > 0 && (prompts || now_us - stretch_us_ + next_us >= after_us)) {
    ObeyWaiting(steps, [](const LlmBatch& other) { return !other.pause_after_us; });
    behind_prompts_ = prompts;
    stretch_us_ = clock_.NowUs();
  }
  const TimeUs ran_us = now_us - course.start_us - course.paused_us;
  if (overtaken && !batch.overtakes && ran_us >= course.overtaken_us) {
    const TimeUs begin_us = clock_.NowUs();
    ObeyWaiting(1, [](const LlmBatch& other) { return other.overtakes; });
    course.overtaken_us += clock_.NowUs() - begin_us;
  }
  course.point_us = clock_.NowUs();
  course.paused_us += course.point_us - now_us;
}

void LlmBatches::ObeyWaiting(int64_t count, bool (*such)(const LlmBatch& batch)) {
  while (count > 0) {
    const auto next = std::ranges::find_if(waiting_, [such](const Command& command) {
      const auto* const batch = std::get_if<Batch>(&command);
      return batch == nullptr || such(batch->batch);
    });
    if (std::holds_alternative<Batch>(*next)) --count;
    Command command = std::move(*next);
    waiting_.erase(next);  // first: others that run meanwhile look through them, too
    Obey(command);
  }
}

absl::StatusOr<LlmBatches::Gathered> LlmBatches::GatherItems(const LlmBatch& batch) const {
  Gathered gathered;
  std::vector<TokenId>& decode_tokens = gathered.decode_tokens;
  size_t count = 0;
  for (const LlmItem& item : batch.items) count += 1 + item.tokens.size();
  decode_tokens.reserve(count);  // the items point into it
  gathered.items.reserve(batch.items.size());
  for (const LlmItem& item : batch.items) {
    const auto slot = slots_.find(item.slot);
    if (slot == slots_.end()) {
      return absl::InternalError(StrCat("slot ", item.slot.value(), " is not open"));
    }
    ForwardItem forward{.tokens = item.tokens,
                        .generated = item.generated,
                        .position = item.position,
                        .blocks = item.blocks,
                        .logits = static_cast<int32_t>(item.score.size()) + (item.sample ? 1 : 0),
                        .deterministic = item.deterministic};
    if (item.work_class == WorkClass::kDecode) {
      const std::optional<TokenId> last = slot->second.last_token;
      if (!last) {
        return absl::InternalError(
            StrCat("slot ", item.slot.value(), " has no token to continue from"));
      }
      const size_t first = decode_tokens.size();
      decode_tokens.push_back(*last);
      decode_tokens.insert(decode_tokens.end(), item.tokens.begin(), item.tokens.end());
      forward.tokens = std::span(decode_tokens).subspan(first);
      forward.generated = static_cast<int32_t>(forward.tokens.size());
      if (item.sample) forward.logits = static_cast<int32_t>(forward.tokens.size());
    }
    if (item.sample && forward.logits == 1) {
      forward.sampling = slot->second.sampler.plain();
      forward.logprobs = slot->second.logprobs;
    }
    gathered.items.push_back(forward);
  }
  return gathered;
}

absl::Status LlmBatches::Run(const LlmBatch& batch, Course& course, LlmBatchResult* result) {
  ASSIGN_OR_RETURN(const Gathered gathered, GatherItems(batch));
  for (const LlmItem& item : batch.items) {
    result->items.push_back({.sequence = item.sequence, .tokens = {}});
  }
  Answers answers(*this, batch, course, *result);
  RETURN_IF_ERROR(forward_(*batch.model, batch.layout, gathered.items, answers));
  RETURN_IF_ERROR(answers.status_);
  for (size_t i = 0; i < batch.items.size(); ++i) {
    const std::vector<TokenId>& sampled = result->items[i].tokens;
    if (!sampled.empty()) slots_.at(batch.items[i].slot).last_token = sampled.back();
  }
  return absl::OkStatus();
}

void LlmBatches::Answers::OnLogits(size_t i, std::span<const float> logits) {
  const LlmItem& item = batch_.items[i];
  LlmBatchResult::Item& of_item = result_.items[i];
  const std::vector<TokenId>& sampled = of_item.tokens;
  // Behind a wrong guess, or a text's end, stands a text that nobody wrote.
  if (of_item.complete || !of_item.status.ok()) return;
  if (!sampled.empty() && sampled.back() != item.tokens[sampled.size() - 1]) return;
  if (!AllFinite(logits)) {
    status_.Update(absl::InternalError(
        StrCat("model ", batch_.model->name(), " gave logits that are not finite")));
    return;
  }
  of_.TakeLogits(item, logits, of_item);
}

void LlmBatches::Answers::OnToken(size_t i, ChosenToken chosen) {
  of_.slots_.at(batch_.items[i].slot).sampler.TakeChosen(chosen.token, chosen.random_state);
  result_.items[i].tokens.push_back(chosen.token);
  if (chosen.logprobs.has_value()) {
    result_.items[i].logprobs.push_back(*std::move(chosen.logprobs));
  }
}

void LlmBatches::Answers::OnLayers(int32_t layers) {
  if (batch_.layers_done != nullptr) batch_.layers_done->store(layers, std::memory_order_release);
}

void LlmBatches::TakeLogits(const LlmItem& item, std::span<const float> logits,
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

}  // namespace baton
