#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/options.h"

namespace baton {

// The states of a prefill between daemons at which a rehearsal may have one fall silent. Of who
// serves: accepted to released; of who asks: the others.
inline constexpr const char* kPeerHoldPoints[] = {"accepted", "requested", "prefilling", "ready",
                                                  "posted",   "half",      "released",   "asked",
                                                  "answered", "pulling",   "receiving",  "done"};

// Other daemons that prefill for this one, and those that it prefills for.
struct PeerOptions {
  std::string listen;
  std::vector<std::string> prefill;
  std::string secret_file;
  int64_t prefill_tokens_min = 512;
  int64_t timeout_ms = 10000;
  int64_t requests_max = 64;
  int64_t memory_mb = 256;
  std::string transports = "tcp";
  std::string devices;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("listen", listen, AnyValue{},
      "IP:PORT where other daemons may have prompts prefilled; empty: nowhere. UCX does not "
      "encrypt and trusts whoever reaches it: a network of its own");
    v("prefill", prefill, AnyValue{},
      "IP:PORT of the daemons that may prefill for this one, by their peer.listen; at most 64");
    v("secret_file", secret_file, AnyValue{},
      "file whose content, 16 bytes at least, both daemons must prove to know");
    v("prefill_tokens_min", prefill_tokens_min, Range{1, 1 << 20},
      "prompt tokens that the prefix cache must lack for a peer to be asked");
    v("timeout_ms", timeout_ms, Range{10, 3600000},
      "a peer's prefill and the transfer of its KV may take so long; then the prompt is computed "
      "here, or as transfer.on_failure says");
    v("requests_max", requests_max, Range{1, 4096},
      "prompts that one peer prefills for this daemon at a time, and this daemon for one peer");
    v("memory_mb", memory_mb, Range{1, 1 << 20},
      "host memory for KV on its way to or from peers, MiB; prompts that find no room are computed "
      "where they are");
    v("transports", transports, AnyValue{},
      "what UCX may use, as its UCX_TLS: \"tcp\", \"rc,tcp\" for InfiniBand or RoCE; shared memory "
      "transports let a peer of this machine write to this process");
    v("devices", devices, AnyValue{},
      "network devices that UCX may use, as its UCX_NET_DEVICES; empty: those that have the "
      "addresses above");
  }

  bool enabled() const { return !listen.empty() || !prefill.empty(); }
};

}  // namespace baton
