// The only file that knows UCX. Everything runs on the thread that calls Turn(): UCX's callbacks,
// which note what has happened, and the events, which are told when UCX is done.
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <ucp/api/ucp.h>
#include <ucs/debug/debug.h>
#include <ucs/debug/log_def.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/peer/transport.h"
#include "engine/peer/ucx_devices.h"

namespace baton {
namespace {

constexpr unsigned kMessageId = 1;       // of our active messages
constexpr size_t kFirstBodyBytes = 256;  // until LimitBodies
constexpr size_t kConnectionsWaitingMax = 64;
constexpr size_t kBodiesInFlightMax = 64;  // of one link, being received
constexpr int kProgressMax = 64;           // between two looks at what else there is
constexpr int kClosePatienceMs = 200;

// A daemon that restarts must find its port. ucp_config_modify() does not reach the settings of
// UCX's listeners, the environment does; before main(), as no other thread may read it meanwhile.
[[maybe_unused]] const int kReuseAddress = setenv("UCX_TCP_CM_REUSEADDR", "y", /*overwrite=*/0);

std::string_view TextOf(ucs_status_t status) { return ucs_status_string(status); }

ucs_log_func_rc_t LogFromUcx(const char*, unsigned, const char*, ucs_log_level_t level,
                             const ucs_log_component_config_t*, const char* message, va_list ap) {
  if (level > UCS_LOG_LEVEL_WARN) return UCS_LOG_FUNC_RC_STOP;
  char text[512];
  std::vsnprintf(text, sizeof(text), message, ap);
  // What becomes of a link is told by whoever uses it.
  Log().debug("ucx: {}", text);
  return UCS_LOG_FUNC_RC_STOP;
}

// UCX would print to stdout, and handle the signals of crashes as a debugger does.
void TameUcx() {
  static std::once_flag once;
  std::call_once(once, [] {
    ucs_log_push_handler(LogFromUcx);
    for (const int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) ucs_debug_disable_signal(number);
  });
}

class UcxTransport final : public PeerTransport {
 public:
  static absl::StatusOr<std::unique_ptr<PeerTransport>> Make(const UcxOptions& options) {
    TameUcx();
    std::unique_ptr<UcxTransport> made(new UcxTransport());
    RETURN_IF_ERROR(made->Open(options));
    return made;
  }

  ~UcxTransport() override {
    if (worker_ != nullptr) {
      while (!links_.empty()) Close(links_.begin()->first);
      for (int i = 0; i < kClosePatienceMs && !closing_.empty(); ++i) {
        while (ucp_worker_progress(worker_) != 0) {
        }
        ReapClosing();
        if (!closing_.empty()) poll(nullptr, 0, 1);
      }
      if (listener_ != nullptr) ucp_listener_destroy(listener_);
      ucp_worker_destroy(worker_);
    }
    if (context_ != nullptr) ucp_cleanup(context_);
    if (wake_fd_ >= 0) close(wake_fd_);
    // Nothing of UCX is left that could touch them.
    for (Sending* sending : sending_) delete sending;
    for (Receiving* receiving : receiving_) delete receiving;
  }

  absl::StatusOr<LinkId> Connect(const Address& address) override {
    sockaddr_storage storage;
    const socklen_t length = ToSocketAddress(address, storage);
    ucp_ep_params_t params = EndpointParams();
    params.field_mask |= UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR;
    params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
    params.sockaddr.addr = reinterpret_cast<const sockaddr*>(&storage);
    params.sockaddr.addrlen = length;
    return Add(params);
  }

  void LimitBodies(LinkId link, size_t bytes) override {
    const auto it = links_.find(link);
    if (it != links_.end()) it->second.body_bytes_max = bytes;
  }

