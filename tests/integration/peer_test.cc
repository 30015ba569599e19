// Two daemons, one of which prefills for the other, and either is killed at every state of it.
#include <sys/types.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/client.h"
#include "tests/support/eventually.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

// One that serves, P, and one that asks, D.
class Daemons {
 public:
  // Each a state that it is held at, or nothing.
  Daemons(const std::string& p_holds, const std::string& d_holds, int64_t timeout_ms = 60'000,
          const std::string& d_secret = "0123456789abcdef") {
    p = std::make_unique<Daemon>(
        Flags("p", p_holds, "0123456789abcdef", {"--peer.listen=127.0.0.1:0"}));
    REQUIRE_FALSE(p->peer_address().empty());
    d = std::make_unique<Daemon>(Flags("d", d_holds, d_secret,
                                       {"--peer.prefill=" + p->peer_address(),
                                        "--peer.timeout_ms=" + std::to_string(timeout_ms)}));
  }

  void AwaitLink() const {
    REQUIRE(Eventually([&] { return d->Metric("baton_peer_links{direction=\"out\"}") == 1; }));
  }
  static void AwaitHeld(const Daemon& daemon, const std::string& state) {
    REQUIRE(Eventually([&] {
      return daemon.Log().find("rehearsal: peer held at " + state) != std::string::npos;
    }));
  }
  // Nothing is held or under way: the daemon may serve for ever.
  static void CheckClean(const Daemon& daemon) {
    CHECK(Eventually([&] {
      return daemon.Metric("baton_peer_leases") == 0 &&
             daemon.Metric("baton_peer_memory_bytes{state=\"used\"}") == 0 &&
             daemon.Metric(R"(baton_kv_blocks{model="m",space="host",state="used"})") == 0 &&
             daemon.Metric(R"(baton_kv_blocks{model="m",space="host",state="reserved"})") == 0 &&
             daemon.Metric("baton_requests_in_flight") == 0;
    }));
  }
  static double Asked(const Daemon& daemon, const std::string& outcome) {
    return daemon.Metric("baton_peer_prefills_total{outcome=\"" + outcome + "\",side=\"asked\"}")
        .value_or(0);
  }

  // What a daemon without peers says.
  std::vector<int32_t> Alone(const v1::GenerateRequest& request) {
    const Daemon daemon({"--model=m=" + model.path(), "--executors.gpu.enabled=off"});
    const Generated generated = Generate(Client(daemon), request);
    REQUIRE_RPC_OK(generated.status);
    return {generated.ids.begin(), generated.ids.end()};
  }

  TempDir dir;
  const TempFile model{RandomModelBytes({.context_tokens = 2048})};
  std::unique_ptr<Daemon> p;
  std::unique_ptr<Daemon> d;

 private:
  std::vector<std::string> Flags(const std::string& name, const std::string& holds,
                                 const std::string& secret, std::vector<std::string> flags) {
    flags.push_back("--model=m=" + model.path());
    flags.push_back("--executors.gpu.enabled=off");
    flags.push_back("--peer.prefill_tokens_min=100");
    flags.push_back("--peer.memory_mb=16");
    flags.push_back("--peer.secret_file=" + dir.Write(name + "-secret", secret));
    if (!holds.empty()) {
      flags.push_back("--simulate=" +
                      dir.Write(name + ".yaml", "peer: {hold_at: " + holds + "}\n"));
    }
    return flags;
  }
};

v1::GenerateRequest Long(int text = 0) {
  std::string prompt;
  for (int i = 0; i < 300; ++i) prompt += "cat " + std::to_string((i * 7 + text) % 10);
  return GenerateOf(prompt, 20);
}

std::vector<int32_t> IdsOf(const Generated& generated) {
  return {generated.ids.begin(), generated.ids.end()};
}

bool HasStage(const Generated& generated, const std::string& name) {
  for (const v1::Stage& stage : generated.finished.timings().stages()) {
    if (stage.name() == name) return true;
  }
  return false;
}

