#include "server/http_server.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <charconv>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>

#include "engine/base/log.h"
#include "engine/base/strings.h"
#include "engine/base/thread_name.h"

namespace baton {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

constexpr seconds kHeadTime{10};
constexpr seconds kBodyTime{60};
constexpr seconds kIdleTime{60};
constexpr seconds kWriteTime{30};
// How long a client that is still sending may take to notice that it was answered: closing at once
// would reset the connection, and the answer with it.
constexpr seconds kLingerTime{2};
constexpr milliseconds kStopTime{500};
constexpr milliseconds kAcceptPause{100};
constexpr size_t kReadBytes = 16 << 10;
// What a client may send ahead of the answer to its request before it is no longer read from.
constexpr size_t kAheadBytesMax = 64 << 10;

using TlsStream = asio::ssl::stream<tcp::socket>;
using Strand = asio::strand<asio::io_context::executor_type>;

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return lower;
}

// The path of a request's target, which may be a whole URL.
std::string PathOf(std::string_view target) {
  if (const size_t scheme = target.find("://"); !target.starts_with('/') && scheme != target.npos) {
    const size_t slash = target.find('/', scheme + 3);
    target = slash == target.npos ? std::string_view("/") : target.substr(slash);
  }
  return std::string(target.substr(0, target.find_first_of("?#")));
}

std::string HeadOf(const HttpReply& reply, bool keep_alive, std::string_view framing) {
  const auto reason = http::obsolete_reason(static_cast<http::status>(reply.code));
  std::string head = StrCat("HTTP/1.1 ", reply.code, " ",
                            std::string_view(reason.data(), reason.size()), "\r\n", framing);
  if (!reply.type.empty()) head += StrCat("Content-Type: ", reply.type, "\r\n");
  for (const auto& [name, value] : reply.headers) head += StrCat(name, ": ", value, "\r\n");
  head += StrCat("Cache-Control: no-store\r\nConnection: ", keep_alive ? "keep-alive" : "close",
                 "\r\n\r\n");
  return head;
}

// What the answer is to what the parser refuses; nothing where the client has gone.
struct Refusal {
  int code;
  std::string message;
};
Refusal RefusalOf(const error_code& error, const HttpServer::Options& options) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return {431, StrCat("the request's head is longer than ", HttpServer::kHeadBytesMax, " bytes")};
  }
  if (error == http::error::body_limit) {
    return {413, StrCat("the request's body is longer than server.http_body_bytes_max = ",
                        options.body_bytes_max, " bytes")};
  }
  if (error == http::error::bad_version) return {505, "the request is not HTTP/1.0 or HTTP/1.1"};
  return {400, StrCat("the request is not HTTP: ", error.message())};
}

// A connection as the server sees it.
class AnyConnection {
 public:
  virtual ~AnyConnection() = default;
  virtual void Close() = 0;  // thread safe, as the next
  virtual void FinishUp() = 0;
  virtual void CloseNow() = 0;  // on the strand, or when the threads have ended
  // Since when it has waited for a whole request; 0 while it has one.
  int64_t waiting_since() const { return waiting_since_; }

 protected:
  void SetWaiting(bool waiting) {
    waiting_since_ = waiting ? steady_clock::now().time_since_epoch().count() : 0;
  }

 private:
  std::atomic<int64_t> waiting_since_{0};
};

// All connections that are open. Thread safe.
class Registry {
 public:
  void Add(const AnyConnection* key, std::weak_ptr<AnyConnection> connection) {
    const std::lock_guard lock(mutex_);
    all_.emplace(key, std::move(connection));
  }
  void Remove(const AnyConnection* key) {
    const std::lock_guard lock(mutex_);
    all_.erase(key);
  }
  int64_t size() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(all_.size());
  }
  std::vector<std::shared_ptr<AnyConnection>> All() const {
    std::vector<std::shared_ptr<AnyConnection>> all;
    const std::lock_guard lock(mutex_);
    for (const auto& [key, weak] : all_) {
      if (auto connection = weak.lock()) all.push_back(std::move(connection));
    }
    return all;
  }
  // Closes the one that has waited longest. False: none waits.
  bool CloseOneThatWaits() const {
    std::shared_ptr<AnyConnection> longest;
    for (std::shared_ptr<AnyConnection>& connection : All()) {
      const int64_t since = connection->waiting_since();
      if (since == 0) continue;
      if (longest == nullptr || since < longest->waiting_since()) longest = std::move(connection);
    }
    if (longest == nullptr) return false;
    longest->Close();
    return true;
  }

 private:
  mutable std::mutex mutex_;
  std::map<const AnyConnection*, std::weak_ptr<AnyConnection>> all_;
};

