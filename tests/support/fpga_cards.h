#pragma once

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <string>

#include "fpga_emulation/card_spec.h"

namespace baton::fpga {

// fpga_kernels/cards/NAME.spec, or the test fails; tests run in the root of the tree.
inline CardSpec ReadCard(const std::string& name) {
  CardSpec card;
  std::string error;
  const auto read = [](const std::string& of, std::string* text) {
    std::ifstream file("fpga_kernels/cards/" + of + ".spec");
    std::ostringstream all;
    all << file.rdbuf();
    *text = all.str();
    return file.good();
  };
  const bool good = ReadCardSpec(name, read, &card, &error);
  INFO(error);
  REQUIRE(good);
  return card;
}

}  // namespace baton::fpga
