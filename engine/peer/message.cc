#include "engine/peer/message.h"

#include <algorithm>
#include <bit>
#include <concepts>
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
  void Number(const char*, T value) {
    static_assert(std::is_integral_v<T>);
    Bytes(std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  void Number(const char* field, T value, T, T) {
    Number(field, value);
  }
  template <class T>
  void Enum(const char* field, T value, T, T) {
    Number(field, static_cast<uint8_t>(value));
  }
  template <size_t N>
  void Array(const char*, const std::array<uint8_t, N>& value) {
    Bytes(std::as_bytes(std::span(value)));
  }
  void String(const char* field, std::string_view value, size_t) {
    Number(field, static_cast<uint32_t>(value.size()));
    Bytes(std::as_bytes(std::span(value)));
  }
  void Tokens(const char* field, const std::vector<TokenId>& tokens) {
    Number(field, static_cast<uint32_t>(tokens.size()));
    Bytes(std::as_bytes(std::span(tokens)));
  }
  void Status(const char* code, const char* message, const absl::Status& status) {
    Number(code, static_cast<uint8_t>(status.code()));
    const std::string text(status.message());
    String(message, std::string_view(text).substr(0, kPeerErrorBytesMax), kPeerErrorBytesMax);
  }
  std::vector<std::byte> Take() { return std::move(out_); }

 private:
  void Bytes(std::span<const std::byte> bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }

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
  template <class T>
  void Enum(const char* field, T& value, T first, T last) {
    auto number = static_cast<uint8_t>(first);
    Number(field, number, static_cast<uint8_t>(first), static_cast<uint8_t>(last));
    value = static_cast<T>(number);
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
  void Status(const char* code, const char* message, absl::Status& status) {
    uint8_t number = 0;
    std::string text;
    Number(code, number, uint8_t{1}, uint8_t{16});
    String(message, text, kPeerErrorBytesMax);
    status = absl::Status(static_cast<absl::StatusCode>(number), text);
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

// Each message's fields, once: a Writer puts them, a Reader takes and checks them, in this order.

template <class M, class Of>
concept Is = std::same_as<std::remove_const_t<M>, Of>;

template <class V, Is<PeerHello> M>
void Visit(V& v, M& m) {
  v.Number("hello.version", m.version);
  v.Array("hello.nonce", m.nonce);
  v.Number("hello.generation", m.generation);
}

template <class V, Is<PeerChallenge> M>
void Visit(V& v, M& m) {
  v.Number("challenge.version", m.version);
  v.Array("challenge.nonce", m.nonce);
  v.Number("challenge.generation", m.generation);
  v.Array("challenge.proof", m.proof);
}

template <class V, Is<PeerAnswer> M>
void Visit(V& v, M& m) {
  v.Array("answer.proof", m.proof);
}

template <class V, Is<PeerWelcome> M>
void Visit(V&, M&) {}

template <class V, Is<PeerHeartbeat> M>
void Visit(V&, M&) {}

template <class V, Is<PeerModel> M>
void Visit(V& v, M& m) {
  constexpr int32_t kMax = 1 << 16;
  v.String("prefill.model.name", m.name, kPeerNameBytesMax);
  v.Array("prefill.model.fingerprint", m.fingerprint);
  v.Number("prefill.model.layers", m.layout.layers, 1, kMax);
  v.Number("prefill.model.kv_heads", m.layout.kv_heads, 1, kMax);
  v.Number("prefill.model.head_dim", m.layout.head_dim, 1, kMax);
  v.Number("prefill.model.block_tokens", m.layout.block_tokens, 1, kMax);
  v.Enum("prefill.model.kv_type", m.layout.type, KvType::kF32, KvType::kInt8);
}

template <class V, Is<PeerPrefill> M>
void Visit(V& v, M& m) {
  constexpr uint64_t kHourUs = 3'600'000'000;
  v.Number("prefill.call", m.call);
  Visit(v, m.model);
  v.String("prefill.tenant", m.tenant, kPeerNameBytesMax);
  v.Number("prefill.priority", m.priority);
  v.Number("prefill.timeout_us", m.timeout_us, uint64_t{1}, kHourUs);
  v.Tokens("prefill.tokens", m.tokens);
}

template <class V, Is<PeerCancel> M>
void Visit(V& v, M& m) {
  v.Number("cancel.call", m.call);
}

template <class V, Is<PeerHeld> M>
void Visit(V& v, M& m) {
  v.Number("held.call", m.call);
  v.Number("held.lease", m.lease);
  v.Number("held.blocks", m.blocks, uint32_t{1}, static_cast<uint32_t>(kPeerTokensMax));
  v.Number("held.block_bytes", m.block_bytes, uint64_t{1}, uint64_t{1} << 32);
  v.Number("held.prefill_us", m.prefill_us, uint64_t{0}, uint64_t{1} << 40);
}

template <class V, Is<PeerPullBlocks> M>
void Visit(V& v, M& m) {
  constexpr auto kMax = static_cast<uint32_t>(kPeerTokensMax);
  v.Number("pull.pull", m.pull);
  v.Number("pull.lease", m.lease);
  v.Number("pull.first", m.first, uint32_t{0}, kMax);
  v.Number("pull.blocks", m.blocks, uint32_t{1}, kMax);
}

template <class V, Is<PeerRelease> M>
void Visit(V& v, M& m) {
  v.Number("release.lease", m.lease);
}

template <class V, Is<PeerFailure> M>
void Visit(V& v, M& m) {
  v.Enum("failure.of", m.of, PeerFailure::Of::kCall, PeerFailure::Of::kPull);
  v.Number("failure.id", m.id);
  v.Status("failure.code", "failure.message", m.status);
}

template <class V, Is<PeerEnvelope> M>
void VisitEnvelope(V& v, uint32_t& magic, M& m) {
  v.Number("envelope.magic", magic, kMagic, kMagic);
  v.Number("envelope.type", m.type);
  v.Array("envelope.token", m.token);
  if (m.type != PeerEnvelope::kChunkType) return;
  v.Number("envelope.pull", m.pull);
  v.Number("envelope.offset", m.offset);
}

template <size_t kIndex = 0>
absl::StatusOr<PeerMessage> ParseAs(size_t index, std::span<const std::byte> body) {
  if constexpr (kIndex < std::variant_size_v<PeerMessage>) {
    if (index != kIndex) return ParseAs<kIndex + 1>(index, body);
    std::variant_alternative_t<kIndex, PeerMessage> message;
    Reader reader(body);
    Visit(reader, message);
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
  std::visit([&](const auto& m) { Visit(writer, m); }, message);
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
  uint32_t magic = kMagic;
  VisitEnvelope(writer, magic, envelope);
  return writer.Take();
}

absl::StatusOr<PeerEnvelope> ParseEnvelope(std::span<const std::byte> header) {
  Reader reader(header);
  uint32_t magic = 0;
  PeerEnvelope envelope;
  VisitEnvelope(reader, magic, envelope);
  RETURN_IF_ERROR(reader.Finish());
  return envelope;
}

}  // namespace baton
