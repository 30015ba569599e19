#include "engine/peer/ucx_devices.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <set>

namespace baton {
namespace {

// Of two socket addresses, without their ports.
bool SameIp(const sockaddr& a, const sockaddr& b) {
  if (a.sa_family != b.sa_family) return false;
  if (a.sa_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(a).sin_addr.s_addr ==
           reinterpret_cast<const sockaddr_in&>(b).sin_addr.s_addr;
  }
  if (a.sa_family != AF_INET6) return false;
  return std::memcmp(&reinterpret_cast<const sockaddr_in6&>(a).sin6_addr,
                     &reinterpret_cast<const sockaddr_in6&>(b).sin6_addr, sizeof(in6_addr)) == 0;
}

// This machine's address on the way to another one. Nothing is sent.
bool LocalAddressTo(const Address& address, sockaddr_storage& local) {
  sockaddr_storage remote;
  const socklen_t length = ToSocketAddress(address, remote);
  const int fd = socket(remote.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  socklen_t size = sizeof(local);
  const bool found = connect(fd, reinterpret_cast<const sockaddr*>(&remote), length) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) == 0;
  close(fd);
  return found;
}

}  // namespace

std::optional<std::string> DevicesOf(const std::optional<Address>& listen,
                                     const std::vector<Address>& peers) {
  std::vector<sockaddr_storage> wanted;
  if (listen) ToSocketAddress(*listen, wanted.emplace_back());
  for (const Address& peer : peers) {
    if (!LocalAddressTo(peer, wanted.emplace_back())) return std::nullopt;
  }
  ifaddrs* interfaces = nullptr;
  if (getifaddrs(&interfaces) != 0) return std::nullopt;
  std::set<std::string> names;
  bool all = true;
  for (const sockaddr_storage& address : wanted) {
    bool found = false;
    for (const ifaddrs* each = interfaces; each != nullptr; each = each->ifa_next) {
      if (each->ifa_addr == nullptr) continue;
      const auto& ip = reinterpret_cast<const sockaddr&>(address);
      if (!SameIp(*each->ifa_addr, ip)) continue;
      names.insert(each->ifa_name);
      found = true;
    }
    all = all && found;
  }
  freeifaddrs(interfaces);
  if (!all || names.empty()) return std::nullopt;
  std::string joined;
  for (const std::string& name : names) joined += (joined.empty() ? "" : ",") + name;
  return joined;
}

}  // namespace baton