TEST_CASE("one daemon prefills for another, and the path is listed with its bandwidth") {
  Daemons both("", "");
  both.AwaitLink();
  const Client client(*both.d);
  const Generated generated = Generate(client, Long());
  REQUIRE_RPC_OK(generated.status);
  CHECK(IdsOf(generated) == both.Alone(Long()));
  CHECK(HasStage(generated, "peer_prefill"));
  CHECK(Daemons::Asked(*both.d, "ok") == 1);
  CHECK(both.d->Metric("baton_handoffs_total{path=\"network\"}") == 1);
  CHECK(both.p->Metric("baton_peer_sent_bytes_total").value_or(0) > 0);
  bool listed = false;
  const auto devices = Must(client.admin, &v1::AdminService::Stub::Devices, {});
  for (const v1::TransferPath& path : devices.paths()) {
    if (path.source() == "peer:0" && path.bytes_per_s() > 0) listed = true;
  }
  CHECK(listed);
  Daemons::CheckClean(*both.d);
  Daemons::CheckClean(*both.p);
  CHECK(both.d->Terminate() == 0);
  CHECK(both.p->Terminate() == 0);
}

TEST_CASE("a daemon with another secret is none's peer") {
  Daemons both("", "", 60'000, "another, of 16 bytes or more");
  REQUIRE(Eventually([&] {
    return both.d->Log().find("does not know the secret of peer.secret_file") != std::string::npos;
  }));
  CHECK(both.d->Log().find("another, of 16") == std::string::npos);
  const Generated generated = Generate(Client(*both.d), Long());
  REQUIRE_RPC_OK(generated.status);
  CHECK_FALSE(HasStage(generated, "peer_prefill"));
}

TEST_CASE("who serves is killed at every state: the prompt is computed at home") {
  const std::string state =
      GENERATE("accepted", "requested", "prefilling", "ready", "posted", "half", "released");
  CAPTURE(state);
  Daemons both(state, "");
  const bool linked = state != "accepted";
  if (linked) {
    both.AwaitLink();
  } else {
    Daemons::AwaitHeld(*both.p, state);
  }
  std::future<Generated> asked =
      std::async(std::launch::async, [&] { return Generate(Client(*both.d), Long()); });
  if (linked) Daemons::AwaitHeld(*both.p, state);
  both.p->Kill9();
  const Generated generated = asked.get();
  REQUIRE_RPC_OK(generated.status);
  CHECK(IdsOf(generated) == both.Alone(Long()));
  CHECK(HasStage(generated, "peer_prefill") == (state == "released"));
  if (linked && state != "released") CHECK(Daemons::Asked(*both.d, "lost") == 1);
  Daemons::CheckClean(*both.d);
  // And it goes on without.
  REQUIRE_RPC_OK(Generate(Client(*both.d), Long(1)).status);
  Daemons::CheckClean(*both.d);
}

TEST_CASE("who serves hangs at a state: it is given up, and nothing is stranded") {
  const std::string state = GENERATE("prefilling", "half");
  CAPTURE(state);
  Daemons both(state, "", /*timeout_ms=*/500);
  both.AwaitLink();
  const Generated generated = Generate(Client(*both.d), Long());
  REQUIRE_RPC_OK(generated.status);
  CHECK(IdsOf(generated) == both.Alone(Long()));
  CHECK(Daemons::Asked(*both.d, "timeout") == 1);
  Daemons::CheckClean(*both.d);
}

TEST_CASE("who asks is killed at every state: the other one frees what it held") {
  const std::string state = GENERATE("asked", "answered", "pulling", "receiving", "done");
  CAPTURE(state);
  Daemons both("", state);
  both.AwaitLink();
  std::future<Generated> asked =
      std::async(std::launch::async, [&] { return Generate(Client(*both.d), Long()); });
  Daemons::AwaitHeld(*both.d, state);
  both.d->Kill9();
  asked.wait();  // how far it got does not matter
  Daemons::CheckClean(*both.p);
  // And serves its own as before.
  const Generated generated = Generate(Client(*both.p), Long());
  REQUIRE_RPC_OK(generated.status);
  CHECK(IdsOf(generated) == both.Alone(Long()));
}

TEST_CASE("peers that cannot be are refused at the start") {
  TempDir dir;
  const auto refused = [&](std::vector<std::string> flags, const std::string& message) {
    flags.push_back("--data-dir=" + dir.File("data"));
    const ProgramResult result = RunDaemonToItsEnd(flags);
    CHECK(result.exit_code == 1);
    CHECK_THAT(result.err, Catch::Contains(message));
  };
  refused({"--peer.listen=127.0.0.1:0"}, "peer.secret_file is empty");
  refused({"--peer.listen=nowhere"}, "peer.listen must be IP:PORT");
  refused({"--peer.requests_max=0"}, "peer.requests_max");
  refused({"--simulate", dir.Write("bad.yaml", "peer: {hold_at: lunch}\n")},
          "peer.hold_at must be one of");
}

}  // namespace
}  // namespace baton
