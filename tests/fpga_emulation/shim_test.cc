// The parts of the emulated card that XRT does not show.
#include <catch2/catch.hpp>
#include <cstring>

#include "fpga_emulation/shim/bank_memory.h"
#include "fpga_emulation/shim/faults.h"

namespace baton::fpga {
namespace {

using Catch::Matchers::Contains;

constexpr uint64_t kMegabyte = 1 << 20;

std::vector<CardBank> TwoBanks() {
  return {{.tag = "A[0]", .address = 16 * kMegabyte, .bytes = kMegabyte},
          {.tag = "A[1]", .address = 17 * kMegabyte, .bytes = 32 * kMegabyte}};
}

TEST_CASE("a bank gives what fits its holes, at its own addresses") {
  BankMemory memory(TwoBanks());
  REQUIRE(memory.error() == "");
  const uint64_t first = memory.Allocate(0, 1);  // a page
  CHECK(first == 16 * kMegabyte);
  const uint64_t second = memory.Allocate(0, 4097);  // two
  CHECK(second == first + 4096);
  const uint64_t third = memory.Allocate(0, kMegabyte - 3 * 4096);
  CHECK(third == second + 8192);
  CHECK(memory.Allocate(0, 1) == BankMemory::kNoAddress);
  memory.Free(0, second, true);
  CHECK(memory.Allocate(0, 8193) == BankMemory::kNoAddress);
  CHECK(memory.Allocate(0, 4096) == second);
  CHECK(memory.Allocate(0, 0) == BankMemory::kNoAddress);
  CHECK(memory.Allocate(0, UINT64_MAX) == BankMemory::kNoAddress);
  CHECK(memory.Allocate(1, kMegabyte) == 17 * kMegabyte);
}

TEST_CASE("an address is found in its own buffer and bank alone") {
  BankMemory memory(TwoBanks());
  const uint64_t address = memory.Allocate(1, 8192);
  CHECK(memory.Find(1, address) != nullptr);
  CHECK(memory.Find(1, address + 8191) == memory.Find(1, address) + 8191);
  CHECK(memory.Find(1, address + 8192) == nullptr);
  CHECK(memory.Find(1, address - 1) == nullptr);
  CHECK(memory.Find(0, address) == nullptr);
  CHECK(memory.BankOf(address + 5) == 1);
  CHECK(memory.BankOf(0) == -1);
}

TEST_CASE("memory is poison until it is written, and again once it was freed") {
  BankMemory memory(TwoBanks());
  constexpr uint64_t kBytes = 20 * kMegabyte;  // more than the poison that is mapped at once
  for (int round = 0; round < 2; ++round) {
    const uint64_t address = memory.Allocate(1, kBytes);
    uint8_t* const bytes = memory.Find(1, address);
    for (uint64_t i = 0; i < kBytes; i += 4095) REQUIRE(bytes[i] == 0xa5);
    std::memset(bytes, round, kBytes);
    CHECK(bytes[kBytes - 1] == round);
    memory.Free(1, address, round == 0);
  }
}

TEST_CASE("rules of what goes wrong, and rules that are wrong themselves") {
  EmulationFaults faults;
  std::string error;
  REQUIRE(ReadEmulationFaults(
      "cards=2,shell=x_1,bank_full=HBM[3],hang=a_0:5,error=b_1:*,wrong=c_2.hits+8:1", &faults,
      &error));
  CHECK(faults.cards == 2);
  CHECK(faults.shell == "x_1");
  CHECK(faults.banks_full == std::vector<std::string>{"HBM[3]"});
  CHECK(faults.hangs[0].Holds("a_0", 5));
  CHECK_FALSE(faults.hangs[0].Holds("a_0", 4));
  CHECK_FALSE(faults.hangs[0].Holds("a_1", 5));
  CHECK(faults.errors[0].Holds("b_1", 77));
  CHECK(faults.wrongs[0].unit == "c_2");
  CHECK(faults.wrongs[0].argument == "hits");
  CHECK(faults.wrongs[0].byte == 8);
  CHECK(ReadEmulationFaults("", &faults, &error));
  for (const char* const wrong : {"cards", "cards=", "cards=17", "cards=-1", "shell=", "bank_full=",
                                  "hang=a", "hang=a:0", "hang=:1", "error=a:x", "wrong=a:1",
                                  "wrong=a.b:1", "wrong=a+1.b:1", "wrong=.b+1:1", "nothing=1"}) {
    error.clear();
    INFO(wrong);
    CHECK_FALSE(ReadEmulationFaults(wrong, &faults, &error));
    CHECK_THAT(error, Contains(wrong));
  }
}

}  // namespace
}  // namespace baton::fpga
