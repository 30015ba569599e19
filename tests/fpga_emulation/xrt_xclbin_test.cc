// xclbins that are not what a host hopes for: what the host's own check says, and what XRT and the
// card say of those that pass it.
#include <xclbin.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <random>
#include <sstream>

#include "experimental/xrt_xclbin.h"
#include "fpga_emulation/xclbin_writer.h"
#include "fpga_kernels/xclbin_args.h"
#include "tests/fpga_emulation/xrt_card.h"
#include "tests/support/fpga_cards.h"
#include "tests/support/temp_dir.h"

namespace baton::fpga {
namespace {

using Catch::Matchers::Contains;

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  REQUIRE(file);
  return bytes.str();
}

std::string FaultOf(const std::string& bytes, uint32_t* contract) {
  const char* const fault =
      FaultOfXclbin(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), contract);
  return fault == nullptr ? "" : fault;
}

static_assert(kXclbinLengthAt == offsetof(axlf, m_header.m_length));
static_assert(kXclbinUuidAt == offsetof(axlf, m_header.uuid));
static_assert(kXclbinSectionsAt == offsetof(axlf, m_header.m_numSections));
static_assert(kXclbinHeadersAt == offsetof(axlf, m_sections));
static_assert(kXclbinHeaderBytes == sizeof(axlf_section_header));
static_assert(kXclbinUserMetadata == USER_METADATA);

// Loads it on an open card, as a host would.
void Load(const std::string& bytes) {
  UseEmulation();
  const TempDir folder;
  const std::string path = folder.path() + "/card.xclbin";
  std::ofstream(path, std::ios::binary).write(bytes.data(), bytes.size());
  xrt::device device(0u);
  device.load_xclbin(path);
}

TEST_CASE("the same card and image give the same bytes, another one another UUID") {
  const CardSpec card = ReadCard("emulated");
  const std::string bytes = XclbinOf(card, "image");
  CHECK(XclbinOf(card, "image") == bytes);
  const std::string uuid = bytes.substr(kXclbinUuidAt, 16);
  CHECK(XclbinOf(card, "imagf").substr(kXclbinUuidAt, 16) != uuid);
  CHECK(XclbinOf(ReadCard("u55c"), "image").substr(kXclbinUuidAt, 16) != uuid);
  CHECK(XclbinOf(card, "image", 2).substr(kXclbinUuidAt, 16) != uuid);
}

TEST_CASE("the emulated card's xclbin has no fault, and its version is this one") {
  const std::string bytes = ReadWhole(UseEmulation().xclbin);
  uint32_t contract = 0;
  CHECK(FaultOf(bytes, &contract) == "");
  CHECK(contract == kContractVersion);
  CHECK_NOTHROW(Load(bytes));
}

TEST_CASE("an xclbin that was cut short anywhere is a fault") {
  const std::string bytes = XclbinOf(ReadCard("emulated"), "image");
  uint32_t contract = 0;
  for (size_t length = 0; length < bytes.size(); length += length < 1200 ? 1 : 97) {
    INFO("length " << length);
    REQUIRE(FaultOf(bytes.substr(0, length), &contract) != "");
  }
  CHECK(FaultOf(bytes, &contract) == "");
}

TEST_CASE("no byte of a header makes the check read beyond the file") {
  const std::string good = XclbinOf(ReadCard("emulated"), "image");
  std::mt19937_64 random(5);
  uint32_t contract = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string bad = good;
    for (int n = 0; n < 3; ++n) {
      bad[kXclbinLengthAt + random() % 480] = static_cast<char>(random());
    }
    FaultOf(bad, &contract);  // the sanitizers' to judge
  }
}

TEST_CASE("another version of the contract is told from this one") {
  uint32_t contract = 0;
  CHECK(FaultOf(XclbinOf(ReadCard("emulated"), "image", kContractVersion + 1), &contract) == "");
  CHECK(contract == kContractVersion + 1);
}

TEST_CASE("an xclbin whose kernels are none does not load") {
  CHECK_THROWS(Load(XclbinOf(ReadCard("emulated"), "no library")));
  CHECK_THROWS(Load(XclbinOf(ReadCard("emulated"), "")));
}

TEST_CASE("a kernel that a card lacks is named, those it has work") {
  const XrtCard card("", "no_search");
  CHECK_THROWS_WITH(card.Kernel("flat_scan", 0), Contains("flat_scan"));
  CHECK_NOTHROW(card.Kernel("sequencer", 0));
}

TEST_CASE("a card takes another xclbin only when nothing of the one before is left") {
  const FpgaEmulation emulation = UseEmulation();
  xrt::device device(0u);
  const xrt::uuid first = device.load_xclbin(emulation.xclbin);
  CHECK(device.load_xclbin(emulation.xclbin) == first);
  {
    const xrt::kernel kernel(device, first, "sampler");
    const xrt::bo buffer(device, 4096, xrt::bo::flags::normal, kernel.group_id(0));
    CHECK_THROWS(device.load_xclbin(emulation.xrt_root + "/small.xclbin"));
  }
  CHECK(device.load_xclbin(emulation.xrt_root + "/small.xclbin") != first);
}

}  // namespace
}  // namespace baton::fpga
