#include "engine/peer/message.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

PeerModel SomeModel() {
  return {.name = "m",
          .fingerprint = {1, 2, 3},
          .layout = {
              .layers = 2, .kv_heads = 3, .head_dim = 8, .block_tokens = 16, .type = KvType::kF16}};
}

std::vector<PeerMessage> Samples() {
  return {
      PeerHello{.nonce = {7}, .generation = 9},
      PeerChallenge{.nonce = {8}, .generation = 1, .proof = {5}},
      PeerAnswer{.proof = {6}},
      PeerWelcome{},
      PeerHeartbeat{},
      PeerPrefill{.call = 3,
                  .model = SomeModel(),
                  .tenant = "t",
                  .priority = -4,
                  .timeout_us = 5,
                  .tokens = {1, 2, 3}},
      PeerCancel{.call = 3},
      PeerHeld{.call = 3, .lease = 4, .blocks = 5, .block_bytes = 6, .prefill_us = 7},
      PeerPullBlocks{.pull = 1, .lease = 2, .first = 3, .blocks = 4},
      PeerRelease{.lease = 2},
      PeerFailure{.of = PeerFailure::Of::kPull, .id = 2, .status = absl::NotFoundError("gone")}};
}

TEST_CASE("every message comes back as it went") {
  const std::vector<PeerMessage> samples = Samples();
  REQUIRE(samples.size() == std::variant_size_v<PeerMessage>);
  for (size_t i = 0; i < samples.size(); ++i) {
    CAPTURE(i);
    REQUIRE(samples[i].index() == i);
    const PeerEnvelope envelope = EnvelopeOf(samples[i], {1, 2});
    const auto parsed_envelope = ParseEnvelope(EncodeEnvelope(envelope));
    REQUIRE_OK(parsed_envelope);
    CHECK(*parsed_envelope == envelope);
    const auto parsed = ParseBody(envelope.type, EncodeBody(samples[i]));
    REQUIRE_OK(parsed);
    CHECK(*parsed == samples[i]);
  }
  const PeerEnvelope chunk{
      .type = PeerEnvelope::kChunkType, .token = {3}, .pull = 4, .offset = 1 << 20};
  CHECK(*ParseEnvelope(EncodeEnvelope(chunk)) == chunk);
  CHECK(EncodeEnvelope(chunk).size() <= PeerEnvelope::kBytesMax);
}

TEST_CASE("a message cut anywhere, or with something behind it, is refused") {
  for (const PeerMessage& sample : Samples()) {
    const auto type = static_cast<uint16_t>(sample.index() + 1);
    std::vector<std::byte> body = EncodeBody(sample);
    CAPTURE(type);
    for (size_t length = 0; length < body.size(); ++length) {
      CAPTURE(length);
      REQUIRE_STATUS(ParseBody(type, std::span(body).first(length)),
                     absl::StatusCode::kInvalidArgument, "");
    }
    body.push_back(std::byte{0});
    REQUIRE_STATUS(ParseBody(type, body), absl::StatusCode::kInvalidArgument, "left over");
  }
  std::vector<std::byte> header = EncodeEnvelope({.type = 1});
  header[0] ^= std::byte{1};
  REQUIRE_STATUS(ParseEnvelope(header), absl::StatusCode::kInvalidArgument, "envelope.magic");
  REQUIRE_STATUS(ParseEnvelope({}), absl::StatusCode::kInvalidArgument, "envelope.magic");
  REQUIRE_STATUS(ParseBody(0, {}), absl::StatusCode::kInvalidArgument, "type 0");
  REQUIRE_STATUS(ParseBody(200, {}), absl::StatusCode::kInvalidArgument, "type 200");
}

TEST_CASE("values beyond their limits are refused by name") {
  const auto refused = [](const PeerMessage& message, const std::string& part) {
    REQUIRE_STATUS(ParseBody(static_cast<uint16_t>(message.index() + 1), EncodeBody(message)),
                   absl::StatusCode::kInvalidArgument, part);
  };
  PeerPrefill prefill{.model = SomeModel(), .timeout_us = 1, .tokens = {1}};
  prefill.timeout_us = 0;
  refused(prefill, "prefill.timeout_us must be 1 to");
  prefill.timeout_us = 1;
  prefill.tenant = std::string(kPeerNameBytesMax + 1, 'x');
  refused(prefill, "prefill.tenant must have at most 256");
  prefill.tenant.clear();
  prefill.model.layout.head_dim = 0;
  refused(prefill, "prefill.model.head_dim");
  prefill.model = SomeModel();
  prefill.tokens.resize(kPeerTokensMax + 1);
  refused(prefill, "prefill.tokens must have at most");
  refused(PeerHeld{.blocks = 0, .block_bytes = 1}, "held.blocks");
  refused(PeerHeld{.blocks = 1, .block_bytes = uint64_t{1} << 40}, "held.block_bytes");
  refused(PeerPullBlocks{.blocks = 0}, "pull.blocks");

  // A count that the bytes behind it do not bear out allocates nothing.
  std::vector<std::byte> body = EncodeBody(PeerPrefill{.model = SomeModel(), .timeout_us = 1});
  body[body.size() - 3] = std::byte{0xff};  // of the count of tokens
  REQUIRE_STATUS(ParseBody(6, body), absl::StatusCode::kInvalidArgument, "prefill.tokens has");

  // A long error is cut, not refused.
  const PeerFailure failure{.status = absl::InternalError(std::string(5000, 'x'))};
  const auto parsed = ParseBody(11, EncodeBody(failure));
  REQUIRE_OK(parsed);
  CHECK(std::get<PeerFailure>(*parsed).status.message().size() == kPeerErrorBytesMax);
}

TEST_CASE("models that differ are told apart by the field") {
  const PeerModel ours = SomeModel();
  REQUIRE_OK(SameModel(ours, SomeModel()));
  const auto differs = [&](auto change, const std::string& part) {
    PeerModel theirs = SomeModel();
    change(theirs);
    REQUIRE_STATUS(SameModel(ours, theirs), absl::StatusCode::kFailedPrecondition, part);
  };
  differs([](PeerModel& m) { m.name = "n"; }, "name n, but this daemon's has m");
  differs([](PeerModel& m) { m.layout.layers = 9; }, "layers 9");
  differs([](PeerModel& m) { m.layout.kv_heads = 9; }, "kv_heads 9");
  differs([](PeerModel& m) { m.layout.head_dim = 9; }, "head_dim 9");
  differs([](PeerModel& m) { m.layout.block_tokens = 32; }, "block_tokens 32");
  differs([](PeerModel& m) { m.layout.type = KvType::kInt8; }, "kv.type int8");
  differs([](PeerModel& m) { m.fingerprint[5] = 1; }, "fingerprints differ");
}

}  // namespace
}  // namespace baton
