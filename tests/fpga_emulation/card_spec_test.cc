#include "fpga_emulation/card_spec.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "engine/plan/card_model.h"
#include "fpga_emulation/kernel_table.h"
#include "fpga_emulation/link_config.h"
#include "tests/support/fpga_cards.h"

namespace baton::fpga {
namespace {

using Catch::Matchers::Contains;

int CountOf(const CardSpec& card, const std::string& kernel) {
  return static_cast<int>(std::count_if(
      card.units.begin(), card.units.end(),
      [&](const CardUnit& unit) { return KernelTable()[unit.kernel].name == kernel; }));
}

TEST_CASE("the cards have their banks, units and joins") {
  const CardSpec u55c = ReadCard("u55c");
  CHECK(u55c.banks.size() == 32);
  CHECK(u55c.banks[31].address == 31ull * 512 << 20);
  CHECK(CountOf(u55c, "gemv_bank") == 24);
  CHECK(CountOf(u55c, "kv_attention") == 8);
  const CardSpec u250 = ReadCard("u250");
  CHECK(u250.banks.size() == 4);
  CHECK(u250.banks[3].bytes == 16ull << 30);
  CHECK(CountOf(u250, "gemv_bank") == 4);
  const CardSpec emulated = ReadCard("emulated");
  CHECK(emulated.banks.size() == 32);
  CHECK(emulated.joins.size() == u55c.joins.size());
}

TEST_CASE("what a plan models a card by is what its spec says") {
  for (const char* const name : {"u55c", "u250"}) {
    INFO(name);
    const CardSpec spec = ReadCard(name);
    const plan::FpgaCard* const card = plan::FindFpgaCard(name);
    REQUIRE(card != nullptr);
    CHECK(card->clock_mhz == spec.clock_mhz);
    CHECK(static_cast<int>(card->gemv_banks) == CountOf(spec, "gemv_bank"));
    CHECK(static_cast<int>(card->kv_units) == CountOf(spec, "kv_attention"));
    CHECK(static_cast<int>(card->search_units) == CountOf(spec, "hnsw_search"));
    for (const CardBank& bank : spec.banks) {
      CHECK(static_cast<int64_t>(bank.bytes) == card->bank_bytes);
    }
    const auto banks_of = [&](const std::string& kernel) {
      std::set<int> banks;
      for (const CardUnit& unit : spec.units) {
        if (KernelTable()[unit.kernel].name == kernel)
          banks.insert(unit.banks.begin(), unit.banks.end());
      }
      banks.erase(-1);
      return banks;
    };
    const std::set<int> kv = banks_of("kv_attention");
    const std::set<int> weights = banks_of("gemv_bank");
    const bool shared =
        std::any_of(kv.begin(), kv.end(), [&](int b) { return weights.contains(b); });
    CHECK(card->separate_kv == !shared);
    for (const int bank : banks_of("hnsw_search")) CHECK(kv.contains(bank));
  }
}

// The last of a chain has nothing behind it; all else that a kernel reads or writes is joined.
TEST_CASE("only ends of chains are not joined") {
  for (const char* const name : {"u55c", "u250", "emulated"}) {
    const CardSpec card = ReadCard(name);
    int open = 0;
    for (size_t unit = 0; unit < card.units.size(); ++unit) {
      const Kernel& kernel = KernelTable()[card.units[unit].kernel];
      for (size_t i = 0; i < kernel.arguments.size(); ++i) {
        if (!kernel.arguments[i].is_stream()) continue;
        const bool joined =
            std::any_of(card.joins.begin(), card.joins.end(), [&](const CardJoin& join) {
              return (join.from_unit == static_cast<int>(unit) &&
                      join.from_argument == static_cast<int>(i)) ||
                     (join.to_unit == static_cast<int>(unit) &&
                      join.to_argument == static_cast<int>(i));
            });
        open += joined ? 0 : 1;
      }
    }
    INFO(name);
    CHECK(open == 3 + 3);  // commands, data and answers of the last bank and the last kv unit
  }
}

TEST_CASE("a card's own text reads as the card") {
  const CardSpec card = ReadCard("u250");
  const std::string text = CardSpecText(card);
  CardSpec again;
  std::string error;
  REQUIRE(ReadCardSpec(
      "again", [&](const std::string&, std::string* to) { return *to = text, true; }, &again,
      &error));
  CHECK(CardSpecText(again) == text);
  CHECK(again.units.size() == card.units.size());
}

TEST_CASE("deploy/fpga has the link configs that the specs give") {
  for (const char* const name : {"u55c", "u250"}) {
    std::ifstream file(std::string("deploy/fpga/") + name + ".cfg");
    std::ostringstream text;
    text << file.rdbuf();
    INFO("baton_card link fpga_kernels/cards/" << name << ".spec > deploy/fpga/" << name << ".cfg");
    CHECK(text.str() == LinkConfig(ReadCard(name)));
  }
}

std::string ErrorOf(const std::string& text) {
  CardSpec card;
  std::string error;
  const auto read = [&](const std::string& name, std::string* to) {
    *to = text;
    return name == "card" || name == "itself";
  };
  CHECK_FALSE(ReadCardSpec("card", read, &card, &error));
  return error;
}

TEST_CASE("what is wrong with a spec is named, with its line") {
  const std::string head = "card c\nclock 100\nbanks B ddr4 2 1M 0\nunit pq_scan 1\n";
  CHECK_THAT(ErrorOf(""), Contains("no card"));
  CHECK_THAT(ErrorOf("card c\n"), Contains("clock"));
  CHECK_THAT(ErrorOf("card c\nclock 0\n"), Contains("card.spec:2") && Contains("1000 MHz"));
  CHECK_THAT(ErrorOf("card c\nclock 1\n"), Contains("no banks"));
  CHECK_THAT(ErrorOf("card c\nclock 1\nbanks B ddr4 1 4K 0\n"), Contains("no units"));
  CHECK_THAT(ErrorOf("like nothing\n"), Contains("nothing") && Contains("no such spec"));
  CHECK_THAT(ErrorOf("like itself\n"), Contains("more than 8"));
  CHECK_THAT(ErrorOf("blank\n"), Contains("blank"));
  CHECK_THAT(ErrorOf("card\n"), Contains("0 words"));
  CHECK_THAT(ErrorOf("banks B gddr 1 4K 0\n"), Contains("ddr4 or hbm"));
  CHECK_THAT(ErrorOf("banks B hbm 0 4K 0\n"), Contains("1 to 1000"));
  CHECK_THAT(ErrorOf("banks B hbm 1 4095 0\n"), Contains("multiple of 4096"));
  CHECK_THAT(ErrorOf("banks B hbm 1 99999999999G 0\n"), Contains("multiple of 4096"));
  CHECK_THAT(ErrorOf("banks B hbm 1 4K 0x10\n"), Contains("address"));
  CHECK_THAT(ErrorOf("unit nothing 1\n"), Contains("no kernel is called nothing"));
  CHECK_THAT(ErrorOf("unit pq_scan 1001\n"), Contains("0 to 1000"));
  CHECK_THAT(ErrorOf("place pq_scan B[0]\n"), Contains("UNITS.ARGUMENT"));
  CHECK_THAT(ErrorOf("place pq_scan[x].args B[0]\n"), Contains("UNITS.ARGUMENT"));
  CHECK_THAT(ErrorOf("join a.b c.d 0\n"), Contains("depth"));
  CHECK_THAT(ErrorOf(head), Contains("pq_scan_0.args lies in no bank"));
  CHECK_THAT(ErrorOf(head + "place pq_scan.* B[2]\n"), Contains("lies in no bank"));
  CHECK_THAT(ErrorOf(head + "place pq_scan.nothing B[0]\n"), Contains("nothing"));
  CHECK_THAT(ErrorOf(head + "place pq_scan[1].* B[0]\n"), Contains("there are 1 units"));
  CHECK_THAT(ErrorOf(head + "place flat_scan.* B[0]\n"), Contains("no units of flat_scan"));
  CHECK_THAT(ErrorOf(head + "banks C hbm 1 1M 0x100000\nplace pq_scan.* B[0]\n"),
             Contains("reaches into"));
  const std::string two = head + "place pq_scan.* B[0]\nunit gemv_lane 2\nunit distance_engine 1\n";
  CHECK_THAT(ErrorOf(two + "join gemv_lane.in gemv_lane.in 1\n"), Contains("writes no stream in"));
  CHECK_THAT(ErrorOf(two + "join gemv_lane.out gemv_lane.out 1\n"),
             Contains("reads no stream out"));
  CHECK_THAT(ErrorOf(two + "join gemv_lane.out gemv_lane.in 1\n"),
             Contains("do not carry the same"));
  CHECK_THAT(ErrorOf(two + "join gemv_lane.out sampler.args 1\n"), Contains("no units of sampler"));
}

TEST_CASE("an end of a stream is joined once") {
  const std::string text =
      "card c\nclock 1\nbanks B ddr4 1 1M 0\nunit gemv_bank 2\nunit gemv_lane 2\n"
      "place gemv_bank[*].* B[0]\njoin gemv_bank[*].lane_out gemv_lane[0].in 1\n";
  CHECK_THAT(ErrorOf(text), Contains("joined already"));
}

}  // namespace
}  // namespace baton::fpga
