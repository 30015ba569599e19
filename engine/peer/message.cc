#include "engine/peer/message.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/kv/kv_type.h"

namespace baton {
namespace {

static_assert(std::endian::native == std::endian::little);  // bytes are copied as they are

constexpr uint32_t kMagic = 0x504e5442;  // "BTNP"

class Writer {
 public:
  template <class T>
  void Number(T value) {
    static_assert(std::is_integral_v<T>);
    Bytes(std::as_bytes(std::span(&value, 1)));
  }
  template <size_t N>
  void Array(const std::array<uint8_t, N>& value) {
    Bytes(std::as_bytes(std::span(value)));
  }
  void String(std::string_view value) {
    Number(static_cast<uint32_t>(value.size()));
    Bytes(std::as_bytes(std::span(value)));
  }
  void Bytes(std::span<const std::byte> bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  std::vector<std::byte> Take() { return std::move(out_); }

 private:
  std::vector<std::byte> out_;
};

// Keeps the first error; what is read after it is zero.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> in) : in_(in) {}

  template <class T>
  void Number(const char* field, T& value) {
    static_assert(std::is_integral_v<T>);
    Raw(field, std::as_writable_bytes(std::span(&value, 1)));
  }
  // Between `min` and `max`.
  template <class T>
  void Number(const char* field, T& value, T min, T max) {
    Number(field, value);
    if (status_.ok() && (value < min || value > max)) {
      Fail(StrCat(field, " must be ", min, " to ", max, ", but is ", value));
      value = min;
    }
  }
  template <size_t N>
  void Array(const char* field, std::array<uint8_t, N>& value) {
    Raw(field, std::as_writable_bytes(std::span(value)));
  }
  void String(const char* field, std::string& value, size_t max) {
    const size_t length = Count(field, 1, max);
    value.resize(length);
    Raw(field, std::as_writable_bytes(std::span(value)));
  }
  void Tokens(const char* field, std::vector<TokenId>& tokens) {
    tokens.resize(Count(field, sizeof(TokenId), kPeerTokensMax));
    Raw(field, std::as_writable_bytes(std::span(tokens)));
  }
  void Fail(std::string message) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(std::move(message));
  }
  absl::Status Finish() {
    if (status_.ok() && !in_.empty()) {
      Fail(StrCat(in_.size(), " bytes are left over behind its last field"));
    }
    return status_;
  }

 private:
  void Raw(const char* field, std::span<std::byte> out) {
    if (status_.ok() && in_.size() < out.size()) {
      Fail(StrCat(field, " needs ", out.size(), " bytes, but ", in_.size(), " are left"));
    }
    if (!status_.ok()) {
      std::fill(out.begin(), out.end(), std::byte{0});
      return;
    }
    std::copy_n(in_.begin(), out.size(), out.begin());
    in_ = in_.subspan(out.size());
  }
  // How many elements follow: no more than there are bytes for.
  size_t Count(const char* field, size_t element_bytes, size_t max) {
    uint32_t count = 0;
    Number(field, count);
    if (count > max) {
      Fail(StrCat(field, " must have at most ", max, " elements, but has ", count));
    } else if (count > in_.size() / element_bytes) {
      Fail(StrCat(field, " has ", count, " elements, but ", in_.size(), " bytes are left"));
    }
    return status_.ok() ? count : 0;
  }

