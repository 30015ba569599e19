#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/request/vector_request.h"

namespace baton {

// A payload as stored: per entry, by ascending key, u32 key bytes, key, u8 kind, then a text's u32
// bytes and the text, or 8 bytes of integer or number, or 1 byte of boolean, or a list's u32 length
// and so many texts or integers. Little-endian.
std::string EncodePayload(const Payload& payload);

// Bytes the encoding takes; what the limit on payloads counts.
int64_t EncodedPayloadBytes(const Payload& payload);

// DATA_LOSS for bytes that EncodePayload did not write.
absl::StatusOr<Payload> DecodePayload(std::string_view bytes);

}  // namespace baton
