#include "server/stream_writer.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "baton/v1/inference.pb.h"
#include "tests/support/eventually.h"

namespace baton {
namespace {

using Message = v1::GenerateResponse;
using Writer = StreamWriter<Message>;

bool Coalesce(Message& last, const Message& next) {
  if (!last.has_tokens() || !next.has_tokens()) return false;
  last.mutable_tokens()->mutable_ids()->MergeFrom(next.tokens().ids());
  last.mutable_tokens()->mutable_text()->append(next.tokens().text());
  return true;
}

Message Token(int32_t id, const std::string& text) {
  Message message;
  message.mutable_tokens()->add_ids(id);
  message.mutable_tokens()->set_text(text);
  return message;
}

Message Finished(const std::string& model) {
  Message message;
  message.mutable_finished()->set_model(model);
  return message;
}

std::string Text(const Message& message) {
  return message.has_tokens() ? message.tokens().text() : "<" + message.finished().model() + ">";
}

// A transport whose writes are done when the test says so.
class FakePort final : public MessagePort<Message> {
 public:
  void Write(const Message& message) override { Note(Text(message), &message); }
  void WriteLast(const Message& message) override { Note(Text(message) + " OK", nullptr); }
  void End(const absl::Status& status) override { Note(status.ToString(), nullptr); }

  std::vector<std::string> calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  bool Reached(size_t count) const {
    return Eventually([&] { return calls().size() >= count; });
  }
  // The message being written has not been touched meanwhile.
  bool InFlightUnchanged() const {
    const std::lock_guard lock(mutex_);
    return in_flight_ != nullptr && Text(*in_flight_) == calls_.back();
  }

 private:
  void Note(std::string call, const Message* message) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
    in_flight_ = message;
  }
  mutable std::mutex mutex_;
  std::vector<std::string> calls_;
  const Message* in_flight_ = nullptr;
};

struct Fixture {
  FakePort port;
  WriterPool pool{2};
  std::atomic<int> given_up{0};
  std::shared_ptr<Writer> Make(int64_t pending_bytes_max = 1000) {
    return std::make_shared<Writer>(port, pool,
                                    Writer::Options{.pending_bytes_max = pending_bytes_max,
                                                    .coalesce = Coalesce,
                                                    .give_up = [this] { ++given_up; }});
  }
};

using Calls = std::vector<std::string>;

TEST_CASE("messages go out one at a time, in order") {
  Fixture f;
  const auto writer = f.Make();
  writer->PushTokens(Token(1, "a"));
  REQUIRE(f.port.Reached(1));
  writer->OnWriteDone(true);
  writer->PushTokens(Token(2, "b"));
  REQUIRE(f.port.Reached(2));
  writer->OnWriteDone(true);
  writer->Push(Finished("m"));
  REQUIRE(f.port.Reached(3));
  writer->OnWriteDone(true);
  writer->End(absl::OkStatus());
  REQUIRE(f.port.Reached(4));
  CHECK(f.port.calls() == Calls{"a", "b", "<m>", "OK"});
}

TEST_CASE("what a slow reader leaves becomes one message, and the last write carries the end") {
  Fixture f;
  const auto writer = f.Make();
  writer->PushTokens(Token(1, "a"));
  REQUIRE(f.port.Reached(1));
  for (const char* text : {"b", "c", "d"}) writer->PushTokens(Token(2, text));
  writer->Push(Finished("m"));
  writer->End(absl::OkStatus());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(f.port.calls() == Calls{"a"});  // one write in flight
  CHECK(f.port.InFlightUnchanged());
  writer->OnWriteDone(true);
  REQUIRE(f.port.Reached(2));
  writer->OnWriteDone(true);
  REQUIRE(f.port.Reached(3));
  CHECK(f.port.calls() == Calls{"a", "bcd", "<m> OK"});
}

TEST_CASE("a request that fails delivers its tokens, then its status") {
  Fixture f;
  const auto writer = f.Make();
  writer->PushTokens(Token(1, "a"));
  writer->End(absl::DeadlineExceededError("late"));
  REQUIRE(f.port.Reached(1));
  writer->OnWriteDone(true);
  REQUIRE(f.port.Reached(2));
  CHECK(f.port.calls() == Calls{"a", "DEADLINE_EXCEEDED: late"});
}

TEST_CASE("a stream without a message ends with its status alone") {
  Fixture f;
  f.Make()->End(absl::NotFoundError("no"));
  REQUIRE(f.port.Reached(1));
  CHECK(f.port.calls() == Calls{"NOT_FOUND: no"});
}

TEST_CASE("beyond its bound a stream is given up once, with RESOURCE_EXHAUSTED") {
  Fixture f;
  const auto writer = f.Make(100);
  writer->PushTokens(Token(1, "a"));
  REQUIRE(f.port.Reached(1));
  for (int i = 0; i < 50; ++i) writer->PushTokens(Token(i, "0123456789"));
  CHECK(f.given_up == 1);
  writer->End(absl::CancelledError("by give_up"));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(f.port.calls() == Calls{"a"});  // the write in flight is waited for
  writer->OnWriteDone(true);
  REQUIRE(f.port.Reached(2));
  CHECK(f.port.calls().back() ==
        "RESOURCE_EXHAUSTED: the reader is too slow: more than server.stream_pending_bytes_max = "
        "100 bytes are waiting to be read");
}

TEST_CASE("few large messages are not held against the bound") {
  Fixture f;
  const auto writer = f.Make(100);
  writer->Push(Finished(std::string(1000, 'm')));
  writer->PushTokens(Token(1, "a"));
  CHECK(f.given_up == 0);
}

TEST_CASE("a broken transport drops what is left and still waits for the request's end") {
  Fixture f;
  const auto writer = f.Make();
  writer->PushTokens(Token(1, "a"));
  REQUIRE(f.port.Reached(1));
  writer->PushTokens(Token(2, "b"));
  writer->OnWriteDone(false);
  writer->PushTokens(Token(3, "c"));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(f.port.calls() == Calls{"a"});
  writer->End(absl::OkStatus());
  REQUIRE(f.port.Reached(2));
  CHECK(f.port.calls() == Calls{"a", "CANCELLED: the client went away"});
}

// A transport that answers at once, from its own thread, as gRPC does.
class EchoPort final : public MessagePort<Message> {
 public:
  void Write(const Message& message) override {
    text_ += message.tokens().text();
    ++writes_;
    if (in_flight_.exchange(true)) overlapped_ = true;
    std::thread([this] {
      in_flight_ = false;
      writer->OnWriteDone(true);
    }).detach();
  }
  void WriteLast(const Message& message) override {
    text_ += message.tokens().text();
    End(absl::OkStatus());
  }
  void End(const absl::Status& status) override {
    status_ = status;
    ended_ = true;
  }

