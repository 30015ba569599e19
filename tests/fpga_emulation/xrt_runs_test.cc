// The emulated card through XRT's own library: what a host may rely on, and what ends how.
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "experimental/xrt_system.h"
#include "experimental/xrt_xclbin.h"
#include "tests/fpga_emulation/xrt_scan.h"
#include "tests/support/process.h"

namespace baton::fpga {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("a run gives what the C model gives", "[card]") {
  const XrtCard card;
  for (const uint32_t count : {0u, 1u, 65u, 1000u}) {
    const ScanCase scan(count, 3, count);
    XrtScan on_card(card, 1, scan);
    xrt::run run = on_card.Prepare();
    run.start();
    REQUIRE(run.wait(std::chrono::seconds(20)) == ERT_CMD_STATE_COMPLETED);
    INFO("count " << count);
    CHECK(SameHits(on_card.Hits(), scan.Model()));
  }
}

TEST_CASE("XRT tells the units, arguments, banks and name of the card") {
  const XrtCard card;
  const xrt::xclbin xclbin(UseEmulation().xclbin);
  int units = 0;
  for (const xrt::xclbin::ip& ip : xclbin.get_ips()) units += ip.get_name().empty() ? 0 : 1;
  CHECK(units == 3 + 24 + 24 + 8 + 4 + 4 + 4 + 8);
  CHECK(xclbin.get_kernel("gemv_bank").get_cus().size() == 24);
  CHECK(xclbin.get_kernel("kv_attention").get_cus().size() == 8);
  CHECK(xclbin.get_mems().size() >= 32);
  for (int i = 0; i < 8; ++i) {
    const xrt::kernel kernel = card.Kernel("kv_attention", i);
    CHECK(kernel.group_id(kKvAttentionKv) == 24 + i);
    CHECK(kernel.group_id(kKvAttentionBlocks) == 24 + i);
    CHECK(card.Buffer(kernel, kKvAttentionKv, 4096).address() == (24ull + i) * (64 << 20));
  }
  CHECK(card.device().get_info<xrt::info::device::name>() == "baton_emulated_emulated");
  CHECK(card.device().get_xclbin_uuid() == card.uuid());
}

TEST_CASE("what was not synced is poison") {
  const XrtCard card;
  const ScanCase scan(50, 1, 1);
  XrtScan on_card(card, 0, scan);
  for (const uint8_t byte : ReadBuffer<uint8_t>(on_card.hits(), 4096)) REQUIRE(byte == 0xa5);
  std::memset(on_card.codes().map<char*>(), 0, 50 * 64);  // never synced
  xrt::run run = on_card.Prepare();
  run.start();
  REQUIRE(run.wait(std::chrono::seconds(20)) == ERT_CMD_STATE_COMPLETED);
  CHECK(SameHits(on_card.Hits(), scan.Model()));
}

TEST_CASE("several threads on two units each get their own answers", "[card]") {
  const XrtCard card;
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  std::vector<ScanCase> scans;
  for (int i = 0; i < 4; ++i) scans.emplace_back(40 + i, 1, i);
  std::vector<std::vector<SearchHit>> want;
  for (const ScanCase& scan : scans) want.push_back(scan.Model());
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      XrtScan on_card(card, i % 2, scans[i]);
      xrt::run run = on_card.Prepare();
      for (int n = 0; n < 50; ++n) {
        run.start();
        if (run.wait(std::chrono::seconds(20)) != ERT_CMD_STATE_COMPLETED) ++wrong[i];
        if (!SameHits(on_card.Hits(), want[i])) ++wrong[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4));
}

TEST_CASE("many runs are in flight", "[card]") {
  const XrtCard card;
  std::vector<ScanCase> scans;
  for (int i = 0; i < 16; ++i) scans.emplace_back(100 + i, 2, i);
  std::vector<XrtScan> on_card;
  std::vector<xrt::run> runs;
  for (int i = 0; i < 16; ++i) on_card.emplace_back(card, i % 4, scans[i]);
  for (XrtScan& scan : on_card) runs.push_back(scan.Prepare());
  for (xrt::run& run : runs) run.start();
  for (xrt::run& run : runs) {
    REQUIRE(run.wait(std::chrono::seconds(20)) == ERT_CMD_STATE_COMPLETED);
  }
  for (int i = 0; i < 16; ++i) CHECK(SameHits(on_card[i].Hits(), scans[i].Model()));
}

TEST_CASE("what does not fit its bank is refused, and the rest of it still holds what fits") {
  const XrtCard card;
  const xrt::kernel kernel = card.Kernel("kv_attention", 0);
  CHECK_THROWS_AS(card.Buffer(kernel, kKvAttentionKv, (64 << 20) + 4096), std::bad_alloc);
  const xrt::bo most = card.Buffer(kernel, kKvAttentionKv, 60 << 20);
  CHECK_THROWS_AS(card.Buffer(kernel, kKvAttentionKv, 8 << 20), std::bad_alloc);
  CHECK_NOTHROW(card.Buffer(kernel, kKvAttentionKv, 4 << 20));
}

TEST_CASE("a buffer of another bank is no argument") {
  const XrtCard card;
  xrt::run run(card.Kernel("kv_attention", 0));
  const xrt::bo other = card.Buffer(card.Kernel("kv_attention", 1), kKvAttentionKv, 4096);
  CHECK_THROWS(run.set_arg(kKvAttentionKv, other));
}

TEST_CASE("a kernel or unit that the card has not is an error that names it") {
  const XrtCard card;
  CHECK_THROWS_WITH(xrt::kernel(card.device(), card.uuid(), "nothing"), Contains("nothing"));
  CHECK_THROWS(card.Kernel("kv_attention", 8));
}

TEST_CASE("a sync beyond the end of a buffer is an error") {
  const XrtCard card;
  const xrt::kernel kernel = card.Kernel("kv_attention", 0);
  xrt::bo buffer = card.Buffer(kernel, kKvAttentionKv, 8192);
  CHECK_THROWS(buffer.sync(XCL_BO_SYNC_BO_TO_DEVICE, 8192, 4096));
}

TEST_CASE("a wild address ends the run in an error, and the card goes on") {
  const XrtCard card;
  const ScanCase scan(50, 1, 2);
  XrtScan on_card(card, 2, scan);
  xrt::run wild = on_card.Prepare();
  uint64_t nowhere = 0xdead0000;  // as a number XRT takes it unseen
  wild.set_arg(kFlatScanCodes, nowhere);
  wild.start();
  CHECK(wild.wait(std::chrono::seconds(20)) == ERT_CMD_STATE_ERROR);
  xrt::run run = on_card.Prepare();
  run.start();
  REQUIRE(run.wait(std::chrono::seconds(20)) == ERT_CMD_STATE_COMPLETED);
  CHECK(SameHits(on_card.Hits(), scan.Model()));
}

// Reads 2 GB of codes where there are 4 KB.
TEST_CASE("overrun", "[.]") {
  const XrtCard card;
  ScanCase scan(50, 1, 2);
  scan.args[0].count = 1u << 25;
  XrtScan on_card(card, 2, scan);
  xrt::run run = on_card.Prepare();
  run.start();
  run.wait(std::chrono::seconds(20));
}

TEST_CASE("a kernel that runs out of its buffers ends the process there") {
  const ProgramResult result = RunProgram({ProgramFolder() + "/fpga_xrt_runs_test", "overrun"});
  INFO(result.err);
  CHECK(result.exit_code != 0);
  CHECK_THAT(result.out, Contains("SIGSEGV"));
}

TEST_CASE("no card, or several") {
  UseEmulation("cards=0");
  CHECK(xrt::system::enumerate_devices() == 0);
  CHECK_THROWS_WITH(xrt::device(0u), Contains("Could not open device"));
  UseEmulation("cards=3");
  CHECK(xrt::system::enumerate_devices() == 3);
  CHECK_NOTHROW(xrt::device(2u));
  CHECK_THROWS(xrt::device(3u));
  UseEmulation("crads=3");
  CHECK(xrt::system::enumerate_devices() == 0);
}

TEST_CASE("a bank that is full") {
  const XrtCard card("bank_full=HBM[25]");
  CHECK_NOTHROW(card.Buffer(card.Kernel("kv_attention", 0), kKvAttentionKv, 4096));
  CHECK_THROWS_AS(card.Buffer(card.Kernel("kv_attention", 1), kKvAttentionKv, 4096),
                  std::bad_alloc);
}

TEST_CASE("a run that hangs is waited for no longer than it is told, and the card opens again") {
  const ScanCase scan(50, 1, 3);
  {
    const XrtCard card("hang=flat_scan_0:2");
    XrtScan on_card(card, 0, scan);
    xrt::run run = on_card.Prepare();
    run.start();
    REQUIRE(run.wait(std::chrono::seconds(20)) == ERT_CMD_STATE_COMPLETED);
    run.start();
    const ert_cmd_state state = run.wait(std::chrono::milliseconds(50));
    CHECK(state != ERT_CMD_STATE_COMPLETED);
    CHECK(state != ERT_CMD_STATE_ERROR);
    // Another unit is not stuck with it.
    XrtScan other(card, 1, scan);
    xrt::run other_run = other.Prepare();
    other_run.start();
    CHECK(other_run.wait(std::chrono::seconds(20)) == ERT_CMD_STATE_COMPLETED);
  }
  const XrtCard card;
  XrtScan on_card(card, 0, scan);
  xrt::run run = on_card.Prepare();
  run.start();
  REQUIRE(run.wait(std::chrono::seconds(20)) == ERT_CMD_STATE_COMPLETED);
  CHECK(SameHits(on_card.Hits(), scan.Model()));
}

TEST_CASE("a run that fails, and one that is wrong") {
  const XrtCard card("error=flat_scan_0:1,wrong=flat_scan_0.hits+8:2");
  const ScanCase scan(50, 1, 4);
  std::vector<SearchHit> want = scan.Model();
  XrtScan on_card(card, 0, scan);
  xrt::run run = on_card.Prepare();
  run.start();
  CHECK(run.wait(std::chrono::seconds(20)) == ERT_CMD_STATE_ERROR);
  run.start();
  REQUIRE(run.wait(std::chrono::seconds(20)) == ERT_CMD_STATE_COMPLETED);
  CHECK_FALSE(SameHits(on_card.Hits(), want));
  want[0].id ^= 1;
  CHECK(SameHits(on_card.Hits(), want));
  run.start();
  REQUIRE(run.wait(std::chrono::seconds(20)) == ERT_CMD_STATE_COMPLETED);
  want[0].id ^= 1;
  CHECK(SameHits(on_card.Hits(), want));
}

}  // namespace
}  // namespace baton::fpga