// One connection: reads all the time, writes what there is, on a strand of its own. Kept alive by
// its pending reads, writes and exchanges.
template <class Stream>
class Connection final : public AnyConnection,
                         public std::enable_shared_from_this<Connection<Stream>> {
 public:
  Connection(Stream stream, Strand strand, const HttpServer::Options& options,
             std::shared_ptr<Registry> registry)
      : stream_(std::move(stream)),
        strand_(std::move(strand)),
        options_(options),
        registry_(std::move(registry)),
        deadline_(strand_) {}
  ~Connection() override { registry_->Remove(this); }

  // `refused`: it is there to be told so.
  void Start(bool refused) {
    registry_->Add(this, this->weak_from_this());
    asio::post(strand_, [self = this->shared_from_this(), refused] {
      error_code ignored;
      self->socket().set_option(tcp::no_delay(true), ignored);
      self->refused_ = refused;
      self->SetWaiting(!refused);
      self->ExpectWithin(kHeadTime);
      if constexpr (std::is_same_v<Stream, TlsStream>) {
        self->stream_.async_handshake(Stream::server,
                                      asio::bind_executor(self->strand_, [self](error_code error) {
                                        if (error) return self->CloseNow();
                                        self->Open();
                                      }));
      } else {
        self->Open();
      }
    });
  }

  void Close() override {
    asio::post(strand_, [self = this->shared_from_this()] { self->CloseNow(); });
  }

  // Ends after the answer that is under way, if one is.
  void FinishUp() override {
    asio::post(strand_, [self = this->shared_from_this()] {
      self->keep_alive_ = false;
      if (self->phase_ == Phase::kReading) self->CloseNow();
    });
  }

  void CloseNow() override {
    if (phase_ == Phase::kClosed) return;
    const bool was_serving = phase_ == Phase::kServing;
    phase_ = Phase::kClosed;
    SetWaiting(false);
    deadline_.cancel();
    error_code ignored;
    socket().close(ignored);
    const HttpExchange::Watch watch = std::exchange(watch_, {});
    if (was_serving && watch.closed) watch.closed();
  }

 private:
  enum class Phase { kReading, kServing, kLingering, kClosed };
  using Parser = http::request_parser<http::string_body>;

  // One request's end of the connection; outlived by it, or outlives it.
  class Exchange final : public HttpExchange {
   public:
    Exchange(std::shared_ptr<Connection> connection, uint64_t serial)
        : connection_(std::move(connection)), serial_(serial) {}
    void Post(absl::AnyInvocable<void()> job) override {
      // std::function-like handlers must be copyable for asio's older executors.
      auto shared = std::make_shared<absl::AnyInvocable<void()>>(std::move(job));
      asio::post(connection_->strand_, [shared] { (*shared)(); });
    }
    void Reply(HttpReply reply) override {
      if (IsCurrent()) connection_->Answer(std::move(reply));
    }
    void Begin(HttpReply head) override {
      if (IsCurrent()) connection_->BeginAnswer(std::move(head));
    }
    void Write(std::string_view bytes) override {
      if (IsCurrent()) connection_->WritePiece(bytes);
    }
    void End() override {
      if (IsCurrent()) connection_->EndAnswer();
    }
    size_t unsent_bytes() const override { return IsCurrent() ? connection_->unsent_bytes() : 0; }
    void SetWatch(Watch watch) override {
      if (IsCurrent()) connection_->watch_ = std::move(watch);
    }

   private:
    bool IsCurrent() const {
      return connection_->phase_ == Phase::kServing && connection_->serial_ == serial_ &&
             !connection_->complete_;
    }
    const std::shared_ptr<Connection> connection_;
    const uint64_t serial_;
  };

  tcp::socket& socket() {
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }

  // ---- reading

  void Open() {
    if (refused_) {
      return Refuse({503, StrCat("all server.http_connections_max = ", options_.connections_max,
                                 " connections are in use; retry later")});
    }
    NextRequest();
    Read();
  }

  void NextRequest() {
    phase_ = Phase::kReading;
    complete_ = false;
    head_seen_ = false;
    parser_.emplace();
    parser_->eager(true);
    parser_->header_limit(HttpServer::kHeadBytesMax);
    parser_->body_limit(static_cast<uint64_t>(options_.body_bytes_max));
  }

  void Read() {
    if (reading_ || phase_ == Phase::kClosed) return;
    if (phase_ == Phase::kServing && buffer_.size() > kAheadBytesMax) return;  // until it is served
    reading_ = true;
    stream_.async_read_some(buffer_.prepare(kReadBytes),
                            asio::bind_executor(strand_, [self = this->shared_from_this()](
                                                             error_code error, size_t bytes) {
                              self->reading_ = false;
                              self->OnRead(error, bytes);
                            }));
  }

  void OnRead(const error_code& error, size_t bytes) {
    if (phase_ == Phase::kClosed) return;
    if (error) return CloseNow();
    buffer_.commit(bytes);
    switch (phase_) {
      case Phase::kReading:
        if (idle_) {
          idle_ = false;
          ExpectWithin(kHeadTime);
        }
        Parse();
        break;
      case Phase::kLingering:
        buffer_.clear();
        break;
      case Phase::kServing:
      case Phase::kClosed:
        break;
    }
    Read();
  }

  void Parse() {
    while (phase_ == Phase::kReading && buffer_.size() > 0) {
      error_code error;
      const size_t used = parser_->put(buffer_.data(), error);
      buffer_.consume(used);
      if (error && error != http::error::need_more) return Refuse(RefusalOf(error, options_));
      if (parser_->is_header_done() && !std::exchange(head_seen_, true)) OnHead();
      if (parser_->is_done()) return Serve();
      if (error == http::error::need_more || used == 0) return;
    }
  }

  void OnHead() {
    ExpectWithin(kBodyTime);
    const auto expect = parser_->get()[http::field::expect];
    if (LowerCase({expect.data(), expect.size()}) == "100-continue" && !parser_->is_done()) {
      Enqueue("HTTP/1.1 100 Continue\r\n\r\n");
    }
  }

  void Serve() {
    http::request<http::string_body>& message = parser_->get();
    HttpRequest request;
    request.method = std::string(message.method_string().data(), message.method_string().size());
    request.path = PathOf({message.target().data(), message.target().size()});
    for (const auto& field : message) {
      request.headers.emplace_back(
          LowerCase({field.name_string().data(), field.name_string().size()}),
          std::string(field.value().data(), field.value().size()));
    }
    request.body = std::move(message.body());
    keep_alive_ = keep_alive_ && message.keep_alive();
    is_head_ = message.method() == http::verb::head;
    chunked_ = message.version() >= 11;
    parser_.reset();
    phase_ = Phase::kServing;
    ++serial_;
    SetWaiting(false);
    deadline_.cancel();
    options_.handler(std::move(request),
                     std::make_shared<Exchange>(this->shared_from_this(), serial_));
  }

  void Refuse(const Refusal& refusal) {
    phase_ = Phase::kServing;
    ++serial_;
    SetWaiting(false);
    keep_alive_ = false;
    is_head_ = false;
    Answer(options_.refusal(refusal.code, refusal.message));
  }

  // ---- writing

  void Answer(HttpReply reply) {
    std::string bytes =
        HeadOf(reply, keep_alive_, StrCat("Content-Length: ", reply.body.size(), "\r\n"));
    if (!is_head_) bytes += reply.body;
    complete_ = true;
    Enqueue(bytes);
  }

  void BeginAnswer(HttpReply head) {
    if (!chunked_) keep_alive_ = false;  // the end of the connection is the end of the answer
    std::string bytes = HeadOf(head, keep_alive_, chunked_ ? "Transfer-Encoding: chunked\r\n" : "");
    Enqueue(bytes);
    WritePiece(head.body);
  }

  void WritePiece(std::string_view bytes) {
    if (bytes.empty() || is_head_) return;
    if (!chunked_) return Enqueue(bytes);
    char size[20];
    const auto [end, ignored] = std::to_chars(size, size + sizeof(size), bytes.size(), 16);
    Enqueue(StrCat(std::string_view(size, static_cast<size_t>(end - size)), "\r\n", bytes, "\r\n"));
  }

  void EndAnswer() {
    complete_ = true;
    Enqueue(chunked_ && !is_head_ ? "0\r\n\r\n" : "");
  }

  size_t unsent_bytes() const { return pending_.size() + out_.size() - out_sent_; }

  void Enqueue(std::string_view bytes) {
    pending_ += bytes;
    if (!writing_) WriteSome();
  }

  void WriteSome() {
    if (out_sent_ == out_.size()) {
      out_.clear();
      out_sent_ = 0;
      std::swap(out_, pending_);
    }
    if (out_.empty()) return Written();
    writing_ = true;
    ExpectWithin(kWriteTime);
    stream_.async_write_some(asio::buffer(out_.data() + out_sent_, out_.size() - out_sent_),
                             asio::bind_executor(strand_, [self = this->shared_from_this()](
                                                              error_code error, size_t bytes) {
                               self->writing_ = false;
                               if (self->phase_ == Phase::kClosed) return;
                               if (error) return self->CloseNow();
                               self->out_sent_ += bytes;
                               self->WriteSome();
                             }));
  }

  // Everything there is has been taken.
  void Written() {
    if (phase_ == Phase::kReading) return ExpectWithin(kBodyTime);  // that was 100 Continue
    if (phase_ != Phase::kServing) return;
    if (!complete_) {
      deadline_.cancel();
      if (const std::function<void()> room = watch_.room) room();  // which may end the watch
      return;
    }
    watch_ = {};
    if (!keep_alive_) return Linger();
    NextRequest();
    SetWaiting(true);
    idle_ = true;
    ExpectWithin(kIdleTime);
    // Not from within: a client that sends many requests at once would be answered recursively.
    asio::post(strand_, [self = this->shared_from_this()] {
      if (self->phase_ != Phase::kReading) return;
      if (self->buffer_.size() > 0 && self->idle_) {
        self->idle_ = false;
        self->ExpectWithin(kHeadTime);
      }
      self->Parse();
      self->Read();
    });
  }

  void Linger() {
    phase_ = Phase::kLingering;
    error_code ignored;
    socket().shutdown(tcp::socket::shutdown_send, ignored);
    buffer_.clear();
    ExpectWithin(kLingerTime);
    Read();
  }

  // ---- ending

  void ExpectWithin(steady_clock::duration time) {
    deadline_.expires_after(time);
    deadline_.async_wait([self = this->shared_from_this()](error_code error) {
      // One that was set anew while this waited for the strand has not expired.
      if (!error && self->deadline_.expiry() <= steady_clock::now()) self->CloseNow();
    });
  }

  Stream stream_;
  const Strand strand_;
  const HttpServer::Options& options_;  // the server's, which outlives the io_context
  const std::shared_ptr<Registry> registry_;
  asio::steady_timer deadline_;
  beast::flat_buffer buffer_;  // read, not yet parsed
  std::optional<Parser> parser_;
  Phase phase_ = Phase::kReading;
  uint64_t serial_ = 0;  // of the exchange
  HttpExchange::Watch watch_;
  std::string out_;      // being written
  size_t out_sent_ = 0;  // of it
  std::string pending_;  // to be written next
  bool reading_ = false;
  bool writing_ = false;
  bool refused_ = false;
  bool idle_ = false;       // kept alive, nothing of a next request has come
  bool head_seen_ = false;  // of the request that is read
  bool keep_alive_ = true;
  bool is_head_ = false;   // its method is HEAD
  bool chunked_ = false;   // it understands chunks
  bool complete_ = false;  // its answer is written or waits to be
};

}  // namespace