  void Send(LinkId link, std::vector<std::byte> header, std::span<const std::byte> body,
            std::shared_ptr<const void> owner, uint64_t tag) override {
    const auto it = links_.find(link);
    if (it == links_.end()) return;
    auto* sending = new Sending{this, link, tag, std::move(header), std::move(owner)};
    sending_.insert(sending);
    ucp_request_param_t params = {};
    params.op_attr_mask =
        UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
    params.flags = UCP_AM_SEND_FLAG_REPLY;  // tells the other side which link it is
    params.cb.send = [](void* request, ucs_status_t status, void* user) {
      ucp_request_free(request);
      static_cast<Sending*>(user)->transport->OnSendDone(static_cast<Sending*>(user), status);
    };
    params.user_data = sending;
    const ucs_status_ptr_t request =
        ucp_am_send_nbx(it->second.endpoint, kMessageId, sending->header.data(),
                        sending->header.size(), body.data(), body.size(), &params);
    if (!UCS_PTR_IS_PTR(request)) OnSendDone(sending, UCS_PTR_STATUS(request));
  }

  void Close(LinkId link) override {
    const auto it = links_.find(link);
    if (it == links_.end()) return;
    const ucp_ep_h endpoint = it->second.endpoint;
    by_endpoint_.erase(endpoint);
    links_.erase(it);
    ucp_request_param_t params = {};
    params.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    params.flags = UCP_EP_CLOSE_FLAG_FORCE;
    const ucs_status_ptr_t request = ucp_ep_close_nbx(endpoint, &params);
    if (UCS_PTR_IS_PTR(request)) closing_.push_back(request);
  }

  void Turn(PeerTransportEvents& events, TimeUs wait_us) override {
    bool active = false;
    for (int i = 0; i < kProgressMax && ucp_worker_progress(worker_) != 0; ++i) active = true;
    ReapClosing();
    if (Deliver(events) || active || wait_us <= 0) return;
    if (ucp_worker_arm(worker_) != UCS_OK) return;  // something has come meanwhile
    pollfd fds[2] = {{.fd = worker_fd_, .events = POLLIN, .revents = 0},
                     {.fd = wake_fd_, .events = POLLIN, .revents = 0}};
    poll(fds, 2, static_cast<int>((wait_us + 999) / 1000));
    uint64_t count = 0;
    if (fds[1].revents != 0 && read(wake_fd_, &count, sizeof(count)) < 0) return;
  }

