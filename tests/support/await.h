#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
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
template <class Base, class Result>
class RecordingSink : public Base {
 public:
  struct Outcome {
    absl::Status status;
    Result result;
  };
  void OnTokens(TokenChunk chunk) override {
    for (const TokenId id : chunk.ids) ids.push_back(id);
    text += chunk.text;
    ++chunks;
  }
  void OnFinished(absl::Status status, Result result) override {
    finished.set_value({std::move(status), std::move(result)});
  }
  Outcome Wait() { return Await(finished.get_future()); }

  std::atomic<int> chunks{0};
  std::vector<TokenId> ids;  // read after Wait()
  std::string text;

 private:
  std::promise<Outcome> finished;  // a second OnFinished would throw
};

class GenerateRecorder final : public RecordingSink<TokenSink, GenerateResult> {};

class AskRecorder final : public RecordingSink<AskSink, AskResult> {
 public:
  void OnRetrieved(std::vector<Passage> found) override { passages = std::move(found); }
  std::vector<Passage> passages;
};

}  // namespace baton
