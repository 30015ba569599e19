#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "engine/base/address.h"

namespace baton {

// A TCP connection to an IPv4 address for what no HTTP client would send. Reads give up after ten
// seconds. Used by one thread.
class RawConnection {
 public:
  // `receive_bytes`: the socket's buffer, small where it is to be full soon; 0: the system's.
  explicit RawConnection(const Address& address, int receive_bytes = 0)
      : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_bytes > 0) {
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    }
    const timeval limit{.tv_sec = 10, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    inet_pton(AF_INET, address.ip.c_str(), &in.sin_addr);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&in), sizeof(in)) == 0;
  }
  ~RawConnection() { Close(); }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  bool connected() const { return connected_; }
  // False where the other side has closed.
  bool Send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // What comes next; empty at the end.
  std::string Receive(size_t bytes_max = 4096) {
    std::string bytes(bytes_max, '\0');
    const ssize_t got = recv(fd_, bytes.data(), bytes.size(), 0);
    bytes.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return bytes;
  }
  std::string ReceiveUntil(std::string_view end) {
    std::string all;
    while (all.find(end) == all.npos) {
      const std::string next = Receive();
      if (next.empty()) break;
      all += next;
    }
    return all;
  }
  std::string ReceiveAll() {
    std::string all;
    for (std::string next = Receive(); !next.empty(); next = Receive()) all += next;
    return all;
  }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
  bool connected_ = false;
};

}  // namespace baton
