#include "server/openai_generation.h"

#include <chrono>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/base/strings.h"
#include "server/openai_errors.h"
#include "server/openai_replies.h"

namespace baton {
namespace {

// A stream's events wait in the call, where tokens are merged, rather than in the connection, once
// so much is unsent there.
constexpr size_t kUnsentBytesMax = 64 << 10;
// What a token takes in memory beside its text.
constexpr int64_t kTokenBytes = 16;
constexpr int64_t kLogprobBytes = 64;

int64_t WaitingBytes(const std::vector<TokenId>& ids, const std::string& text,
                     const std::vector<TokenLogprobs>& logprobs) {
  int64_t bytes = std::ssize(text) + std::ssize(ids) * kTokenBytes;
  for (const TokenLogprobs& token : logprobs) bytes += kLogprobBytes * (1 + std::ssize(token.top));
  return bytes;
}

// Puts the prompt's first token, which follows on nothing and has no log probability, before the
// others of the first piece. Its text is what they leave of the piece's; where they spell more than
// that, what is too much is the space that tokenizers put before a text.
void AddFirstToken(const PromptChunk& chunk, OpenAiChoice& choice) {
  size_t others = 0;
  for (const OpenAiChoice::Token& token : choice.tokens) {
    others += token.logprobs.token.text.size();
  }
  OpenAiChoice::Token first{.has_logprob = false};
  first.logprobs.token.id = chunk.ids[0];
  if (others <= chunk.text.size()) {
    first.logprobs.token.text = chunk.text.substr(0, chunk.text.size() - others);
  } else if (std::string& next = choice.tokens[0].logprobs.token.text; next.starts_with(' ')) {
    next.erase(0, 1);
  }
  choice.tokens.insert(choice.tokens.begin(), std::move(first));
}

// A call from its requests' submission to the end of its answer. Push() and CancelAll() are
// thread safe; all else is for the connection's strand.
class Generation final : public std::enable_shared_from_this<Generation> {
 public:
  Generation(GenerationCall call, const GenerationRequest& request)
      : context_(std::move(call.context)),
        exchange_(std::move(call.exchange)),
        grant_(std::move(call.grant)),
        scope_(context_->metrics, call.rpc),
        stream_(request.stream),
        include_usage_(request.include_usage),
        logprobs_(request.logprobs.has_value()) {
    const int32_t n = request.requests[0].completions;
    completions_ = n;
    running_ = std::ssize(request.requests);
    choices_.resize(request.requests.size() * static_cast<size_t>(n));
    offsets_.resize(choices_.size());
    begun_.resize(choices_.size());
    for (size_t i = 0; i < choices_.size(); ++i) choices_[i].index = static_cast<int64_t>(i);
    header_ = {.chat = request.chat,
               .id = StrCat(request.chat ? "chatcmpl-" : "cmpl-", Hex(context_->id_salt),
                            Hex(context_->next_id++)),
               .created = std::chrono::duration_cast<std::chrono::seconds>(
                              std::chrono::system_clock::now().time_since_epoch())
                              .count(),
               .model = request.requests[0].model};
  }

  void Start(std::vector<GenerateRequest> requests);

 private:
  // What the engine says of one of the prompts.
  struct Event {
    size_t prompt;
    std::variant<PromptChunk, TokenChunk, GenerateResult, absl::Status> what;
  };

  class Sink final : public TokenSink {
   public:
    Sink(std::shared_ptr<Generation> call, size_t prompt)
        : call_(std::move(call)), prompt_(prompt) {}
    void OnPrompt(PromptChunk chunk) override {
      const int64_t bytes = WaitingBytes(chunk.ids, chunk.text, chunk.logprobs);
      call_->Push({prompt_, std::move(chunk)}, bytes);
    }
    void OnTokens(TokenChunk chunk) override {
      const int64_t bytes = WaitingBytes(chunk.ids, chunk.text, chunk.logprobs);
      call_->Push({prompt_, std::move(chunk)}, bytes);
    }
    void OnCompletion(GenerateResult result) override {
      call_->Push({prompt_, std::move(result)}, 0);
    }
    void OnFinished(absl::Status status) override { call_->Push({prompt_, std::move(status)}, 0); }

   private:
    const std::shared_ptr<Generation> call_;
    const size_t prompt_;
  };

