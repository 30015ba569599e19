#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "engine/base/address.h"

struct ssl_ctx_st;

namespace baton {

struct HttpRequest {
  std::string method;                                        // "GET"
  std::string path;                                          // without the query; not decoded
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;

  // The first header of this lower-case name; empty where there is none.
  std::string_view Header(std::string_view name) const;
};

struct HttpReply {
  int code = 200;
  std::string_view type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string_view, std::string>> headers = {};  // beside the usual ones
  std::string body = {};
};

// One request's way out. All but Post() are for the connection's strand alone: within the handler,
// and within jobs that were posted. After the end, or where the client is gone, they do nothing.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  // Runs the job on the connection's strand. Thread safe, never blocks; after the server has
  // stopped the job is dropped.
  virtual void Post(absl::AnyInvocable<void()> job) = 0;

  // The whole answer.
  virtual void Reply(HttpReply reply) = 0;
  // Or in pieces: its head (`body` is its first piece), any number of pieces, the end.
  virtual void Begin(HttpReply head) = 0;
  virtual void Write(std::string_view bytes) = 0;
  virtual void End() = 0;
  // What was written and has not been taken by the socket.
  virtual size_t unsent_bytes() const = 0;

  // `closed` is called once where the client goes before the end, `room` whenever everything
  // written has been taken. Both on the strand; both are forgotten with the end.
  struct Watch {
    std::function<void()> closed;
    std::function<void()> room;
  };
  virtual void SetWatch(Watch watch) = 0;
};

// HTTP/1.1 (and 1.0) on Boost.Beast's parser: a few threads serve any number of connections, none
// waits for a client, so one that reads or writes slowly costs its own connection alone, and one
// that goes is noticed while its answer is still being computed. Refused by themselves: a head
// above kHeadBytesMax (431), a body above body_bytes_max (413), what is not HTTP (400). A
// connection is closed where its head takes longer than 10 s, its body 60 s, where it is idle for
// 60 s or takes no byte of an answer for 30 s. Where connections_max is reached, the one that has
// waited longest for a request gives way to the next; where all have one, the next gets 503.
class HttpServer {
 public:
  static constexpr int kHeadBytesMax = 16 << 10;

  struct Options {
    Address address;
    int threads = 2;
    int64_t connections_max = 1024;
    int64_t body_bytes_max = 16 << 20;
    // On a strand; must not block.
    std::function<void(HttpRequest, std::shared_ptr<HttpExchange>)> handler;
    // The body and type of an answer that the server gives by itself; thread safe.
    std::function<HttpReply(int code, std::string_view message)> refusal;
    // What new connections are encrypted with, asked for each of them; null: nothing.
    std::function<std::shared_ptr<ssl_ctx_st>()> tls = nullptr;
  };

  // UNAVAILABLE: the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Open(Options options);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // The address with the port that was bound.
  const Address& address() const;
  // Takes no more connections, waits a moment for answers that are being written, and ends its
  // threads. No handler, job or watch runs afterwards; all are forgotten.
  void Stop();

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace baton
