// Any bytes as a card's spec, which an xclbin brings along: it is refused with a reason, or its own
// text reads as the same card.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "fpga_emulation/card_spec.h"
#include "fpga_emulation/link_config.h"

namespace baton::fpga {
namespace {

bool Read(const std::string& text, CardSpec* card, std::string* error) {
  const auto read = [&](const std::string& name, std::string* to) {
    *to = text;
    return name == "xclbin";
  };
  return ReadCardSpec("xclbin", read, card, error);
}

}  // namespace
}  // namespace baton::fpga

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton::fpga;
  if (size > 4096) return 0;
  CardSpec card;
  std::string error;
  if (!Read(std::string(reinterpret_cast<const char*>(data), size), &card, &error)) {
    if (error.empty()) std::abort();
    return 0;
  }
  CardSpec again;
  const std::string text = CardSpecText(card);
  if (!Read(text, &again, &error) || CardSpecText(again) != text) std::abort();
  LinkConfig(card);
  return 0;
}
