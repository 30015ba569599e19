#include "engine/peer/transport.h"

namespace baton {

absl::StatusOr<std::unique_ptr<PeerTransport>> MakeUcxTransport(const UcxOptions&) {
  return absl::UnimplementedError(
      "peer: this daemon was built without UCX (libucx-dev), so peer.listen and peer.prefill must "
      "be empty");
}

}  // namespace baton
