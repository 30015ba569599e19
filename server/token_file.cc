#include "server/token_file.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <time.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr std::string_view kTokenPrefix = "baton_";
constexpr std::string_view kHashPrefix = "sha256:";
constexpr size_t kTokenBytes = 32;
constexpr size_t kFileBytesMax = 16 << 20;
constexpr std::pair<Scope, std::string_view> kScopes[] = {{Scope::kRead, "read"},
                                                          {Scope::kWrite, "write"},
                                                          {Scope::kGenerate, "generate"},
                                                          {Scope::kAdmin, "admin"}};

bool ParseHash(std::string_view text, TokenHash& hash) {
  if (!text.starts_with(kHashPrefix)) return false;
  text.remove_prefix(kHashPrefix.size());
  if (text.size() != 2 * hash.size()) return false;
  for (size_t i = 0; i < hash.size(); ++i) {
    const char* const digits = text.data() + 2 * i;
    const auto [end, error] = std::from_chars(digits, digits + 2, hash[i], 16);
    if (error != std::errc() || end != digits + 2) return false;
  }
  return true;
}

template <class Number>
absl::Status ParseLimit(std::string_view key, std::string_view text, Number max, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value > 0) || value > max) {
    return absl::InvalidArgumentError(StrCat(key, " must be a number above 0, at most ", max));
  }
  return absl::OkStatus();
}

absl::Status ParseField(std::string_view field, TokenEntry& entry) {
  const size_t equals = field.find('=');
  const std::string_view key = field.substr(0, equals);
  const std::string_view value = equals == field.npos ? "" : field.substr(equals + 1);
  if (key == "rate") return ParseLimit(key, value, 1e9, entry.rate);
  if (key == "burst") return ParseLimit(key, value, 1e9, entry.burst);
  if (key == "concurrency") return ParseLimit(key, value, 1'000'000, entry.concurrency);
  if (key == "expires") {
    ASSIGN_OR_RETURN(entry.expires_s, ParseUtc(value));
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("a field is none of rate=, burst=, concurrency= and expires=");
}

absl::StatusOr<TokenEntry> ParseEntry(std::string_view line) {
  std::vector<std::string> fields = absl::StrSplit(absl::string_view(line.data(), line.size()),
                                                   absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (fields.size() < 3) {
    return absl::InvalidArgumentError("needs at least a name, sha256:HASH and scopes");
  }
  TokenEntry entry;
  if (!IsPlainName(fields[0])) {
    return absl::InvalidArgumentError("the name must be 1 to 128 characters of [A-Za-z0-9_.:-]");
  }
  entry.name = std::move(fields[0]);
  if (!ParseHash(fields[1], entry.hash)) {
    return absl::InvalidArgumentError(StrCat(
        "the second field must be sha256: and 64 hexadecimal digits, as batonctl token makes it"));
  }
  ASSIGN_OR_RETURN(entry.scopes, ParseScopes(fields[2]));
  for (size_t i = 3; i < fields.size(); ++i) RETURN_IF_ERROR(ParseField(fields[i], entry));
  if (entry.burst > 0 && entry.rate == 0) {
    return absl::InvalidArgumentError("burst needs a rate");
  }
  return entry;
}

}  // namespace

std::string Names(Scopes scopes) {
  std::string names;
  for (const auto& [scope, name] : kScopes) {
    if ((scopes & static_cast<Scopes>(scope)) == 0) continue;
    names += StrCat(names.empty() ? "" : ",", name);
  }
  return names;
}

absl::StatusOr<Scopes> ParseScopes(std::string_view text) {
  Scopes scopes = 0;
  for (const absl::string_view part :
       absl::StrSplit(absl::string_view(text.data(), text.size()), ',')) {
    bool found = false;
    for (const auto& [scope, name] : kScopes) {
      if (std::string_view(part.data(), part.size()) != name) continue;
      scopes |= static_cast<Scopes>(scope);
      found = true;
    }
    if (!found) {
      return absl::InvalidArgumentError(
          "scopes must be some of read,write,generate,admin, without spaces");
    }
  }
  return scopes;
}

TokenHash HashToken(std::string_view token) {
  TokenHash hash;
  unsigned int bytes = 0;
  const int done =
      EVP_Digest(token.data(), token.size(), hash.data(), &bytes, EVP_sha256(), nullptr);
  BATON_CHECK(done == 1 && bytes == hash.size());
  return hash;
}

std::string MakeToken() {
  unsigned char random[kTokenBytes];
  BATON_CHECK(RAND_bytes(random, sizeof(random)) == 1);
  std::string text = absl::WebSafeBase64Escape(
      absl::string_view(reinterpret_cast<const char*>(random), sizeof(random)));
  return StrCat(kTokenPrefix, text);
}

std::string ToLine(const TokenEntry& entry) {
  const absl::string_view hash(reinterpret_cast<const char*>(entry.hash.data()), entry.hash.size());
  std::string line =
      StrCat(entry.name, " ", kHashPrefix, absl::BytesToHexString(hash), " ", Names(entry.scopes));
  if (entry.rate > 0) line += StrCat(" rate=", entry.rate);
  if (entry.burst > 0) line += StrCat(" burst=", entry.burst);
  if (entry.concurrency > 0) line += StrCat(" concurrency=", entry.concurrency);
  if (entry.expires_s != TokenEntry::kNever) {
    line += StrCat(" expires=", FormatUtc(entry.expires_s));
  }
  return line;
}

absl::StatusOr<std::vector<TokenEntry>> ParseTokens(std::string_view text, std::string_view file) {
  std::vector<TokenEntry> entries;
  std::set<TokenHash> hashes;
  int64_t number = 0;
  for (absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    absl::StatusOr<TokenEntry> entry = ParseEntry(std::string_view(line.data(), line.size()));
    if (entry.ok() && !hashes.insert(entry->hash).second) {
      entry = absl::InvalidArgumentError("the same token stands in a line above");
    }
    if (!entry.ok()) {
      return absl::InvalidArgumentError(
          StrCat(file, ":", number, ": ", std::string(entry.status().message())));
    }
    entries.push_back(*std::move(entry));
  }
  return entries;
}

absl::StatusOr<std::vector<TokenEntry>> ReadTokens(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::InvalidArgumentError(StrCat("cannot read ", path, ": ", std::strerror(errno)));
  }
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return absl::InvalidArgumentError(StrCat("cannot read ", path));
  if (text.size() > kFileBytesMax) {
    return absl::InvalidArgumentError(
        StrCat(path, " has ", text.size(), " bytes, at most ", kFileBytesMax, " are read"));
  }
  return ParseTokens(text, path);
}

absl::StatusOr<int64_t> ParseUtc(std::string_view text) {
  const std::string copy(text);
  tm parts = {};
  const char* const end = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end == nullptr || *end != '\0') {
    return absl::InvalidArgumentError("expires must be a time such as 2027-01-31T00:00:00Z");
  }
  return timegm(&parts);
}

std::string FormatUtc(int64_t seconds) {
  const time_t time = seconds;
  tm parts = {};
  gmtime_r(&time, &parts);
  char text[64];
  strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace baton
