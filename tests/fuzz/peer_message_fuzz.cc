// What a peer may send: every body of every type, every envelope and every chunk of a pull is
// taken or refused; what was taken is written and read back as it was.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/check.h"
#include "engine/peer/handshake.h"
#include "engine/peer/message.h"
#include "engine/peer/peer_pull.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton;
  const std::span<const std::byte> input = std::as_bytes(std::span(data, size));
  if (const auto envelope = ParseEnvelope(input); envelope.ok()) {
    BATON_CHECK(*ParseEnvelope(EncodeEnvelope(*envelope)) == *envelope);
  }
  if (size < 2) return 0;
  const auto type = static_cast<uint16_t>(data[0] % 16);
  if (const auto message = ParseBody(type, input.subspan(1)); message.ok()) {
    BATON_CHECK(*ParseBody(type, EncodeBody(*message)) == *message);
    const PeerSecret secret("0123456789abcdef");
    for (const auto side : {PeerSecret::Side::kClient, PeerSecret::Side::kServer}) {
      PeerHandshake handshake(&secret, side, {}, 1);
      BATON_CHECK(!handshake.OnMessage(*message).ok() || !handshake.done());
    }
  }
  // Chunks of a small pull: offset and length are the input's.
  std::vector<std::byte> memory(3 * 50'000);
  PeerPull pull({memory.data(), memory.data() + 50'000, memory.data() + 100'000}, 50'000, 0);
  const int64_t offset = int64_t{data[0]} << 12;
  const std::vector<std::byte> chunk(std::min<size_t>(size_t{data[1]} << 10, 200'000));
  (void)pull.Put(offset, chunk, 0);
  (void)pull.Put(offset, input, 0);
  return 0;
}
