#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/peer/transport.h"

namespace baton {

// A network in memory: transports that find one another by port. What is sent may be changed or
// swallowed on its way.
class MemoryNetwork {
 public:
  using Bytes = std::vector<std::byte>;
  // Called for every message, from the sender's thread; false: it is lost.
  std::function<bool(Bytes& header, Bytes& body)> meddle;

  class Transport;
  std::unique_ptr<PeerTransport> Make(uint16_t port);  // 0: connects only

 private:
  struct End {
    Transport* transport = nullptr;
    LinkId link;
  };
  std::mutex mutex_;
  std::map<uint16_t, Transport*> listening_;
  std::map<std::pair<Transport*, LinkId>, End> other_;
  friend class Transport;
};

class MemoryNetwork::Transport final : public PeerTransport {
 public:
  Transport(MemoryNetwork& network, uint16_t port) : network_(network) {
    address_.ip = "127.0.0.1";
    address_.port = port;
    const std::lock_guard lock(network_.mutex_);
    if (port != 0) network_.listening_[port] = this;
  }
  ~Transport() override {
    std::vector<LinkId> open;
    {
      const std::lock_guard lock(network_.mutex_);
      network_.listening_.erase(address_.port);
      for (const auto& [key, end] : network_.other_) {
        if (key.first == this) open.push_back(key.second);
      }
    }
    for (const LinkId link : open) Close(link);
  }

  absl::StatusOr<LinkId> Connect(const Address& address) override {
    const std::lock_guard lock(network_.mutex_);
    const auto it = network_.listening_.find(address.port);
    if (it == network_.listening_.end()) return absl::UnavailableError("nobody listens");
    Transport& server = *it->second;
    const LinkId here(next_++);
    const LinkId there(1'000'000 + server.accepted_++);
    network_.other_[{this, here}] = {&server, there};
    network_.other_[{&server, there}] = {this, here};
    server.Push([there](PeerTransportEvents& events) { events.OnAccepted(there); });
    return here;
  }
  void LimitBodies(LinkId, size_t) override {}
  void Send(LinkId link, Bytes header, std::span<const std::byte> body, std::shared_ptr<const void>,
            uint64_t tag) override {
    const std::lock_guard lock(network_.mutex_);
    const auto it = network_.other_.find({this, link});
    if (it == network_.other_.end()) return;
    Bytes copy(body.begin(), body.end());
    const bool passes = network_.meddle == nullptr || network_.meddle(header, copy);
    if (passes) {
      it->second.transport->Push(
          [id = it->second.link, header = std::move(header),
           copy = std::move(copy)](PeerTransportEvents& e) { e.OnMessage(id, header, copy); });
    }
    if (tag != 0) Push([link, tag](PeerTransportEvents& e) { e.OnSent(link, tag); });
  }
  void Close(LinkId link) override {
    const std::lock_guard lock(network_.mutex_);
    const auto it = network_.other_.find({this, link});
    if (it == network_.other_.end()) return;
    const End end = it->second;
    network_.other_.erase(it);
    network_.other_.erase({end.transport, end.link});
    end.transport->Push([id = end.link](PeerTransportEvents& e) {
      e.OnClosed(id, absl::UnavailableError("the other side closed it"));
    });
  }
  void Turn(PeerTransportEvents& events, TimeUs wait_us) override {
    std::deque<std::function<void(PeerTransportEvents&)>> due;
    {
      std::unique_lock lock(own_);
      ready_.wait_for(lock, std::chrono::microseconds(wait_us),
                      [this] { return woken_ || !events_.empty(); });
      woken_ = false;
      due.swap(events_);
    }
    for (auto& event : due) event(events);
  }
  void Wake() override {
    const std::lock_guard lock(own_);
    woken_ = true;
    ready_.notify_all();
  }
  const Address& listening() const override { return address_; }

 private:
  void Push(std::function<void(PeerTransportEvents&)> event) {
    const std::lock_guard lock(own_);
    events_.push_back(std::move(event));
    ready_.notify_all();
  }

  MemoryNetwork& network_;
  Address address_;
  uint64_t next_ = 1;
  uint64_t accepted_ = 0;
  std::mutex own_;  // behind the network's
  std::condition_variable ready_;
  std::deque<std::function<void(PeerTransportEvents&)>> events_;
  bool woken_ = false;
};

inline std::unique_ptr<PeerTransport> MemoryNetwork::Make(uint16_t port) {
  return std::make_unique<Transport>(*this, port);
}

}  // namespace baton
