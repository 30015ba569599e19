// baton_card: what is made of a card's spec.
//   baton_card link SPEC              the link config, to standard output
//   baton_card xclbin SPEC IMAGE OUT  an xclbin whose bitstream is IMAGE, for the emulation
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "fpga_emulation/card_spec.h"
#include "fpga_emulation/link_config.h"
#include "fpga_emulation/xclbin_writer.h"

namespace {

bool ReadFile(const std::filesystem::path& path, std::string* text) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  *text = bytes.str();
  return file.good();
}

int Fail(const std::string& what) {
  std::fprintf(stderr, "baton_card: %s\n", what.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const bool link = argc == 3 && std::strcmp(argv[1], "link") == 0;
  const bool xclbin = argc == 5 && std::strcmp(argv[1], "xclbin") == 0;
  if (!link && !xclbin) {
    return Fail("usage: baton_card link SPEC | baton_card xclbin SPEC IMAGE OUT");
  }
  const std::filesystem::path spec = argv[2];
  const auto read = [&](const std::string& name, std::string* text) {
    return ReadFile(spec.parent_path() / (name + ".spec"), text);
  };
  baton::fpga::CardSpec card;
  std::string error;
  if (!baton::fpga::ReadCardSpec(spec.stem().string(), read, &card, &error)) return Fail(error);
  if (link) {
    std::fputs(baton::fpga::LinkConfig(card).c_str(), stdout);
    return 0;
  }
  std::string image;
  if (!ReadFile(argv[3], &image)) return Fail(std::string("cannot read ") + argv[3]);
  const std::string bytes = baton::fpga::XclbinOf(card, image);
  std::ofstream out(argv[4], std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  return out ? 0 : Fail(std::string("cannot write ") + argv[4]);
}