  static std::string Hex(uint64_t value) {
    char digits[17];
    for (int i = 15; i >= 0; --i, value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
    return std::string(digits, 16);
  }

  void Push(Event event, int64_t bytes);
  static bool Merge(Event& last, Event& next);
  void CancelAll();
  void Pump();

  void Handle(size_t prompt, PromptChunk chunk);
  void Handle(size_t prompt, TokenChunk chunk);
  void Handle(size_t prompt, const GenerateResult& result);
  void Handle(size_t prompt, const absl::Status& status);
  void Add(OpenAiChoice added);
  void BeginStream();
  void Fail(const absl::Status& status);
  void Finish();
  void End(absl::StatusCode code);

  const std::shared_ptr<OpenAiContext> context_;
  const std::shared_ptr<HttpExchange> exchange_;
  const Access::Grant grant_;
  RpcScope scope_;
  const bool stream_;
  const bool include_usage_;
  const bool logprobs_;
  OpenAiHeader header_;
  int32_t completions_ = 1;  // of each prompt

  // ---- of the strand
  int64_t running_ = 0;                // requests that have not ended
  std::vector<OpenAiChoice> choices_;  // by prompt, then completion; so far
  std::vector<int64_t> offsets_;       // of each, characters that its tokens spell so far
  std::vector<bool> begun_;            // of each, whether the stream has named its role
  OpenAiUsage usage_;
  bool stream_begun_ = false;
  bool over_ = false;  // answered, or nobody is there to be

  std::mutex mutex_;  // guards what follows
  std::vector<RequestId> ids_;
  bool cancelled_ = false;
  std::deque<Event> events_;
  int64_t event_bytes_ = 0;  // of those that there are many of
  bool too_slow_ = false;    // the reader: what was waiting for it is gone
  bool pump_posted_ = false;
};

void Generation::Start(std::vector<GenerateRequest> requests) {
  exchange_->SetWatch({.closed =
                           [self = shared_from_this()] {
                             self->End(absl::StatusCode::kCancelled);
                             self->CancelAll();
                           },
                       .room = [self = shared_from_this()] { self->Pump(); }});
  for (size_t i = 0; i < requests.size(); ++i) {
    const absl::StatusOr<RequestId> id = context_->door.Submit(
        std::move(requests[i]),
        std::static_pointer_cast<TokenSink>(std::make_shared<Sink>(shared_from_this(), i)));
    if (!id.ok()) return Fail(id.status());
    const std::lock_guard lock(mutex_);
    ids_.push_back(*id);
  }
}

// The next thing the engine says. On its loop thread.
void Generation::Push(Event event, int64_t bytes) {
  bool give_up = false;
  bool post = false;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_ && bytes > 0) return;
    if (stream_ && event_bytes_ + bytes > context_->stream_pending_bytes_max) {
      give_up = too_slow_ = true;
      events_.clear();
      event_bytes_ = 0;
    } else {
      event_bytes_ += bytes;
      // An answer in one piece is of no interest before its end.
      const bool wake = stream_ || std::holds_alternative<absl::Status>(event.what);
      if (events_.empty() || !Merge(events_.back(), event)) events_.push_back(std::move(event));
      if (!wake) return;
    }
    post = !std::exchange(pump_posted_, true);
  }
  if (give_up) CancelAll();
  if (!post) return;
  exchange_->Post([self = shared_from_this()] {
    {
      const std::lock_guard lock(self->mutex_);
      self->pump_posted_ = false;
    }
    self->Pump();
  });
}

// Tokens of one completion that follow each other become one event.
bool Generation::Merge(Event& last, Event& next) {
  auto* tokens = std::get_if<TokenChunk>(&last.what);
  auto* more = std::get_if<TokenChunk>(&next.what);
  if (tokens == nullptr || more == nullptr || last.prompt != next.prompt ||
      tokens->index != more->index) {
    return false;
  }
  tokens->ids.insert(tokens->ids.end(), more->ids.begin(), more->ids.end());
  tokens->text += more->text;
  tokens->logprobs.insert(tokens->logprobs.end(), std::make_move_iterator(more->logprobs.begin()),
                          std::make_move_iterator(more->logprobs.end()));
  return true;
}

void Generation::CancelAll() {
  std::vector<RequestId> ids;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    ids = ids_;
  }
  for (const RequestId id : ids) context_->door.Cancel(id);
}

