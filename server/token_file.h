#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace baton {

// What a bearer token allows. A set is the sum of its scopes.
enum class Scope : uint8_t { kRead = 1, kWrite = 2, kGenerate = 4, kAdmin = 8 };
using Scopes = uint8_t;
inline constexpr Scopes kAnyToken = 0;  // any valid token will do

constexpr Scopes operator|(Scope a, Scope b) {
  return static_cast<Scopes>(static_cast<Scopes>(a) | static_cast<Scopes>(b));
}

std::string Names(Scopes scopes);  // "read,generate"
// INVALID_ARGUMENT names what is no scope.
absl::StatusOr<Scopes> ParseScopes(std::string_view text);

using TokenHash = std::array<uint8_t, 32>;  // SHA-256

// A token is 256 random bits, so one round of SHA-256 is enough: nothing can be guessed.
TokenHash HashToken(std::string_view token);
// "baton_" and 43 characters of base64url.
std::string MakeToken();

// One line of the file of tokens.
struct TokenEntry {
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  std::string name;  // 1 to 128 of [A-Za-z0-9_.:-]; several lines may have it, as while one
                     // replaces the other: they share its limits
  TokenHash hash = {};
  Scopes scopes = 0;
  double rate = 0;             // requests a second; 0: any number
  double burst = 0;            // so many at once; 0: those of one second, or one
  int32_t concurrency = 0;     // running at once; 0: any number
  int64_t expires_s = kNever;  // since 1970
};

// NAME sha256:HEX SCOPE,... [rate=R] [burst=B] [concurrency=N] [expires=2027-01-31T00:00:00Z]
std::string ToLine(const TokenEntry& entry);
// Lines as above, blank ones, and comments behind '#'. INVALID_ARGUMENT names `file`, the line and
// the field; it never repeats what may be a secret.
absl::StatusOr<std::vector<TokenEntry>> ParseTokens(std::string_view text, std::string_view file);
absl::StatusOr<std::vector<TokenEntry>> ReadTokens(const std::string& path);

// "2027-01-31T00:00:00Z" and back, in seconds since 1970.
absl::StatusOr<int64_t> ParseUtc(std::string_view text);
std::string FormatUtc(int64_t seconds);

}  // namespace baton
