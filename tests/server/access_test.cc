#include "server/access.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "prometheus/text_serializer.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

using absl::StatusCode;

constexpr Scopes kRead = static_cast<Scopes>(Scope::kRead);
constexpr Scopes kGenerate = static_cast<Scopes>(Scope::kGenerate);

struct Fixture {
  TempDir dir;
  FakeClock clock;
  Metrics metrics;
  int64_t now_s = 1'000;
  std::unique_ptr<Access> access;

  std::string path() const { return dir.path() + "/tokens"; }
  void Write(const std::string& text) { std::ofstream(path()) << text; }
  // A token with these fields behind its hash.
  static std::string Line(const std::string& name, const std::string& token,
                          const std::string& rest) {
    std::string line = ToLine({.name = name, .hash = HashToken(token), .scopes = 0});
    return line + rest + "\n";
  }
  void Open() {
    auto opened =
        Access::Create({.tokens_file = path(), .now_s = [this] { return now_s; }}, metrics, clock);
    REQUIRE_OK(opened);
    access = *std::move(opened);
  }
  absl::StatusOr<Access::Grant> Check(const std::string& token, Scopes needed) {
    return access->Check("Bearer " + token, needed, "it");
  }
  double Refused(const char* reason) {
    return metrics.Counter(MetricId::kAccessRefused, {reason}).Value();
  }
};

TEST_CASE("without a file of tokens everybody may do everything") {
  Metrics metrics;
  FakeClock clock;
  auto access = Access::Create({}, metrics, clock);
  REQUIRE_OK(access);
  CHECK_FALSE((*access)->asks_for_tokens());
  const auto grant = (*access)->CheckRpc("", "AdminService/UnloadModel");
  REQUIRE_OK(grant);
  CHECK(grant->name().empty());
  CHECK((*access)->Reload().ok());
}

TEST_CASE("a token may do what its scopes say and nothing else") {
  Fixture f;
  f.Write(f.Line("reader", "t-read", "read") + f.Line("all", "t-all", "read,write,generate,admin"));
  f.Open();
  const auto grant = f.Check("t-read", kRead);
  REQUIRE_OK(grant);
  CHECK(grant->name() == "reader");
  CHECK(f.Check("t-read", kAnyToken).ok());
  for (const Scopes needed :
       {kGenerate, Scope::kRead | Scope::kGenerate, static_cast<Scopes>(Scope::kWrite),
        static_cast<Scopes>(Scope::kAdmin)}) {
    REQUIRE_STATUS(f.Check("t-read", needed), StatusCode::kPermissionDenied,
                   "the bearer token \"reader\" lacks the scope");
    CHECK(f.Check("t-all", needed).ok());
  }
  REQUIRE_STATUS(f.Check("t-read", Scope::kRead | Scope::kAdmin), StatusCode::kPermissionDenied,
                 "lacks the scope admin, which it needs");
  CHECK(f.Refused("scope") == 5);
}

TEST_CASE("what is no valid token is refused and never repeated") {
  Fixture f;
  f.Write(f.Line("a", "secret", "read"));
  f.Open();
  const auto check = [&](const std::string& header) {
    const absl::Status status = f.access->Check(header, kRead, "it").status();
    CHECK(status.code() == StatusCode::kUnauthenticated);
    CHECK_THAT(std::string(status.message()),
               !Catch::Contains("s3cret") && !Catch::Contains("secret"));
    return std::string(status.message());
  };
  CHECK_THAT(check(""), Catch::Contains("a token is needed"));
  CHECK_THAT(check("Bearer s3cret"), Catch::Contains("is not known"));
  CHECK_THAT(check("Bearer "), Catch::Contains("must be \"Bearer TOKEN\""));
  CHECK_THAT(check("s3cret"), Catch::Contains("must be \"Bearer TOKEN\""));
  CHECK_THAT(check("Basic s3cret"), Catch::Contains("must be \"Bearer TOKEN\""));
  CHECK_THAT(check("Bearer secret and more"), Catch::Contains("is not known"));
  CHECK_THAT(check("Bearer " + std::string(1 << 16, 'x')), Catch::Contains("is not known"));
  CHECK(f.access->Check("bearer secret", kRead, "it").ok());
  CHECK(f.access->Check("BEARER  secret ", kRead, "it").ok());
  CHECK(f.Refused("no_token") == 4);
  CHECK(f.Refused("unknown_token") == 3);
}

TEST_CASE("a token expires") {
  Fixture f;
  f.Write(f.Line("a", "t", "read expires=1970-01-01T00:30:00Z"));
  f.Open();
  CHECK(f.Check("t", kRead).ok());
  f.now_s = 1'799;
  CHECK(f.Check("t", kRead).ok());
  f.now_s = 1'800;
  REQUIRE_STATUS(f.Check("t", kRead), StatusCode::kUnauthenticated,
                 "the bearer token \"a\" expired at 1970-01-01T00:30:00Z");
}

