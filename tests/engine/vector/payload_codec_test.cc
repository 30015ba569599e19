#include "engine/vector/payload_codec.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

const Payload kPayload = {{"text", std::string("caf\xC3\xA9\0!", 7)},
                          {"empty", std::string()},
                          {"count", std::numeric_limits<int64_t>::min()},
                          {"weight", -0.5},
                          {"yes", true},
                          {"no", false},
                          {"texts", std::vector<std::string>{"a", "", "b"}},
                          {"none", std::vector<std::string>()},
                          {"integers", std::vector<int64_t>{-1, 0, 1}}};

TEST_CASE("payloads come back as they were") {
  for (const Payload& payload : {Payload(), kPayload}) {
    const std::string bytes = EncodePayload(payload);
    REQUIRE(static_cast<int64_t>(bytes.size()) == EncodedPayloadBytes(payload));
    const auto decoded = DecodePayload(bytes);
    REQUIRE_OK(decoded);
    REQUIRE(*decoded == payload);
  }
}

TEST_CASE("damaged payload bytes are refused or harmless") {
  const std::string bytes = EncodePayload(kPayload);
  const std::string key_only("\x01\0\0\0a", 5);
  REQUIRE_STATUS(DecodePayload(key_only), absl::StatusCode::kDataLoss, "damaged");
  REQUIRE_STATUS(DecodePayload(key_only + "\x09"), absl::StatusCode::kDataLoss, "damaged");
  REQUIRE_STATUS(DecodePayload(key_only + "\x03\x02"), absl::StatusCode::kDataLoss, "damaged");
  REQUIRE_STATUS(DecodePayload(key_only + "\x04\xFF\xFF\xFF\xFF"), absl::StatusCode::kDataLoss,
                 "damaged");  // a list of more than there is
  REQUIRE_STATUS(DecodePayload("\xFF\xFF\xFF\xFF"), absl::StatusCode::kDataLoss, "damaged");
  std::mt19937 random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::string damaged = bytes;
    damaged[random() % damaged.size()] = static_cast<char>(random());
    if (round % 2 == 0) damaged.resize(random() % damaged.size());
    const auto decoded = DecodePayload(damaged);
    if (!decoded.ok()) REQUIRE(decoded.status().code() == absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace baton
