#include "engine/base/address.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "engine/base/strings.h"

namespace baton {

bool Address::is_loopback() const {
  if (!v6) return ip.starts_with("127.");
  in6_addr parsed = {};
  return inet_pton(AF_INET6, ip.c_str(), &parsed) == 1 && IN6_IS_ADDR_LOOPBACK(&parsed);
}

std::string Address::ToString() const {
  return v6 ? StrCat("[", ip, "]:", port) : StrCat(ip, ":", port);
}

absl::StatusOr<Address> ParseAddress(std::string_view key, std::string_view text) {
  const absl::Status error = absl::InvalidArgumentError(
      StrCat(key, " must be IP:PORT, such as 127.0.0.1:50051 or [::1]:50051, but is \"",
             Escaped(text), "\""));
  const size_t colon = text.rfind(':');
  if (colon == text.npos) return error;
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);

  Address address;
  const auto [end, parse_error] =
      std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (port.empty() || parse_error != std::errc() || end != port.data() + port.size()) return error;
  if (host.starts_with('[') && host.ends_with(']') && host.size() > 2) {
    host = host.substr(1, host.size() - 2);
    address.v6 = true;
  }
  address.ip = host == "localhost" ? "127.0.0.1" : std::string(host);
  in6_addr parsed;
  if (inet_pton(address.v6 ? AF_INET6 : AF_INET, address.ip.c_str(), &parsed) != 1) return error;
  return address;
}

unsigned ToSocketAddress(const Address& address, sockaddr_storage& storage) {
  storage = {};
  if (address.v6) {
    auto& in6 = reinterpret_cast<sockaddr_in6&>(storage);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(address.port);
    inet_pton(AF_INET6, address.ip.c_str(), &in6.sin6_addr);
    return sizeof(in6);
  }
  auto& in = reinterpret_cast<sockaddr_in&>(storage);
  in.sin_family = AF_INET;
  in.sin_port = htons(address.port);
  inet_pton(AF_INET, address.ip.c_str(), &in.sin_addr);
  return sizeof(in);
}

absl::Status CheckBindable(std::string_view key, const Address& address) {
  const auto failed = [&](std::string_view what) {
    return absl::UnavailableError(StrCat("cannot listen on ", address.ToString(), " (", key,
                                         "): ", what, ": ", std::strerror(errno)));
  };
  const int family = address.v6 ? AF_INET6 : AF_INET;
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed("socket");
  // As gRPC does: a port in TIME_WAIT can be had, one that somebody listens on cannot.
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

  sockaddr_storage storage{};
  const socklen_t length = ToSocketAddress(address, storage);
  absl::Status status;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
    status = failed("bind");
  } else if (listen(fd, 1) != 0) {
    status = failed("listen");
  }
  close(fd);
  return status;
}

}  // namespace baton
