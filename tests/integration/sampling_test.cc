// What a Generate may ask of its text, over the wire: stops, penalties, biases, log probabilities,
// the echo, several completions.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/integration/client.h"
#include "tests/support/gguf_writer.h"

namespace baton {
namespace {

std::vector<std::string> FlagsOf(const TempFile& model) {
  return {"--model=tiny=" + model.path(), "--executors.gpu.enabled=off",
          "--executors.fpga.enabled=off"};
}

// Everything that a stream brings, per completion.
struct Completion {
  std::vector<int32_t> ids;
  std::string text;
  std::vector<v1::TokenLogprobs> logprobs;
  v1::GenerateFinished finished;
  bool is_finished = false;
};
struct Stream {
  grpc::Status status;
  Completion prompt;
  std::map<int32_t, Completion> completions;
};

template <class Message>
void Add(const Message& message, Completion& completion) {
  completion.ids.insert(completion.ids.end(), message.ids().begin(), message.ids().end());
  completion.text += message.text();
  completion.logprobs.insert(completion.logprobs.end(), message.logprobs().begin(),
                             message.logprobs().end());
}

Stream Read(const Client& client, const v1::GenerateRequest& request) {
  CallContext context;
  const auto reader = client.inference->Generate(&context, request);
  Stream stream;
  v1::GenerateResponse event;
  while (reader->Read(&event)) {
    switch (event.event_case()) {
      case v1::GenerateResponse::kPrompt:
        REQUIRE(stream.completions.empty());
        Add(event.prompt(), stream.prompt);
        break;
      case v1::GenerateResponse::kTokens: {
        Completion& completion = stream.completions[event.tokens().index()];
        REQUIRE_FALSE(completion.is_finished);
        Add(event.tokens(), completion);
        break;
      }
      default:
        REQUIRE(event.has_finished());
        Completion& completion = stream.completions[event.finished().index()];
        REQUIRE_FALSE(completion.is_finished);
        completion.is_finished = true;
        completion.finished = event.finished();
    }
  }
  stream.status = reader->Finish();
  return stream;
}

Completion ReadOne(const Client& client, const v1::GenerateRequest& request) {
  Stream stream = Read(client, request);
  REQUIRE_RPC_OK(stream.status);
  REQUIRE(stream.completions.size() == 1);
  REQUIRE(stream.completions.begin()->second.is_finished);
  return stream.completions.at(0);
}

TEST_CASE("every field of a generation arrives and does what it says") {
  const TempFile model(RandomModelBytes({.context_tokens = 256}));
  Daemon daemon(FlagsOf(model));
  const Client client(daemon);
  const v1::GenerateRequest plain = GenerateOf("the cat sat on", 40);
  const Completion all = ReadOne(client, plain);
  REQUIRE(all.ids.size() == 40);
  REQUIRE(all.text.size() > 20);

  SECTION("stop, include_stop") {
    v1::GenerateRequest request = plain;
    const std::string stop = all.text.substr(10, 5);
    const size_t first = all.text.find(stop);
    request.add_stop("nowhere to be found");
    request.add_stop(stop);
    const Completion stopped = ReadOne(client, request);
    CHECK(stopped.text == all.text.substr(0, first));
    CHECK(stopped.finished.reason() == v1::FINISH_REASON_STOP_STRING);
    CHECK(stopped.finished.stop_string() == stop);
    CHECK(stopped.finished.generated_tokens() < 40);
    request.set_include_stop(true);
    CHECK(ReadOne(client, request).text == all.text.substr(0, first) + stop);
  }
  SECTION("stop_token_ids, min_tokens") {
    v1::GenerateRequest request = plain;
    request.add_stop_token_ids(all.ids[7]);
    const Completion stopped = ReadOne(client, request);
    CHECK(stopped.ids.size() <= 7);
    CHECK(stopped.finished.reason() == v1::FINISH_REASON_STOP_TOKEN);
    CHECK(stopped.finished.stop_case() == v1::GenerateFinished::kStopToken);
    CHECK(stopped.finished.stop_token() == all.ids[7]);
    request.set_include_stop(true);
    CHECK(ReadOne(client, request).ids.back() == all.ids[7]);
    request.set_include_stop(false);
    request.set_min_tokens(20);
    const Completion later = ReadOne(client, request);
    CHECK(later.ids.size() >= 20);
    CHECK(std::count(later.ids.begin(), later.ids.end(), all.ids[7]) == 0);
  }
  SECTION("logit_bias") {
    v1::GenerateRequest request = plain;
    (*request.mutable_sampling()->mutable_logit_bias())[277] = 100;
    CHECK(ReadOne(client, request).ids == std::vector<int32_t>(40, 277));
    (*request.mutable_sampling()->mutable_logit_bias())[277] = -100;
    const Completion without = ReadOne(client, request);
    CHECK(std::count(without.ids.begin(), without.ids.end(), 277) == 0);
  }
  SECTION("penalties") {
    v1::GenerateRequest request = plain;
    (*request.mutable_sampling()->mutable_logit_bias())[277] = 100;
    (*request.mutable_sampling()->mutable_logit_bias())[278] = 99;
    const auto ids = [&] { return ReadOne(client, request).ids; };
    request.mutable_sampling()->set_presence_penalty(2);
    const std::vector<int32_t> present = ids();
    CHECK(present[0] == 277);
    CHECK(std::count(present.begin(), present.end(), 278) > 0);
    request.mutable_sampling()->clear_presence_penalty();
    request.mutable_sampling()->set_frequency_penalty(2);
    const std::vector<int32_t> frequent = ids();
    CHECK(std::abs(std::count(frequent.begin(), frequent.end(), 277) -
                   std::count(frequent.begin(), frequent.end(), 278)) <= 6);
    request.mutable_sampling()->clear_frequency_penalty();
    request.mutable_sampling()->set_repetition_penalty(1.5f);
    request.mutable_sampling()->set_penalty_last_n(1);
    const std::vector<int32_t> repeated = ids();  // the last one is out of the question
    for (size_t i = 0; i < 40; ++i) CHECK(repeated[i] == (i % 2 == 0 ? 277 : 278));
    request.mutable_sampling()->set_penalty_last_n(0);
    CHECK(ids() == std::vector<int32_t>(40, 277));
  }
  SECTION("logprobs, echo") {
    v1::GenerateRequest request = plain;
    request.set_logprobs(2);
    request.set_echo(true);
    const Stream stream = Read(client, request);
    REQUIRE_RPC_OK(stream.status);
    const Completion& completion = stream.completions.at(0);
    CHECK(completion.ids == all.ids);
    REQUIRE(completion.logprobs.size() == 40);
    for (size_t i = 0; i < 40; ++i) {
      const v1::TokenLogprobs& logprobs = completion.logprobs[i];
      REQUIRE(logprobs.token().id() == all.ids[i]);
      REQUIRE(logprobs.top_size() == 2);
      CHECK(logprobs.top(0).id() == all.ids[i]);  // greedy
      CHECK(logprobs.top(0).logprob() == logprobs.token().logprob());
      CHECK(logprobs.top(1).logprob() <= logprobs.top(0).logprob());
      CHECK(logprobs.top(0).logprob() < 0);
    }
    CHECK(stream.prompt.text == "the cat sat on");
    CHECK(static_cast<int>(stream.prompt.ids.size()) == completion.finished.prompt_tokens());
    REQUIRE(stream.prompt.logprobs.size() == stream.prompt.ids.size() - 1);
    for (size_t i = 1; i < stream.prompt.ids.size(); ++i) {
      CHECK(stream.prompt.logprobs[i - 1].token().id() == stream.prompt.ids[i]);
    }
  }
  SECTION("n") {
    v1::GenerateRequest request = plain;
    request.mutable_sampling()->set_temperature(1.3f);
    request.mutable_sampling()->set_seed(11);
    const Completion alone = ReadOne(client, request);
    request.set_n(16);
    const Stream stream = Read(client, request);
    REQUIRE_RPC_OK(stream.status);
    REQUIRE(stream.completions.size() == 16);
    CHECK(stream.completions.at(0).ids == alone.ids);
    std::set<std::vector<int32_t>> different;
    for (const auto& [index, completion] : stream.completions) {
      CHECK(completion.is_finished);
      CHECK(completion.ids.size() == 40);
      CHECK(CheckedStages(completion.finished.timings()) ==
            std::vector<std::string>{"prefill", "handoff", "decode"});
      different.insert(completion.ids);
    }
    CHECK(different.size() == 16);
    request.set_n(1);
    request.mutable_sampling()->set_seed(stream.completions.at(9).finished.seed());
    CHECK(ReadOne(client, request).ids == stream.completions.at(9).ids);
  }
}

}  // namespace
}  // namespace baton
