#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/address.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"

namespace baton {

using LinkId = StrongId<struct LinkIdTag, uint64_t>;  // a connection; never given twice

// What a transport tells, within Turn().
class PeerTransportEvents {
 public:
  virtual ~PeerTransportEvents() = default;
  virtual void OnAccepted(LinkId link) = 0;
  // Whole and unharmed, but from whoever connected. Not in the order sent where sizes differ.
  virtual void OnMessage(LinkId link, std::span<const std::byte> header,
                         std::span<const std::byte> body) = 0;
  // Of a Send with a tag: its memory is no longer read. Not where the link was closed before.
  virtual void OnSent(LinkId link, uint64_t tag) = 0;
  // By the other side, or because the way there failed. Nothing more comes of the link.
  virtual void OnClosed(LinkId link, const absl::Status& why) = 0;
};

// Messages between processes over a network. One thread uses it, but for Wake().
class PeerTransport {
 public:
  static constexpr size_t kHeaderBytesMax = 64;

  virtual ~PeerTransport() = default;
  // At once; where nobody answers, OnClosed tells, or nobody does: the caller has a time limit.
  virtual absl::StatusOr<LinkId> Connect(const Address& address) = 0;
  // Bodies from the other side may have so many bytes; a longer one closes the link. 256 at first.
  virtual void LimitBodies(LinkId link, size_t bytes) = 0;
  // `body` is read until it is sent, or the link closed; `owner` is kept so long. Nothing for a
  // link that is closed. tag 0: nobody wants to know.
  virtual void Send(LinkId link, std::vector<std::byte> header, std::span<const std::byte> body,
                    std::shared_ptr<const void> owner, uint64_t tag) = 0;
  // No event of it comes any more.
  virtual void Close(LinkId link) = 0;
  // Goes on with everything; waits so long where there is nothing to do.
  virtual void Turn(PeerTransportEvents& events, TimeUs wait_us) = 0;
  // Ends the wait of Turn. Thread safe.
  virtual void Wake() = 0;
  // Where it listens; port 0: nowhere.
  virtual const Address& listening() const = 0;
};

struct UcxOptions {
  std::optional<Address> listen = {};
  std::vector<Address> peers = {};  // that will be connected to: for the choice of devices
  std::string transports = "tcp";   // UCX_TLS
  std::string devices = {};         // UCX_NET_DEVICES; empty: those with the addresses
};

// Over UCX. UNIMPLEMENTED: the program was built without. UNAVAILABLE: the address cannot be
// listened on. INVALID_ARGUMENT: UCX does not take an option.
absl::StatusOr<std::unique_ptr<PeerTransport>> MakeUcxTransport(const UcxOptions& options);

}  // namespace baton
