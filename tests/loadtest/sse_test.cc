#include "loadtest/sse.h"  // header under test

#include <catch2/catch.hpp>

namespace baton::load {
namespace {

constexpr const char* kChat =
    ": a comment\r\n\r\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"}}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\n"
    "data: [DONE]\n\n";

TEST_CASE("A streamed chat is read however the network cuts it") {
  const std::string text = kChat;
  for (size_t piece = 1; piece <= text.size(); piece += 7) {
    CAPTURE(piece);
    OpenAiStream stream;
    RequestRecord record;
    for (size_t at = 0; at < text.size(); at += piece) {
      REQUIRE(
          stream.Feed(std::string_view(text).substr(at, piece), static_cast<int64_t>(at), record));
    }
    CHECK(stream.done());
    CHECK_FALSE(stream.garbled());
    CHECK(record.tokens == 4);  // usage knows better than the number of chunks
    CHECK(record.prompt_tokens == 9);
    CHECK(record.gaps_ns.size() == 1);  // the role alone is no token
  }
}

TEST_CASE("A completion's text, errors within a stream and garbage are told apart") {
  OpenAiStream completion;
  RequestRecord record;
  REQUIRE(completion.Feed("data: {\"choices\":[{\"text\":\"a\"}]}\ndata: [DONE]\n", 5, record));
  CHECK(completion.done());
  CHECK(record.tokens == 1);
  CHECK(record.first_output_ns == 5);
  OpenAiStream error;
  REQUIRE(error.Feed("data: {\"error\":{\"message\":\"full\"}}\n", 5, record));
  CHECK(error.error() == "full");
  CHECK_FALSE(error.done());
  OpenAiStream garbage;
  REQUIRE(garbage.Feed("data: {\"choices\":\ndata: 4\n", 5, record));
  CHECK(garbage.garbled());
  OpenAiStream odd;
  REQUIRE(odd.Feed("data: {\"choices\":[4],\"usage\":{\"prompt_tokens\":\"x\"}}\n", 5, record));
  CHECK_FALSE(odd.garbled());
}

TEST_CASE("A line without end is not kept for ever") {
  OpenAiStream stream;
  RequestRecord record;
  const std::string mebibyte(1 << 20, 'x');
  bool taken = true;
  for (int i = 0; i < 20 && taken; ++i) taken = stream.Feed(mebibyte, 0, record);
  CHECK_FALSE(taken);
}

TEST_CASE("Bodies of errors are read for their message") {
  CHECK(OpenAiStream::ErrorOf("{\"error\":{\"message\":\"no model\"}}") == "no model");
  CHECK(OpenAiStream::ErrorOf("{\"error\":\"busy\"}") == "busy");
  CHECK(OpenAiStream::ErrorOf("<html>") == "<html>");
  CHECK(OpenAiStream::ErrorOf(std::string(9999, 'x')).size() == 500);
}

}  // namespace
}  // namespace baton::load
