#include "tests/loadtest/scripted_http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "catch2/catch.hpp"

namespace baton::load {
namespace {

// The value of a header, as it came; empty: none.
std::string HeaderOf(const std::string& head, const std::string& name) {
  const size_t at = head.find("\r\n" + name + ": ");
  if (at == std::string::npos) return "";
  const size_t begin = at + 2 + name.size() + 2;
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

}  // namespace

ScriptedHttpServer::ScriptedHttpServer(Serve serve) : serve_(std::move(serve)) {
  listener_ = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  REQUIRE(bind(listener_, reinterpret_cast<sockaddr*>(&address), length) == 0);
  REQUIRE(listen(listener_, 64) == 0);
  REQUIRE(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  target_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  acceptor_ = std::thread([this] { Accept(); });
}

ScriptedHttpServer::~ScriptedHttpServer() {
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
  for (std::thread& handler : handlers_) handler.join();
}

void ScriptedHttpServer::Accept() {
  while (true) {
    const int connection = accept(listener_, nullptr, nullptr);
    if (connection < 0) return;
    std::lock_guard lock(mutex_);
    handlers_.emplace_back([this, connection] { Handle(connection); });
  }
}

void ScriptedHttpServer::Handle(int connection) {
  std::string text;
  char piece[4096];
  Request request;
  while (true) {
    const ssize_t count = recv(connection, piece, sizeof(piece), 0);
    if (count <= 0) {
      close(connection);  // one that only looked whether somebody is there
      return;
    }
    text.append(piece, static_cast<size_t>(count));
    const size_t end = text.find("\r\n\r\n");
    if (end == std::string::npos) continue;
    const std::string head = text.substr(0, end + 2);
    const size_t length = std::strtoul(HeaderOf(head, "Content-Length").c_str(), nullptr, 10);
    if (text.size() < end + 4 + length) continue;
    const size_t path = head.find(' ') + 1;
    request.path = head.substr(path, head.find(' ', path) - path);
    request.authorization = HeaderOf(head, "Authorization");
    request.body = text.substr(end + 4);
    break;
  }
  {
    std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }
  serve_(request, [connection](const std::string& bytes) {
    for (size_t sent = 0; sent < bytes.size();) {
      const ssize_t count =
          send(connection, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return;
      sent += static_cast<size_t>(count);
    }
  });
  shutdown(connection, SHUT_RDWR);
  close(connection);
}

std::vector<ScriptedHttpServer::Request> ScriptedHttpServer::requests() {
  std::lock_guard lock(mutex_);
  return requests_;
}

}  // namespace baton::load