  std::shared_ptr<Writer> writer;
  std::string text_;
  int writes_ = 0;
  std::atomic<bool> in_flight_{false};
  std::atomic<bool> overlapped_{false};
  absl::Status status_;
  std::atomic<bool> ended_{false};
};

TEST_CASE("many streams under load lose nothing and never write twice at once") {
  constexpr int kStreams = 8;
  constexpr int kTokens = 500;
  WriterPool pool(3);
  std::vector<std::unique_ptr<EchoPort>> ports;
  for (int i = 0; i < kStreams; ++i) {
    ports.push_back(std::make_unique<EchoPort>());
    ports.back()->writer = std::make_shared<Writer>(
        *ports.back(), pool,
        Writer::Options{.pending_bytes_max = 1 << 20, .coalesce = Coalesce, .give_up = [] {}});
  }
  std::string expected;
  for (int t = 0; t < kTokens; ++t) {
    expected += std::to_string(t) + " ";
    for (const auto& port : ports) port->writer->PushTokens(Token(t, std::to_string(t) + " "));
  }
  for (const auto& port : ports) port->writer->End(absl::OkStatus());
  for (const auto& port : ports) {
    REQUIRE(Eventually([&] { return port->ended_.load(); }));
    CHECK(port->text_ == expected);
    CHECK_FALSE(port->overlapped_);
    CHECK(port->status_.ok());
    CHECK(port->writes_ <= kTokens);
  }
  // The last detached threads are done with the ports.
  REQUIRE(Eventually([&] {
    for (const auto& port : ports) {
      if (port->writer.use_count() > 1 || port->in_flight_) return false;
    }
    return true;
  }));
}

}  // namespace
}  // namespace baton