  void Wake() override {
    const uint64_t one = 1;
    while (write(wake_fd_, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
  }

  const Address& listening() const override { return listening_; }

 private:
  struct Link {
    ucp_ep_h endpoint = nullptr;
    size_t body_bytes_max = kFirstBodyBytes;
    size_t bodies_in_flight = 0;
  };
  struct Sending {
    UcxTransport* transport;
    LinkId link;
    uint64_t tag;
    std::vector<std::byte> header;
    std::shared_ptr<const void> owner;
  };
  // A body that is fetched from the other side's memory.
  struct Receiving {
    UcxTransport* transport;
    LinkId link;
    std::vector<std::byte> header;
    std::unique_ptr<std::byte[]> body;
    size_t length = 0;
    void* descriptor = nullptr;  // until it has begun
  };
  struct Message {
    LinkId link;
    std::vector<std::byte> header;
    std::unique_ptr<std::byte[]> body;
    size_t length = 0;
  };
  struct Sent {
    LinkId link;
    uint64_t tag;
  };
  struct Failed {
    LinkId link;
    absl::Status status;
  };

  UcxTransport() = default;

  absl::Status Open(const UcxOptions& options) {
    wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd_ < 0) return absl::ErrnoToStatus(errno, "peer: eventfd");
    ucp_config_t* config = nullptr;
    if (const ucs_status_t status = ucp_config_read(nullptr, nullptr, &config); status != UCS_OK) {
      return absl::InternalError(StrCat("peer: UCX reads no configuration: ", TextOf(status)));
    }
    absl::Status configured = Configure(*config, options);
    ucp_params_t params = {};
    params.field_mask = UCP_PARAM_FIELD_FEATURES;
    params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
    ucs_status_t status = UCS_OK;
    if (configured.ok()) status = ucp_init(&params, config, &context_);
    ucp_config_release(config);
    RETURN_IF_ERROR(configured);
    ucp_worker_params_t worker_params = {};
    worker_params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
    worker_params.thread_mode = UCS_THREAD_MODE_SERIALIZED;  // made here, used by another thread
    if (status == UCS_OK) status = ucp_worker_create(context_, &worker_params, &worker_);
    if (status == UCS_OK) status = ucp_worker_get_efd(worker_, &worker_fd_);
    if (status != UCS_OK) {
      return absl::InvalidArgumentError(StrCat("peer.transports \"", Escaped(options.transports),
                                               "\", peer.devices \"", Escaped(options.devices),
                                               "\": UCX opens none of these: ", TextOf(status)));
    }
    ucp_am_handler_param_t handler = {};
    handler.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                         UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG;
    handler.id = kMessageId;
    handler.flags = UCP_AM_FLAG_WHOLE_MSG;
    handler.cb = [](void* self, const void* header, size_t header_length, void* data, size_t length,
                    const ucp_am_recv_param_t* param) {
      return static_cast<UcxTransport*>(self)->OnIncoming(header, header_length, data, length,
                                                          *param);
    };
    handler.arg = this;
    status = ucp_worker_set_am_recv_handler(worker_, &handler);
    if (status != UCS_OK) return absl::InternalError(StrCat("peer: UCX: ", TextOf(status)));
    return options.listen ? Listen(*options.listen) : absl::OkStatus();
  }

  static absl::Status Configure(ucp_config_t& config, const UcxOptions& options) {
    std::string devices = options.devices;
    if (devices.empty()) devices = DevicesOf(options.listen, options.peers).value_or("all");
    const std::pair<const char*, std::string> settings[] = {
        {"TLS", options.transports}, {"NET_DEVICES", devices}, {"SOCKADDR_TLS_PRIORITY", "tcp"}};
    for (const auto& [key, value] : settings) {
      const ucs_status_t status = ucp_config_modify(&config, key, value.c_str());
      if (status == UCS_OK) continue;
      return absl::InvalidArgumentError(StrCat("peer: UCX does not take \"", Escaped(value),
                                               "\" as its UCX_", key, ": ", TextOf(status)));
    }
    return absl::OkStatus();
  }

  absl::Status Listen(const Address& address) {
    sockaddr_storage storage;
    const socklen_t length = ToSocketAddress(address, storage);
    ucp_listener_params_t params = {};
    params.field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER;
    params.sockaddr.addr = reinterpret_cast<const sockaddr*>(&storage);
    params.sockaddr.addrlen = length;
    params.conn_handler.cb = [](ucp_conn_request_h request, void* self) {
      static_cast<UcxTransport*>(self)->OnConnection(request);
    };
    params.conn_handler.arg = this;
    ucs_status_t status = ucp_listener_create(worker_, &params, &listener_);
    ucp_listener_attr_t attributes = {};
    attributes.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR;
    if (status == UCS_OK) status = ucp_listener_query(listener_, &attributes);
    if (status != UCS_OK) {
      return absl::UnavailableError(
          StrCat("cannot listen on ", address.ToString(), " (peer.listen): ", TextOf(status)));
    }
    listening_ = address;
    uint16_t port = 0;  // where it is in both families
    std::memcpy(&port, reinterpret_cast<const char*>(&attributes.sockaddr) + 2, sizeof(port));
    listening_.port = static_cast<uint16_t>(port >> 8 | port << 8);
    return absl::OkStatus();
  }

  ucp_ep_params_t EndpointParams() {
    ucp_ep_params_t params = {};
    params.field_mask = UCP_EP_PARAM_FIELD_ERR_HANDLER | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE;
    params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
    params.err_handler.cb = [](void* self, ucp_ep_h endpoint, ucs_status_t status) {
      static_cast<UcxTransport*>(self)->OnEndpointFailed(endpoint, status);
    };
    params.err_handler.arg = this;
    return params;
  }

  absl::StatusOr<LinkId> Add(const ucp_ep_params_t& params) {
    ucp_ep_h endpoint = nullptr;
    const ucs_status_t status = ucp_ep_create(worker_, &params, &endpoint);
    if (status != UCS_OK) return absl::UnavailableError(StrCat("UCX: ", TextOf(status)));
    const LinkId link(next_link_++);
    links_.emplace(link, Link{.endpoint = endpoint});
    by_endpoint_.emplace(endpoint, link);
    return link;
  }

  // ---- UCX's callbacks

  void OnConnection(ucp_conn_request_h request) {
    if (connections_.size() >= kConnectionsWaitingMax) {
      ucp_listener_reject(listener_, request);
    } else {
      connections_.push_back(request);
    }
  }

  void OnEndpointFailed(ucp_ep_h endpoint, ucs_status_t status) {
    const auto it = by_endpoint_.find(endpoint);
    if (it == by_endpoint_.end()) return;  // being closed
    failed_.push_back({it->second, absl::UnavailableError(std::string(TextOf(status)))});
  }

  void OnSendDone(Sending* sending, ucs_status_t) {
    // An error comes to OnEndpointFailed as well.
    if (sending->tag != 0) sent_.push_back({sending->link, sending->tag});
    sending_.erase(sending);
    delete sending;
  }

  ucs_status_t OnIncoming(const void* header, size_t header_length, void* data, size_t length,
                          const ucp_am_recv_param_t& param) {
    if ((param.recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP) == 0) return UCS_OK;
    const auto found = by_endpoint_.find(param.reply_ep);
    if (found == by_endpoint_.end()) return UCS_OK;
    const LinkId id = found->second;
    Link& link = links_.at(id);
    if (header_length > kHeaderBytesMax || length > link.body_bytes_max) {
      failed_.push_back(
          {id, absl::InvalidArgumentError(StrCat("sent a message of ", header_length, " and ",
                                                 length, " bytes, where ", kHeaderBytesMax, " and ",
                                                 link.body_bytes_max, " are the most"))});
      return UCS_OK;
    }
    const auto* bytes = static_cast<const std::byte*>(header);
    std::vector<std::byte> head(bytes, bytes + header_length);
    if ((param.recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0) {
      Message message{
          .link = id, .header = std::move(head), .body = Buffer(length), .length = length};
      if (length > 0) std::memcpy(message.body.get(), data, length);
      messages_.push_back(std::move(message));
      return UCS_OK;
    }
    if (link.bodies_in_flight >= kBodiesInFlightMax) {
      failed_.push_back({id, absl::ResourceExhaustedError(StrCat(
                                 "sent more than ", kBodiesInFlightMax, " bodies at once"))});
      return UCS_OK;
    }
    ++link.bodies_in_flight;
    auto* receiving = new Receiving{.transport = this,
                                    .link = id,
                                    .header = std::move(head),
                                    .body = Buffer(length),
                                    .length = length,
                                    .descriptor = data};
    receiving_.insert(receiving);
    to_fetch_.push_back(receiving);
    return UCS_INPROGRESS;  // ours until it is fetched
  }

  void OnFetched(Receiving* receiving, ucs_status_t status) {
    const auto link = links_.find(receiving->link);
    if (link != links_.end()) {
      --link->second.bodies_in_flight;
      if (status == UCS_OK) {
        messages_.push_back({.link = receiving->link,
                             .header = std::move(receiving->header),
                             .body = std::move(receiving->body),
                             .length = receiving->length});
      } else {
        failed_.push_back({receiving->link, absl::UnavailableError(std::string(TextOf(status)))});
      }
    }
    receiving_.erase(receiving);
    delete receiving;
  }

  // ---- Between them and the events

  void Fetch(Receiving* receiving) {
    if (!links_.contains(receiving->link)) {
      ucp_am_data_release(worker_, receiving->descriptor);
      return OnFetched(receiving, UCS_ERR_CANCELED);
    }
    ucp_request_param_t params = {};
    params.op_attr_mask =
        UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
    params.cb.recv_am = [](void* request, ucs_status_t status, size_t, void* user) {
      ucp_request_free(request);
      static_cast<Receiving*>(user)->transport->OnFetched(static_cast<Receiving*>(user), status);
    };
    params.user_data = receiving;
    const ucs_status_ptr_t request =
        ucp_am_recv_data_nbx(worker_, std::exchange(receiving->descriptor, nullptr),
                             receiving->body.get(), receiving->length, &params);
    if (!UCS_PTR_IS_PTR(request)) OnFetched(receiving, UCS_PTR_STATUS(request));
  }

  // Whether there was anything.
  bool Deliver(PeerTransportEvents& events) {
    const bool any = !connections_.empty() || !to_fetch_.empty() || !messages_.empty() ||
                     !sent_.empty() || !failed_.empty();
    for (const ucp_conn_request_h request : std::exchange(connections_, {})) {
      ucp_ep_params_t params = EndpointParams();
      params.field_mask |= UCP_EP_PARAM_FIELD_CONN_REQUEST;
      params.conn_request = request;
      const absl::StatusOr<LinkId> link = Add(params);
      if (link.ok()) events.OnAccepted(*link);
    }
    for (Receiving* receiving : std::exchange(to_fetch_, {})) Fetch(receiving);
    for (Message& message : std::exchange(messages_, {})) {
      if (links_.contains(message.link)) {
        events.OnMessage(message.link, message.header, {message.body.get(), message.length});
      }
      Recycle(std::move(message.body), message.length);
    }
    for (const Sent& sent : std::exchange(sent_, {})) {
      if (links_.contains(sent.link)) events.OnSent(sent.link, sent.tag);
    }
    for (const Failed& failed : std::exchange(failed_, {})) {
      if (!links_.contains(failed.link)) continue;
      Close(failed.link);
      events.OnClosed(failed.link, failed.status);
    }
    return any;
  }

  void ReapClosing() {
    std::erase_if(closing_, [](void* request) {
      if (ucp_request_check_status(request) == UCS_INPROGRESS) return false;
      ucp_request_free(request);
      return true;
    });
  }

  // Buffers of some size are used again: their pages are there already.
  static constexpr size_t kRecycledBytes = 1 << 20;
  static constexpr size_t kRecycledMax = 16;
  std::unique_ptr<std::byte[]> Buffer(size_t length) {
    if (length > kRecycledBytes / 2 && length <= kRecycledBytes) {
      if (recycled_.empty()) return std::make_unique_for_overwrite<std::byte[]>(kRecycledBytes);
      std::unique_ptr<std::byte[]> buffer = std::move(recycled_.back());
      recycled_.pop_back();
      return buffer;
    }
    return std::make_unique_for_overwrite<std::byte[]>(std::max<size_t>(length, 1));
  }
  void Recycle(std::unique_ptr<std::byte[]> buffer, size_t length) {
    if (length > kRecycledBytes / 2 && length <= kRecycledBytes &&
        recycled_.size() < kRecycledMax) {
      recycled_.push_back(std::move(buffer));
    }
  }

  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  ucp_listener_h listener_ = nullptr;
  int worker_fd_ = -1;  // UCX's own
  int wake_fd_ = -1;
  Address listening_;
  std::map<LinkId, Link> links_;
  std::unordered_map<ucp_ep_h, LinkId> by_endpoint_;
  uint64_t next_link_ = 1;
  std::set<Sending*> sending_;      // UCX has them
  std::set<Receiving*> receiving_;  // UCX has them, or will
  std::vector<void*> closing_;
  std::vector<std::unique_ptr<std::byte[]>> recycled_;
  // What UCX has told and the events have not.
  std::vector<ucp_conn_request_h> connections_;
  std::vector<Receiving*> to_fetch_;
  std::vector<Message> messages_;
  std::vector<Sent> sent_;
  std::vector<Failed> failed_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PeerTransport>> MakeUcxTransport(const UcxOptions& options) {
  return UcxTransport::Make(options);
}

}  // namespace baton