  std::span<const std::byte> in_;
  absl::Status status_;
};

// Each message's fields stand in its Put and in its Get, in the same order.

void Put(Writer& w, const PeerHello& m) {
  w.Number(m.version);
  w.Array(m.nonce);
  w.Number(m.generation);
}
void Get(Reader& r, PeerHello& m) {
  r.Number("hello.version", m.version);
  r.Array("hello.nonce", m.nonce);
  r.Number("hello.generation", m.generation);
}

void Put(Writer& w, const PeerChallenge& m) {
  w.Number(m.version);
  w.Array(m.nonce);
  w.Number(m.generation);
  w.Array(m.proof);
}
void Get(Reader& r, PeerChallenge& m) {
  r.Number("challenge.version", m.version);
  r.Array("challenge.nonce", m.nonce);
  r.Number("challenge.generation", m.generation);
  r.Array("challenge.proof", m.proof);
}

void Put(Writer& w, const PeerAnswer& m) { w.Array(m.proof); }
void Get(Reader& r, PeerAnswer& m) { r.Array("answer.proof", m.proof); }

void Put(Writer&, const PeerWelcome&) {}
void Get(Reader&, PeerWelcome&) {}

void Put(Writer&, const PeerHeartbeat&) {}
void Get(Reader&, PeerHeartbeat&) {}

void Put(Writer& w, const PeerModel& m) {
  w.String(m.name);
  w.Array(m.fingerprint);
  w.Number(m.layout.layers);
  w.Number(m.layout.kv_heads);
  w.Number(m.layout.head_dim);
  w.Number(m.layout.block_tokens);
  w.Number(static_cast<uint8_t>(m.layout.type));
}
void Get(Reader& r, PeerModel& m) {
  r.String("prefill.model.name", m.name, kPeerNameBytesMax);
  r.Array("prefill.model.fingerprint", m.fingerprint);
  r.Number("prefill.model.layers", m.layout.layers, 1, 1 << 16);
  r.Number("prefill.model.kv_heads", m.layout.kv_heads, 1, 1 << 16);
  r.Number("prefill.model.head_dim", m.layout.head_dim, 1, 1 << 16);
  r.Number("prefill.model.block_tokens", m.layout.block_tokens, 1, 1 << 16);
  uint8_t type = 0;
  r.Number("prefill.model.kv_type", type, uint8_t{0}, static_cast<uint8_t>(KvType::kInt8));
  m.layout.type = static_cast<KvType>(type);
}

void Put(Writer& w, const PeerPrefill& m) {
  w.Number(m.call);
  Put(w, m.model);
  w.String(m.tenant);
  w.Number(m.priority);
  w.Number(m.timeout_us);
  w.Number(static_cast<uint32_t>(m.tokens.size()));
  w.Bytes(std::as_bytes(std::span(m.tokens)));
}
void Get(Reader& r, PeerPrefill& m) {
  constexpr uint64_t kHourUs = 3'600'000'000;
  r.Number("prefill.call", m.call);
  Get(r, m.model);
  r.String("prefill.tenant", m.tenant, kPeerNameBytesMax);
  r.Number("prefill.priority", m.priority);
  r.Number("prefill.timeout_us", m.timeout_us, uint64_t{1}, kHourUs);
  r.Tokens("prefill.tokens", m.tokens);
}

void Put(Writer& w, const PeerCancel& m) { w.Number(m.call); }
void Get(Reader& r, PeerCancel& m) { r.Number("cancel.call", m.call); }

void Put(Writer& w, const PeerHeld& m) {
  w.Number(m.call);
  w.Number(m.lease);
  w.Number(m.blocks);
  w.Number(m.block_bytes);
  w.Number(m.prefill_us);
}
void Get(Reader& r, PeerHeld& m) {
  r.Number("held.call", m.call);
  r.Number("held.lease", m.lease);
  r.Number("held.blocks", m.blocks, uint32_t{1}, static_cast<uint32_t>(kPeerTokensMax));
  r.Number("held.block_bytes", m.block_bytes, uint64_t{1}, uint64_t{1} << 32);
  r.Number("held.prefill_us", m.prefill_us, uint64_t{0}, uint64_t{1} << 40);
}

void Put(Writer& w, const PeerPullBlocks& m) {
  w.Number(m.pull);
  w.Number(m.lease);
  w.Number(m.first);
  w.Number(m.blocks);
}
void Get(Reader& r, PeerPullBlocks& m) {
  constexpr auto kMax = static_cast<uint32_t>(kPeerTokensMax);
  r.Number("pull.pull", m.pull);
  r.Number("pull.lease", m.lease);
  r.Number("pull.first", m.first, uint32_t{0}, kMax);
  r.Number("pull.blocks", m.blocks, uint32_t{1}, kMax);
}

void Put(Writer& w, const PeerRelease& m) { w.Number(m.lease); }
void Get(Reader& r, PeerRelease& m) { r.Number("release.lease", m.lease); }

void Put(Writer& w, const PeerFailure& m) {
  w.Number(static_cast<uint8_t>(m.of));
  w.Number(m.id);
  w.Number(static_cast<uint8_t>(m.status.code()));
  const std::string message(m.status.message());
  w.String(std::string_view(message).substr(0, kPeerErrorBytesMax));
}
void Get(Reader& r, PeerFailure& m) {
  uint8_t of = 0;
  uint8_t code = 0;
  std::string message;
  r.Number("failure.of", of, uint8_t{0}, uint8_t{1});
  r.Number("failure.id", m.id);
  r.Number("failure.code", code, uint8_t{1}, uint8_t{16});
  r.String("failure.message", message, kPeerErrorBytesMax);
  m.of = static_cast<PeerFailure::Of>(of);
  m.status = absl::Status(static_cast<absl::StatusCode>(code), message);
}

template <size_t kIndex = 0>
absl::StatusOr<PeerMessage> ParseAs(size_t index, std::span<const std::byte> body) {
  if constexpr (kIndex < std::variant_size_v<PeerMessage>) {
    if (index != kIndex) return ParseAs<kIndex + 1>(index, body);
    std::variant_alternative_t<kIndex, PeerMessage> message;
    Reader reader(body);
    Get(reader, message);
    RETURN_IF_ERROR(reader.Finish());
    return PeerMessage(std::move(message));
  } else {
    return absl::InvalidArgumentError(StrCat("type ", index + 1, " is not known"));
  }
}

}  // namespace