std::string_view HttpRequest::Header(std::string_view name) const {
  for (const auto& [header, value] : headers) {
    if (header == name) return value;
  }
  return {};
}

struct HttpServer::Impl {
  explicit Impl(Options opened) : options(std::move(opened)) {}

  void Accept() {
    acceptor->async_accept(*io, [this](error_code error, tcp::socket socket) {
      if (stopping) return;
      if (error) {
        // Out of file descriptors, most likely: some come back when connections end.
        Log().warn("server.http_address: cannot take a connection: {}", error.message());
        pause->expires_after(kAcceptPause);
        pause->async_wait([this](error_code) {
          if (!stopping) Accept();
        });
        return;
      }
      Take(std::move(socket));
      Accept();
    });
  }

  void Take(tcp::socket socket) {
    bool refused = false;
    if (const int64_t open = registry->size(); open >= options.connections_max) {
      refused = !registry->CloseOneThatWaits();
      if (open >= 2 * options.connections_max) return;  // even of those to be told so
    }
    Strand strand(io->get_executor());
    if (options.tls != nullptr) {
      const std::shared_ptr<ssl_ctx_st> with = options.tls();
      if (with == nullptr) return;
      SSL_CTX_up_ref(with.get());
      asio::ssl::context context(with.get());  // takes that reference; the stream has its own
      std::make_shared<Connection<TlsStream>>(TlsStream(std::move(socket), context), strand,
                                              options, registry)
          ->Start(refused);
    } else {
      std::make_shared<Connection<tcp::socket>>(std::move(socket), strand, options, registry)
          ->Start(refused);
    }
  }

