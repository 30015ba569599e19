// What a plan's batches are made of, and what comes of them: tokens for the client, blocks for the
// prefix cache, events for the scheduler.
#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/base/check.h"
#include "engine/llm_lane.h"

namespace baton {

void LlmLane::Submit(PlannedBatch planned, TimeUs now_us) {
  LlmSkill& skill = *env_.executors[static_cast<size_t>(planned.executor)]->llm();
  LlmBatch batch{.model = model_,
                 .layout = kv_->layout(kv_->PoolOf(planned.executor)),
                 .items = {},
                 .pause_after_us = planned.pause_after_us,
                 .overtakes = planned.overtakes};
  int64_t tokens = 0;
  for (const PlannedItem& item : planned.items) {
    Sequence& sequence = sequences_.at(item.sequence);
    const int32_t positions = item.position + item.tokens;
    Kv& kv = sequence.kv;
    while (int64_t{kv_->block_tokens(kv.pool)} * std::ssize(kv.blocks) < positions) {
      kv.blocks.push_back(kv_->Allocate(kv.pool));
    }
    LlmItem work{.sequence = item.sequence,
                 .slot = sequence.slot,
                 .work_class = item.work_class,
                 .position = item.position,
                 .tokens = {},
                 .generated = 0,
                 .blocks = {},
                 .sample = item.sample,
                 .score = {},
                 .deterministic = sequence.job.deterministic};
    ++sequence.batches_in_flight;
    if (item.work_class == WorkClass::kPrefill) {
      SetPrefill(sequence, item, work);
      if (item.sample && skill.TellsLayers() &&
          kv.pool != kv_->PoolOf(sequence.job.decode_executor)) {
        if (batch.layers_done == nullptr) {
          batch.layers_done = std::make_shared<std::atomic<int32_t>>(0);
        }
        sequence.layers_done = batch.layers_done;
      }
      if (sequence.usage.prefill_start_us == 0) sequence.usage.prefill_start_us = now_us;
    } else {
      work.tokens.assign(sequence.draft.begin(), sequence.draft.begin() + (item.tokens - 1));
      if (sequence.usage.decode_start_us == 0) sequence.usage.decode_start_us = now_us;
    }
    KvBlockPool& pool = kv_->blocks(kv.pool);
    for (const KvBlockRef block : kv.blocks) work.blocks.push_back(pool.Data(block));
    tokens += item.tokens;
    batch.items.push_back(std::move(work));
  }
  metrics_.step_tokens->Observe(static_cast<double>(tokens));

  const uint64_t ticket = env_.board->Begin(
      BegunOf(planned), [this, executor = planned.executor] { env_.fenced(executor); });
  skill.Execute(std::move(batch),
                [this, ticket, planned = std::move(planned)](LlmBatchResult result) {
                  env_.mailbox->Post([this, ticket, planned, result = std::move(result)]() mutable {
                    OnBatchDone(planned, ticket, std::move(result));
                  });
                });
}

ExecutorBoard::Begun LlmLane::BegunOf(const PlannedBatch& planned) const {
  const auto shape_of = [&](WorkClass work_class) {
    WorkShape shape{
        .items = 0, .batch = 0, .scale = static_cast<double>(model_->shape().parameters)};
    for (const PlannedItem& item : planned.items) {
      if (item.work_class != work_class) continue;
      shape.items += item.tokens;
      shape.batch += 1;
      shape.context += item.position;
    }
    shape.context /= std::max(1.0, shape.batch);
    return shape;
  };
  const WorkShape decodes = shape_of(WorkClass::kDecode);
  const WorkShape prompts = shape_of(WorkClass::kPrefill);
  ExecutorBoard::Begun begun{
      .executor = planned.executor, .work_class = WorkClass::kDecode, .shape = decodes};
  if (decodes.batch == 0) {
    begun.work_class = WorkClass::kPrefill;
    begun.shape = prompts;
  } else if (prompts.batch > 0) {
    begun.prompts = prompts;
  }
  return begun;
}

void LlmLane::SetPrefill(const Sequence& sequence, const PlannedItem& item, LlmItem& work) const {
  const auto first = sequence.text.begin() + item.position;
  work.tokens.assign(first, first + item.tokens);
  const LlmJob& job = sequence.job;
  const auto in_prompt =
      std::clamp(static_cast<int32_t>(job.prompt.size()) - item.position, 0, item.tokens);
  work.generated = item.tokens - in_prompt;
  if (job.on_prompt == nullptr || !job.logprobs) return;
  // Each token's logits tell of the one behind it, and the prompt's last one's are sampled from.
  const auto prompt_tokens = static_cast<int32_t>(job.prompt.size());
  const int32_t begin = std::max(item.position, sequence.echoed) + 1;
  const int32_t end = std::min(item.position + item.tokens + 1, prompt_tokens);
  if (begin < end) work.score.assign(job.prompt.begin() + begin, job.prompt.begin() + end);
}

void LlmLane::OnBatchDone(const PlannedBatch& planned, uint64_t ticket, LlmBatchResult result) {
  const TimeUs now_us = env_.clock->NowUs();
  // What a fenced device held has ended or gone elsewhere; here it just gives back what it held.
  Energy energy = env_.board->End(ticket, result.status, result.times).value_or(Energy());
  energy.joules /= static_cast<double>(planned.items.size());
  BatchCompletion completion{.executor = planned.executor,
                             .pausing = planned.pause_after_us.has_value(),
                             .overtakes = planned.overtakes,
                             .items = {},
                             .run_us = result.times.run_us};
  const bool fault = IsExecutorsFault(result.status);
  if (fault) Distrust(planned.executor);
  for (size_t i = 0; i < planned.items.size(); ++i) {
    const PlannedItem& item = planned.items[i];
    Sequence& sequence = sequences_.at(item.sequence);
    BatchCompletion::Item& done = completion.items.emplace_back();
    done.sequence = item.sequence;
    const bool prefill = item.work_class == WorkClass::kPrefill;
    (prefill ? completion.prompt_tokens : completion.decode_tokens) += item.tokens;
    BatchTimes& times = prefill ? sequence.usage.prefill : sequence.usage.decode;
    times.queue_us += result.times.queue_us;
    times.run_us += result.times.run_us;
    Energy& used = prefill ? sequence.usage.prefill_energy : sequence.usage.decode_energy;
    used.joules += energy.joules;
    used.measured = energy.measured;
    --sequence.batches_in_flight;
    if (item.sample) sequence.layers_done.reset();
    if (fault && !sequence.ended) {
      Recover(item.sequence, planned.executor, result.status);
    } else if (!result.status.ok()) {
      End(sequence, result.status);
    }
    if (sequence.ended) {  // failed, cancelled, expired, or computed beyond end-of-text
      done.ended = true;
      continue;
    }
    LlmBatchResult::Item& sampled = result.items[i];
    const std::vector<TokenId>& tokens = sampled.tokens;
    done.generated = static_cast<int32_t>(tokens.size());
    done.prefilled = prefill ? item.tokens : 0;
    Count(sequence, item, done.generated);
    if (prefill) Echo(sequence, item, std::move(sampled.score_logprobs));
    Append(sequence, tokens);
    // A decode fed the token before those that it gave, and of them all but the last.
    Cache(sequence, item.position + (prefill ? item.tokens : done.generated));
    if (!item.sample) continue;
    if (!sequence.job.keep.empty()) {
      Keep(item.sequence, now_us);
      done.ended = sequence.ended;
      if (sequence.ended) done.generated = 0;  // tells nothing of how long texts become
      continue;
    }
    const bool ended = Deliver(sequence, sampled, now_us);
    if (!ended && !sampled.status.ok()) {
      End(sequence, sampled.status);
    } else if (!ended) {
      done.draft = Draft(sequence, tokens);
      if (prefill) HandOver(item.sequence, now_us);
    }
    done.ended = sequence.ended;
  }
  events_.completed.push_back(std::move(completion));
}

void LlmLane::Count(Sequence& sequence, const PlannedItem& item, int32_t generated) {
  LlmUsage& usage = sequence.usage;
  const bool prefill = item.work_class == WorkClass::kPrefill;
  if (prefill) {
    const int32_t end =
        std::min(item.position + item.tokens, static_cast<int32_t>(sequence.job.prompt.size()));
    const int32_t fresh = std::max(0, end - sequence.prefilled);
    sequence.prefilled += fresh;
    usage.prefill_tokens += fresh;
    metrics_.prompt_tokens->Increment(fresh);
    metrics_.recomputed_tokens->Increment(item.tokens - fresh);
  }
  // The prompt gives the first token; what a preempted sequence's text gives is a decode's.
  if (generated == 0 || (prefill && sequence.generated_text().empty())) return;
  const int32_t guesses = prefill ? 0 : item.tokens - 1;
  const int32_t accepted = generated - 1;
  usage.decode_tokens += generated;
  ++usage.decode_steps;
  usage.draft_tokens += guesses;
  usage.draft_tokens_accepted += accepted;
  metrics_.draft_tokens->Increment(guesses);
  metrics_.accepted_tokens->Increment(accepted);
}

void LlmLane::SetTexts(TokenLogprobs& logprobs) const {
  const auto set = [this](TokenLogprob& token) {
    token.text = model_->tokenizer().TokenBytes(token.id, /*first=*/false);
  };
  set(logprobs.token);
  for (TokenLogprob& token : logprobs.top) set(token);
}

void LlmLane::Echo(Sequence& sequence, const PlannedItem& item,
                   std::vector<TokenLogprobs> logprobs) {
  LlmJob& job = sequence.job;
  if (job.on_prompt == nullptr) return;
  const int32_t begin = std::max(item.position, sequence.echoed);
  const int32_t end =
      std::min(item.position + item.tokens, static_cast<int32_t>(job.prompt.size()));
  if (begin >= end) return;  // computed again
  sequence.echoed = end;
  PromptChunk chunk{
      .ids = {job.prompt.begin() + begin, job.prompt.begin() + end}, .text = {}, .logprobs = {}};
  if (!sequence.prompt_decoder) sequence.prompt_decoder.emplace(model_->tokenizer());
  for (const TokenId token : chunk.ids) chunk.text += sequence.prompt_decoder->Push(token);
  if (item.sample) chunk.text += sequence.prompt_decoder->Finish();
  // Logits tell of the token behind them: those of a piece's first token came with the last piece.
  for (TokenLogprobs& next : logprobs) SetTexts(next);
  if (sequence.prompt_logprobs) chunk.logprobs.push_back(*std::move(sequence.prompt_logprobs));
  sequence.prompt_logprobs.reset();
  if (logprobs.size() == chunk.ids.size()) {
    sequence.prompt_logprobs = std::move(logprobs.back());
    logprobs.pop_back();
  }
  std::move(logprobs.begin(), logprobs.end(), std::back_inserter(chunk.logprobs));
  job.on_prompt(std::move(chunk));
}

bool LlmLane::Deliver(Sequence& sequence, const LlmBatchResult::Item& sampled, TimeUs now_us) {
  LlmJob& job = sequence.job;
  TokenChunk chunk{.ids = {}, .text = {}, .index = job.index, .logprobs = {}};
  std::optional<Ending> ending = Take(sequence, sampled, chunk);
  if (!chunk.ids.empty()) {
    const auto count = static_cast<int32_t>(chunk.ids.size());
    if (sequence.generated == 0) {
      sequence.first_token_us = now_us;
      metrics_.first_token->Observe(Seconds(now_us - job.arrived_us));
    } else {  // tokens of one step share its time
      const double each = Seconds(now_us - sequence.last_token_us) / count;
      for (int32_t i = 0; i < count; ++i) metrics_.inter_token->Observe(each);
    }
    sequence.last_token_us = now_us;
    sequence.generated += count;
    metrics_.generated_tokens->Increment(count);
    job.on_tokens(std::move(chunk));
  }
  if (!ending && sequence.generated >= job.max_tokens) ending = {.reason = job.reason_at_max};
  if (ending) End(sequence, absl::OkStatus(), *std::move(ending));
  return sequence.ended;
}

std::optional<LlmLane::Ending> LlmLane::Take(Sequence& sequence,
                                             const LlmBatchResult::Item& sampled,
                                             TokenChunk& chunk) const {
  const LlmJob& job = sequence.job;
  const auto add = [&](size_t i, bool may_stop) {
    const TokenId token = sampled.tokens[i];
    chunk.ids.push_back(token);
    chunk.text += sequence.scanner.Push(sequence.decoder.Push(token), may_stop);
    if (job.logprobs && i < sampled.logprobs.size()) {
      SetTexts(chunk.logprobs.emplace_back(sampled.logprobs[i]));
    }
  };
  for (size_t i = 0; i < sampled.tokens.size(); ++i) {
    const TokenId token = sampled.tokens[i];
    const bool may_stop = sequence.generated + std::ssize(chunk.ids) >= job.stop.min_tokens;
    if (may_stop && !job.ignore_eos && model_->tokenizer().IsEndOfText(token)) {
      return Ending{.reason = FinishReason::kStop, .stop = token};
    }
    const std::vector<TokenId>& stops = job.stop.tokens;
    if (may_stop && std::find(stops.begin(), stops.end(), token) != stops.end()) {
      if (job.stop.include) add(i, /*may_stop=*/false);
      return Ending{.reason = FinishReason::kStopToken, .stop = token};
    }
    add(i, may_stop);
    if (const std::optional<size_t> found = sequence.scanner.found()) {
      const std::string& stop = job.stop.strings[*found];
      if (job.stop.include) chunk.text += stop;
      return Ending{.reason = FinishReason::kStopString, .stop = stop};
    }
  }
  if (sampled.complete) return Ending{.reason = FinishReason::kStop, .stop = {}};
  return std::nullopt;
}

int32_t LlmLane::Draft(Sequence& sequence, std::span<const TokenId> tokens) {
  LookupDrafter& drafter = sequence.drafter;
  drafter.Append(tokens);
  sequence.draft.clear();
  if (!scheduler_.PlansDrafts(sequence.job.decode_executor)) return kPlanAhead;
  // Its next token is being computed: what is guessed now would come too late.
  if (sequence.batches_in_flight > 0 && drafter.pays()) return 0;
  sequence.draft = drafter.Draft(scheduler_.GuessShare(sequence.job.decode_executor));
  return drafter.pays() ? static_cast<int32_t>(sequence.draft.size()) : kPlanAhead;
}

}  // namespace baton
