#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

// TLS of both ports. The files may be replaced while the daemon runs.
struct TlsOptions {
  std::string certificate;
  std::string key;
  std::string client_ca;
  bool http = true;

  bool enabled() const { return !certificate.empty(); }

  template <class Visitor>
  void Describe(Visitor& v) {
    v("certificate", certificate, AnyValue{},
      "PEM file of the certificate that the daemon shows, with its chain; empty: no TLS; what "
      "replaces it is read within seconds, and takes effect where it and the key fit");
    v("key", key, AnyValue{}, "PEM file of its private key");
    v("client_ca", client_ca, AnyValue{},
      "PEM file of the authorities that clients' certificates must come from; empty: clients need "
      "none");
    v("http", http, AnyValue{},
      "the HTTP port has TLS, too, and asks for the same certificates; false: it has none, for "
      "those who scrape it, or send it requests, within one machine");
  }
};

// Who may do what.
struct AccessOptions {
  std::string tokens;
  bool open = false;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("tokens", tokens, AnyValue{},
      "file of bearer tokens, a line each, as batonctl token makes them; read again on SIGHUP; "
      "empty: no token is asked for");
    v("open", open, AnyValue{},
      "listen beyond the loopback though whoever reaches the port may do everything: neither "
      "tokens nor tls.client_ca is set");
  }
};

// What the transport needs to know. Lives here and not in server/, because config may not include
// server.
struct ServerOptions {
  std::string grpc_address = "127.0.0.1:50051";
  std::string http_address = "127.0.0.1:9464";
  int64_t message_bytes_max = 48 << 20;
  int64_t streams_per_connection_max = 1024;
  int64_t stream_pending_bytes_max = 1 << 20;
  int64_t writer_threads = 0;
  int64_t http_threads = 2;
  int64_t http_connections_max = 1024;
  int64_t http_body_bytes_max = 16 << 20;
  int64_t drain_seconds_max = 30;
  TlsOptions tls;  // sections of their own
  AccessOptions access;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("grpc_address", grpc_address, AnyValue{},
      "IP:PORT that gRPC listens on, e.g. 0.0.0.0:50051 or [::]:50051; port 0 takes a free one");
    v("http_address", http_address, AnyValue{},
      "IP:PORT of the OpenAI-compatible API below /v1 and of /metrics, /livez and /readyz; port 0 "
      "takes a free one");
    v("message_bytes_max", message_bytes_max, Range{1 << 20, 1 << 30},
      "longest gRPC message, either way; a longer one fails with RESOURCE_EXHAUSTED");
    v("streams_per_connection_max", streams_per_connection_max, Range{1, 1e6},
      "RPCs running at once on one connection; more wait in the client");
    v("stream_pending_bytes_max", stream_pending_bytes_max, Range{4096, 1 << 30},
      "what a slow reader of a stream may leave unread in the daemon before its request is "
      "cancelled");
    v("writer_threads", writer_threads, Range{0, 64},
      "threads that hand answers and tokens to the transport; 0: one per core, four at most");
    v("http_threads", http_threads, Range{1, 64},
      "threads of the HTTP port; none of them waits for a client");
    v("http_connections_max", http_connections_max, Range{1, 1e6},
      "HTTP connections open at once; beyond, one that waits for a request gives way, and where "
      "none does, the next gets 503");
    v("http_body_bytes_max", http_body_bytes_max, Range{1024, 1 << 30},
      "longest body of an HTTP request; a longer one gets 413");
    v("drain_seconds_max", drain_seconds_max, Range{0, 3600},
      "how long running requests may go on after SIGTERM before they are cancelled; read again on "
      "SIGHUP");
  }
};

}  // namespace baton