  const Options options;
  Address address;
  std::shared_ptr<Registry> registry = std::make_shared<Registry>();
  std::unique_ptr<asio::io_context> io;
  std::unique_ptr<tcp::acceptor> acceptor;
  std::unique_ptr<asio::steady_timer> pause;
  std::atomic<bool> stopping = false;
  std::vector<std::thread> threads;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { Stop(); }

const Address& HttpServer::address() const { return impl_->address; }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Open(Options options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  Impl& self = *impl;
  self.address = self.options.address;
  self.io = std::make_unique<asio::io_context>(self.options.threads);
  self.acceptor = std::make_unique<tcp::acceptor>(asio::make_strand(*self.io));
  self.pause = std::make_unique<asio::steady_timer>(self.acceptor->get_executor());

  error_code error;
  const auto ip = asio::ip::make_address(self.address.ip, error);
  const tcp::endpoint endpoint(ip, self.address.port);
  if (!error) self.acceptor->open(endpoint.protocol(), error);
  if (!error) self.acceptor->set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) self.acceptor->bind(endpoint, error);
  if (!error) self.acceptor->listen(asio::socket_base::max_listen_connections, error);
  if (!error) self.address.port = self.acceptor->local_endpoint(error).port();
  if (error) {
    return absl::UnavailableError(StrCat("cannot listen on ", self.options.address.ToString(),
                                         " (server.http_address): ", error.message()));
  }
  self.Accept();
  for (int i = 0; i < self.options.threads; ++i) {
    self.threads.emplace_back([&self, i] {
      NameThread("http", i);
      self.io->run();
    });
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

void HttpServer::Stop() {
  Impl& self = *impl_;
  if (self.io == nullptr) return;
  self.stopping = true;
  asio::post(self.acceptor->get_executor(), [&self] {
    error_code ignored;
    self.acceptor->close(ignored);
    self.pause->cancel();
  });
  for (const auto& connection : self.registry->All()) connection->FinishUp();
  const auto limit = steady_clock::now() + kStopTime;
  while (self.registry->size() > 0 && steady_clock::now() < limit) {
    std::this_thread::sleep_for(milliseconds(2));
  }
  self.io->stop();
  for (std::thread& thread : self.threads) thread.join();
  self.threads.clear();
  for (const auto& connection : self.registry->All()) connection->CloseNow();
  self.acceptor.reset();
  self.pause.reset();
  self.io.reset();  // with all that is posted, and so the connections
}

}  // namespace baton