TEST_CASE("a token has so many requests running and no more") {
  Fixture f;
  f.Write(f.Line("a", "t", "read concurrency=2") + f.Line("b", "u", "read"));
  f.Open();
  auto first = f.Check("t", kRead);
  auto second = f.Check("t", kRead);
  REQUIRE_OK(first);
  REQUIRE_OK(second);
  REQUIRE_STATUS(f.Check("t", kRead), StatusCode::kResourceExhausted,
                 "may have 2 requests running; retry in 50 ms");
  CHECK(f.Check("u", kRead).ok());  // others are not concerned
  *first = Access::Grant();
  auto third = f.Check("t", kRead);
  REQUIRE_OK(third);
  REQUIRE_STATUS(f.Check("t", kRead), StatusCode::kResourceExhausted, "retry in");
  second = std::move(third);  // one of both has ended
  CHECK(f.Check("t", kRead).ok());
  // A refusal for another reason holds nothing.
  for (int i = 0; i < 10; ++i) CHECK_FALSE(f.Check("t", kGenerate).ok());
  CHECK(f.Check("t", kRead).ok());
}

TEST_CASE("a token sends so many requests a second, and is told when to come again") {
  Fixture f;
  f.Write(f.Line("a", "t", "read rate=10 burst=3"));
  f.Open();
  for (int i = 0; i < 3; ++i) CHECK(f.Check("t", kRead).ok());
  REQUIRE_STATUS(f.Check("t", kRead), StatusCode::kResourceExhausted,
                 "may send 10 requests a second; retry in 100 ms");
  f.clock.AdvanceUs(60'000);
  REQUIRE_STATUS(f.Check("t", kRead), StatusCode::kResourceExhausted, "retry in 40 ms");
  f.clock.AdvanceUs(40'000);  // as it was told
  CHECK(f.Check("t", kRead).ok());
  CHECK_FALSE(f.Check("t", kRead).ok());
  f.clock.AdvanceUs(60'000'000);  // no more than the burst is saved up
  for (int i = 0; i < 3; ++i) CHECK(f.Check("t", kRead).ok());
  CHECK_FALSE(f.Check("t", kRead).ok());
  CHECK(f.Refused("rate") == 4);
}

TEST_CASE("tokens are replaced while requests run") {
  Fixture f;
  f.Write(f.Line("app", "old", "read concurrency=2"));
  f.Open();
  auto running = f.Check("old", kRead);
  REQUIRE_OK(running);
  // Both, for as long as clients need; they share the limits of the name.
  f.Write(f.Line("app", "old", "read concurrency=2") + f.Line("app", "new", "read concurrency=2"));
  REQUIRE_OK(f.access->Reload());
  auto other = f.Check("new", kRead);
  REQUIRE_OK(other);
  CHECK(f.Check("old", kRead).status().code() == StatusCode::kResourceExhausted);
  f.Write(f.Line("app", "new", "read concurrency=2"));
  REQUIRE_OK(f.access->Reload());
  REQUIRE_STATUS(f.Check("old", kRead), StatusCode::kUnauthenticated, "is not known");
  CHECK(f.Check("new", kRead).status().code() == StatusCode::kResourceExhausted);
  *running = Access::Grant();  // of a token that is gone
  CHECK(f.Check("new", kRead).ok());
}

TEST_CASE("a file that cannot be read again changes nothing") {
  Fixture f;
  f.Write(f.Line("a", "t", "read"));
  f.Open();
  for (const std::string& text :
       {std::string("a sha256:12"), std::string(), std::string("# nobody\n"),
        f.Line("a", "t", "read") + "half a li"}) {
    f.Write(text);
    CHECK_FALSE(f.access->Reload().ok());
    CHECK(f.Check("t", kRead).ok());
  }
  std::remove(f.path().c_str());
  REQUIRE_STATUS(f.access->Reload(), StatusCode::kInvalidArgument, "cannot read " + f.path());
  CHECK(f.Check("t", kRead).ok());
  CHECK(f.metrics.Counter(MetricId::kReloads, {"tokens", "failed"}).Value() == 5);
  CHECK(f.metrics.Gauge(MetricId::kAccessTokens).Value() == 1);
}

TEST_CASE("an RPC that no scope is declared for is nobody's") {
  Fixture f;
  f.Write(f.Line("a", "t", "read,write,generate,admin"));
  f.Open();
  CHECK(f.access->CheckRpc("Bearer t", "AdminService/UnloadModel").ok());
  REQUIRE_STATUS(f.access->CheckRpc("Bearer t", "AdminService/SelfDestruct"),
                 StatusCode::kPermissionDenied,
                 "no scope is declared for AdminService/SelfDestruct");
}

TEST_CASE("checks and reloads meet") {
  Fixture f;
  const std::string text = f.Line("a", "t", "read concurrency=1000 rate=1000000");
  f.Write(text);
  f.Open();
  std::atomic<int> failed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 500; ++k) failed += f.Check("t", kRead).ok() ? 0 : 1;
    });
  }
  for (int i = 0; i < 50; ++i) failed += f.access->Reload().ok() ? 0 : 1;
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
}

TEST_CASE("no secret is in any metric") {
  Fixture f;
  f.Write(f.Line("name", "s3cret", "read"));
  f.Open();
  CHECK(f.Check("s3cret", kRead).ok());
  CHECK_FALSE(f.Check("s3cret", kGenerate).ok());
  CHECK_FALSE(f.Check("wrong-s3cret", kRead).ok());
  const std::string told = prometheus::TextSerializer().Serialize(f.metrics.registry()->Collect());
  CHECK_THAT(told, Catch::Contains("baton_access_refused_total{reason=\"scope\"} 1") &&
                       !Catch::Contains("s3cret"));
}

}  // namespace
}  // namespace baton
