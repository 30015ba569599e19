#include "server/access.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "server/access_scopes.h"

namespace baton {
namespace {

constexpr std::string_view kScheme = "Bearer ";
// When a request of the same token is likely to have ended.
constexpr int64_t kBusyRetryMs = 50;

int64_t SystemSeconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

// The token of "Bearer TOKEN", whose scheme may be in any case (RFC 7235).
std::optional<std::string_view> TokenOf(std::string_view authorization) {
  const std::string_view scheme = authorization.substr(0, kScheme.size());
  if (!absl::EqualsIgnoreCase(absl::string_view(scheme.data(), scheme.size()),
                              absl::string_view(kScheme.data(), kScheme.size()))) {
    return std::nullopt;
  }
  std::string_view token = authorization.substr(kScheme.size());
  while (token.starts_with(' ')) token.remove_prefix(1);
  while (token.ends_with(' ')) token.remove_suffix(1);
  if (token.empty()) return std::nullopt;
  return token;
}

}  // namespace

// What a name has running and has had lately; it outlives the table, which is read again.
struct Access::Use {
  explicit Use(std::string_view token_name) : name(token_name) {}

  const std::string name;
  std::atomic<int64_t> running = 0;
  std::mutex mutex;
  double allowance = -1;  // requests that may come at once; -1: none has come yet
  TimeUs told_us = 0;     // when that was so

  // Whether another request may come now; else after how many milliseconds.
  std::optional<int64_t> Wait(const TokenEntry& entry, TimeUs now_us) {
    const double most = entry.burst > 0 ? entry.burst : std::max(1.0, entry.rate);
    const std::lock_guard lock(mutex);
    if (allowance < 0) {
      allowance = most;
    } else {
      allowance = std::min(most, allowance + entry.rate * Seconds(now_us - told_us));
    }
    told_us = now_us;
    if (allowance >= 1) {
      allowance -= 1;
      return std::nullopt;
    }
    return static_cast<int64_t>(std::ceil((1 - allowance) / entry.rate * 1e3));
  }
};

struct Access::Table {
  struct Row {
    TokenEntry entry;
    std::shared_ptr<Use> use;
  };
  // By a hash that nobody can choose, so that how long a look-up takes tells nothing.
  absl::flat_hash_map<TokenHash, Row> rows;
};

Access::Grant& Access::Grant::operator=(Grant&& other) {
  Release();
  use_ = std::move(other.use_);
  return *this;
}

std::string_view Access::Grant::name() const {
  return use_ == nullptr ? std::string_view() : use_->name;
}

void Access::Grant::Release() {
  if (use_ != nullptr) --use_->running;
  use_.reset();
}

Access::Access(Options options, Metrics& metrics, const Clock& clock)
    : options_([&] {
        if (options.now_s == nullptr) options.now_s = SystemSeconds;
        return std::move(options);
      }()),
      metrics_(metrics),
      clock_(clock),
      table_(std::make_shared<const Table>()) {}

Access::~Access() = default;

absl::StatusOr<std::unique_ptr<Access>> Access::Create(Options options, Metrics& metrics,
                                                       const Clock& clock) {
  std::unique_ptr<Access> access(new Access(std::move(options), metrics, clock));
  if (access->asks_for_tokens()) RETURN_IF_ERROR(access->Load());
  return access;
}

absl::Status Access::Load() {
  ASSIGN_OR_RETURN(const std::vector<TokenEntry> entries, ReadTokens(options_.tokens_file));
  if (entries.empty()) {
    return absl::InvalidArgumentError(
        StrCat(options_.tokens_file, " names no token; batonctl token makes one"));
  }
  auto table = std::make_shared<Table>();
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::shared_ptr<Use>> uses;
  for (const auto& [hash, row] : table_->rows) uses.emplace(row.entry.name, row.use);
  for (const TokenEntry& entry : entries) {
    std::shared_ptr<Use>& use = uses[entry.name];
    if (use == nullptr) use = std::make_shared<Use>(entry.name);
    table->rows.emplace(entry.hash, Table::Row{.entry = entry, .use = use});
  }
  metrics_.Gauge(MetricId::kAccessTokens).Set(static_cast<double>(entries.size()));
  table_ = std::move(table);
  return absl::OkStatus();
}

absl::Status Access::Reload() {
  if (!asks_for_tokens()) return absl::OkStatus();
  const absl::Status loaded = Load();
  metrics_.Counter(MetricId::kReloads, {"tokens", loaded.ok() ? "ok" : "failed"}).Increment();
  return loaded;
}

absl::Status Access::Refuse(const char* reason, absl::Status status) {
  metrics_.Counter(MetricId::kAccessRefused, {reason}).Increment();
  return status;
}

absl::StatusOr<Access::Grant> Access::Check(std::string_view authorization, Scopes needed,
                                            std::string_view what) {
  if (!asks_for_tokens()) return Grant();
  if (authorization.empty()) {
    return Refuse("no_token", absl::UnauthenticatedError(
                                  "a token is needed: send \"authorization: Bearer TOKEN\""));
  }
  const std::optional<std::string_view> token = TokenOf(authorization);
  if (!token) {
    return Refuse("no_token", absl::UnauthenticatedError("authorization must be \"Bearer TOKEN\""));
  }
  const TokenHash hash = HashToken(*token);
  std::shared_ptr<const Table> table;
  {
    const std::lock_guard lock(mutex_);
    table = table_;
  }
  const auto found = table->rows.find(hash);
  if (found == table->rows.end()) {
    return Refuse("unknown_token", absl::UnauthenticatedError("the bearer token is not known"));
  }
  const TokenEntry& entry = found->second.entry;
  if (options_.now_s() >= entry.expires_s) {
    return Refuse("expired_token",
                  absl::UnauthenticatedError(StrCat("the bearer token \"", entry.name,
                                                    "\" expired at ", FormatUtc(entry.expires_s))));
  }
  if (const auto lacking = static_cast<Scopes>(needed & ~entry.scopes); lacking != 0) {
    return Refuse("scope", absl::PermissionDeniedError(StrCat("the bearer token \"", entry.name,
                                                              "\" lacks the scope ", Names(lacking),
                                                              ", which ", what, " needs")));
  }
  Use& use = *found->second.use;
  Grant grant(found->second.use);  // from here on it is released where it is not returned
  if (++use.running > entry.concurrency && entry.concurrency > 0) {
    return Refuse("concurrency",
                  absl::ResourceExhaustedError(
                      StrCat("the bearer token \"", entry.name, "\" may have ", entry.concurrency,
                             " requests running; retry in ", kBusyRetryMs, " ms")));
  }
  if (entry.rate > 0) {
    if (const std::optional<int64_t> wait_ms = use.Wait(entry, clock_.NowUs())) {
      return Refuse("rate",
                    absl::ResourceExhaustedError(StrCat(
                        "the bearer token \"", entry.name, "\" may send ", entry.rate,
                        " requests a second; retry in ", std::max<int64_t>(1, *wait_ms), " ms")));
    }
  }
  return grant;
}

absl::StatusOr<Access::Grant> Access::CheckRpc(std::string_view authorization,
                                               std::string_view method) {
  if (!asks_for_tokens()) return Grant();
  const std::optional<Scopes> scopes = ScopesOf(method);
  if (!scopes) {
    return Refuse("unknown_method",
                  absl::PermissionDeniedError(StrCat("no scope is declared for ", method)));
  }
  return Check(authorization, *scopes, method);
}

}  // namespace baton
