#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "server/token_file.h"

namespace baton {

// Who may do what: bearer tokens, their scopes and limits. Without a file of tokens everybody may
// do everything. Thread safe; a check takes microseconds and never waits for the disk.
class Access {
 private:
  struct Use;

 public:
  // A request that may run. While it lives it counts among those of its token.
  class Grant {
   public:
    Grant() = default;
    Grant(Grant&&) = default;
    Grant& operator=(Grant&& other);
    ~Grant() { Release(); }

    std::string_view name() const;  // of the token; empty where none is asked for

   private:
    friend class Access;
    explicit Grant(std::shared_ptr<Use> use) : use_(std::move(use)) {}
    void Release();
    std::shared_ptr<Use> use_;
  };

  struct Options {
    std::string tokens_file;                   // empty: no token is asked for
    std::function<int64_t()> now_s = nullptr;  // since 1970, for expiry; null: the system's
  };

  // Reads the tokens. INVALID_ARGUMENT names the file and the line. Both outlive it.
  static absl::StatusOr<std::unique_ptr<Access>> Create(Options options, Metrics& metrics,
                                                        const Clock& clock);
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

  bool asks_for_tokens() const { return !options_.tokens_file.empty(); }

  // `authorization`: the header, "Bearer TOKEN"; empty: there is none. `what`: the request, for
  // messages. UNAUTHENTICATED: no token, an unknown or an expired one. PERMISSION_DENIED: it lacks
  // a scope. RESOURCE_EXHAUSTED, "retry in N ms": it has too many requests, running or a second.
  absl::StatusOr<Grant> Check(std::string_view authorization, Scopes needed, std::string_view what);
  // The same of an RPC, "Service/Method".
  absl::StatusOr<Grant> CheckRpc(std::string_view authorization, std::string_view method);

  // Reads the file again; on an error everything stays as it was. Requests that run go on, and
  // count among those of a token of the same name.
  absl::Status Reload();

 private:
  struct Table;
  Access(Options options, Metrics& metrics, const Clock& clock);
  absl::Status Refuse(const char* reason, absl::Status status);
  absl::Status Load();

  const Options options_;
  Metrics& metrics_;
  const Clock& clock_;
  std::mutex mutex_;
  std::shared_ptr<const Table> table_;  // guarded by mutex_
};

}  // namespace baton