int64_t PeerChunkBytes(int64_t total) {
  constexpr int64_t kMin = 64 << 10;
  const int64_t eighth = (total / 8 + kMin - 1) / kMin * kMin;  // several, so that they overlap
  return std::clamp(eighth, kMin, kPeerChunkBytesMax);
}

absl::Status SameModel(const PeerModel& ours, const PeerModel& theirs) {
  const auto differs = [](std::string_view field, const auto& here, const auto& there) {
    return absl::FailedPreconditionError(
        StrCat("the peer's model has ", field, " ", there, ", but this daemon's has ", here));
  };
  const KvLayout& a = ours.layout;
  const KvLayout& b = theirs.layout;
  if (ours.name != theirs.name) return differs("name", ours.name, theirs.name);
  if (a.layers != b.layers) return differs("layers", a.layers, b.layers);
  if (a.kv_heads != b.kv_heads) return differs("kv_heads", a.kv_heads, b.kv_heads);
  if (a.head_dim != b.head_dim) return differs("head_dim", a.head_dim, b.head_dim);
  if (a.type != b.type) return differs("kv.type", Name(a.type), Name(b.type));
  if (a.block_tokens != b.block_tokens) {
    return differs("block_tokens", a.block_tokens, b.block_tokens);
  }
  if (ours.fingerprint != theirs.fingerprint) {
    return absl::FailedPreconditionError(
        StrCat("the weights of model \"", Escaped(ours.name),
               "\" are not the peer's: their fingerprints differ"));
  }
  return absl::OkStatus();
}

std::vector<std::byte> EncodeBody(const PeerMessage& message) {
  Writer writer;
  std::visit([&](const auto& m) { Put(writer, m); }, message);
  return writer.Take();
}

absl::StatusOr<PeerMessage> ParseBody(uint16_t type, std::span<const std::byte> body) {
  if (type == 0) return absl::InvalidArgumentError("type 0 is not known");
  return ParseAs(type - size_t{1}, body);
}

PeerEnvelope EnvelopeOf(const PeerMessage& message, const PeerToken& token) {
  return {.type = static_cast<uint16_t>(message.index() + 1), .token = token};
}

std::vector<std::byte> EncodeEnvelope(const PeerEnvelope& envelope) {
  Writer writer;
  writer.Number(kMagic);
  writer.Number(envelope.type);
  writer.Array(envelope.token);
  if (envelope.type == PeerEnvelope::kChunkType) {
    writer.Number(envelope.pull);
    writer.Number(envelope.offset);
  }
  return writer.Take();
}

absl::StatusOr<PeerEnvelope> ParseEnvelope(std::span<const std::byte> header) {
  Reader reader(header);
  uint32_t magic = 0;
  PeerEnvelope envelope;
  reader.Number("envelope.magic", magic, kMagic, kMagic);
  reader.Number("envelope.type", envelope.type);
  reader.Array("envelope.token", envelope.token);
  if (envelope.type == PeerEnvelope::kChunkType) {
    reader.Number("envelope.pull", envelope.pull);
    reader.Number("envelope.offset", envelope.offset);
  }
  RETURN_IF_ERROR(reader.Finish());
  return envelope;
}

}  // namespace baton