void Generation::Pump() {
  std::deque<Event> events;
  bool too_slow;
  {
    const std::lock_guard lock(mutex_);
    // Until there is room, tokens are merged here.
    if (over_ || (stream_ && exchange_->unsent_bytes() > kUnsentBytesMax)) return;
    events.swap(events_);
    event_bytes_ = 0;
    too_slow = too_slow_;
  }
  if (too_slow) {
    return Fail(absl::ResourceExhaustedError(
        StrCat("the reader is too slow: more than server.stream_pending_bytes_max = ",
               context_->stream_pending_bytes_max, " bytes are waiting to be read")));
  }
  for (Event& event : events) {
    if (over_) return;
    std::visit([&](auto& what) { Handle(event.prompt, std::move(what)); }, event.what);
  }
}

void Generation::Handle(size_t prompt, PromptChunk chunk) {
  // Every completion of the prompt begins with it.
  for (int32_t i = 0; i < completions_; ++i) {
    OpenAiChoice added{.index = static_cast<int64_t>(prompt) * completions_ + i,
                       .text = chunk.text};
    for (const TokenLogprobs& token : chunk.logprobs) added.tokens.push_back({.logprobs = token});
    if (logprobs_ && chunk.ids.size() == chunk.logprobs.size() + 1) AddFirstToken(chunk, added);
    Add(std::move(added));
  }
}

void Generation::Handle(size_t prompt, TokenChunk chunk) {
  OpenAiChoice added{.index = static_cast<int64_t>(prompt) * completions_ + chunk.index,
                     .text = std::move(chunk.text)};
  for (TokenLogprobs& token : chunk.logprobs) {
    added.tokens.push_back({.logprobs = std::move(token)});
  }
  Add(std::move(added));
}

void Generation::Handle(size_t prompt, const GenerateResult& result) {
  header_.model = result.model;
  usage_.completion_tokens += result.generated_tokens;
  if (result.index == 0) {  // the prompt is read for each completion, and counts once
    usage_.prompt_tokens += result.prompt_tokens;
    usage_.cached_prompt_tokens += result.cached_prompt_tokens;
  }
  Add({.index = static_cast<int64_t>(prompt) * completions_ + result.index,
       .finish_reason = std::string(FinishReasonOf(result.reason))});
}

void Generation::Handle(size_t, const absl::Status& status) {
  if (!status.ok()) return Fail(status);
  if (--running_ == 0) Finish();
}

// Appends to a choice, or sends what is added.
void Generation::Add(OpenAiChoice added) {
  const auto i = static_cast<size_t>(added.index);
  added.text_offset = offsets_[i];
  for (const OpenAiChoice::Token& token : added.tokens) {
    offsets_[i] += CharactersOf(token.logprobs.token.text);
  }
  if (!stream_) {
    OpenAiChoice& choice = choices_[i];
    choice.text += added.text;
    choice.tokens.insert(choice.tokens.end(), std::make_move_iterator(added.tokens.begin()),
                         std::make_move_iterator(added.tokens.end()));
    if (!added.finish_reason.empty()) choice.finish_reason = std::move(added.finish_reason);
    return;
  }
  BeginStream();
  added.begins = header_.chat && !begun_[i];
  begun_[i] = true;
  // Tokens whose text is held back say nothing by themselves.
  if (!added.begins && added.text.empty() && added.finish_reason.empty() &&
      (added.tokens.empty() || !logprobs_)) {
    return;
  }
  exchange_->Write(ChunkEvent(header_, added, logprobs_, include_usage_));
}

void Generation::BeginStream() {
  if (std::exchange(stream_begun_, true)) return;
  exchange_->Begin(
      {.type = "text/event-stream; charset=utf-8", .headers = {{"X-Accel-Buffering", "no"}}});
}

void Generation::Fail(const absl::Status& status) {
  CancelAll();
  if (stream_begun_) {
    exchange_->Write(ErrorEvent(status));
    exchange_->Write(kDoneEvent);
    exchange_->End();
  } else {
    exchange_->Reply(OpenAiError(status));
  }
  End(status.code());
}

void Generation::Finish() {
  if (stream_) {
    BeginStream();
    if (include_usage_) exchange_->Write(UsageEvent(header_, usage_));
    exchange_->Write(kDoneEvent);
    exchange_->End();
  } else {
    exchange_->Reply(
        {.type = "application/json", .body = AnswerJson(header_, choices_, logprobs_, usage_)});
  }
  End(absl::StatusCode::kOk);
}

void Generation::End(absl::StatusCode code) {
  if (std::exchange(over_, true)) return;
  scope_.set_code(code);
}

}  // namespace

void StartGeneration(GenerationCall call, GenerationRequest request) {
  std::make_shared<Generation>(std::move(call), request)->Start(std::move(request.requests));
}

}  // namespace baton
