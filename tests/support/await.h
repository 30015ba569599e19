#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/request/generate_request.h"
#include "engine/request/rag_request.h"
#include "tests/support/eventually.h"

namespace baton {

template <class T>
T Await(std::future<T> future) {
  REQUIRE(future.wait_for(kAwaitMax) == std::future_status::ready);
  return future.get();
}

// Calls `submit(done)` and waits for what `done` is called with, or for its error.
template <class T, class Submit>
absl::StatusOr<T> Call(Submit submit) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<T>>>();
  const absl::StatusOr<RequestId> id =
      submit([promise](absl::StatusOr<T> result) { promise->set_value(std::move(result)); });
  if (!id.ok()) return id.status();
  return Await(promise->get_future());
}

// Keeps everything a sink is told.
class GenerateRecorder final : public TokenSink {
 public:
  struct Completion {
    std::vector<TokenId> ids;
    std::string text;
    std::vector<TokenLogprobs> logprobs;
    GenerateResult result;
    bool ended = false;
  };
  struct Outcome {
    absl::Status status;
    GenerateResult result;  // of the first completion
  };
  void OnPrompt(PromptChunk chunk) override {
    early_prompt = early_prompt && chunks == 0;
    for (const TokenId id : chunk.ids) prompt.ids.push_back(id);
    prompt.text += chunk.text;
    for (TokenLogprobs& next : chunk.logprobs) prompt.logprobs.push_back(std::move(next));
  }
  void OnTokens(TokenChunk chunk) override {
    Completion& completion = completions[chunk.index];
    misplaced += completion.ended;
    for (const TokenId id : chunk.ids) completion.ids.push_back(id);
    completion.text += chunk.text;
    for (TokenLogprobs& next : chunk.logprobs) completion.logprobs.push_back(std::move(next));
    if (chunk.index == 0) {
      ids = completion.ids;
      text = completion.text;
    }
    ++chunks;
  }
  void OnCompletion(GenerateResult result) override {
    Completion& completion = completions[result.index];
    misplaced += completion.ended;
    completion.ended = true;
    completion.result = std::move(result);
  }
  void OnFinished(absl::Status status) override {
    finished.set_value({std::move(status), completions[0].result});
  }
  Outcome Wait() { return Await(finished.get_future()); }

  std::atomic<int> chunks{0};
  std::vector<TokenId> ids;  // of the first completion; read after Wait(), as what follows
  std::string text;
  std::map<int32_t, Completion> completions;
  PromptChunk prompt;
  bool early_prompt = true;  // no token came before the prompt
  int misplaced = 0;         // what came behind its completion's end

 private:
  std::promise<Outcome> finished;  // a second OnFinished would throw
};

class AskRecorder final : public AskSink {
 public:
  struct Answer {
    std::vector<TokenId> ids;
    std::string text;
    AskResult result;
    bool ended = false;
  };
  struct Outcome {
    absl::Status status;
    AskResult result;  // of the first answer
  };
  void OnRetrieved(std::vector<Passage> found) override {
    passages = std::move(found);
    ++retrieved;
  }
  void OnTokens(TokenChunk chunk) override {
    Answer& answer = answers[chunk.index];
    misplaced += answer.ended;
    for (const TokenId id : chunk.ids) answer.ids.push_back(id);
    answer.text += chunk.text;
    if (chunk.index == 0) {
      ids = answer.ids;
      text = answer.text;
    }
    ++chunks;
  }
  void OnAnswer(AskResult result) override {
    Answer& answer = answers[result.generated.index];
    misplaced += answer.ended;
    answer.ended = true;
    answer.result = std::move(result);
  }
  void OnFinished(absl::Status status) override {
    finished.set_value({std::move(status), answers[0].result});
  }
  Outcome Wait() { return Await(finished.get_future()); }

  std::atomic<int> chunks{0};
  std::vector<TokenId> ids;  // of the first answer; read after Wait(), as what follows
  std::string text;
  std::map<int32_t, Answer> answers;
  std::vector<Passage> passages;
  int retrieved = 0;
  int misplaced = 0;  // what came behind its answer's end

 private:
  std::promise<Outcome> finished;  // a second OnFinished would throw
};

}  // namespace baton
