#include "fpga_emulation/shim/faults.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace baton::fpga {
namespace {

constexpr char kVariable[] = "BATON_FPGA_EMULATION";
constexpr uint64_t kCardsMax = 16;

bool ReadCount(const std::string& text, uint64_t* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// UNIT:RUN, where `with_argument` UNIT.ARGUMENT+BYTE:RUN.
bool ReadRule(const std::string& text, bool with_argument, EmulationFaults::Rule* rule) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  const std::string run = text.substr(colon + 1);
  if (run != "*" && (!ReadCount(run, &rule->run) || rule->run == 0)) return false;
  rule->unit = text.substr(0, colon);
  if (!with_argument) return true;
  const size_t dot = rule->unit.find('.');
  const size_t plus = rule->unit.find('+');
  if (dot == std::string::npos || plus == std::string::npos || plus < dot) return false;
  if (!ReadCount(rule->unit.substr(plus + 1), &rule->byte)) return false;
  rule->argument = rule->unit.substr(dot + 1, plus - dot - 1);
  rule->unit.resize(dot);
  return !rule->unit.empty() && !rule->argument.empty();
}

}  // namespace

bool ReadEmulationFaults(const std::string& rules, EmulationFaults* faults, std::string* error) {
  std::istringstream list(rules);
  for (std::string text; std::getline(list, text, ',');) {
    const size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : text.substr(equals + 1);
    EmulationFaults::Rule rule;
    uint64_t number = 0;
    if (name == "cards") {
      if (!ReadCount(value, &number) || number > kCardsMax) {
        *error = text + ": cards must be 0 to 16";
        return false;
      }
      faults->cards = static_cast<int>(number);
    } else if (name == "shell" && !value.empty()) {
      faults->shell = value;
    } else if (name == "bank_full" && !value.empty()) {
      faults->banks_full.push_back(value);
    } else if (name == "hang" && ReadRule(value, false, &rule)) {
      faults->hangs.push_back(rule);
    } else if (name == "error" && ReadRule(value, false, &rule)) {
      faults->errors.push_back(rule);
    } else if (name == "wrong" && ReadRule(value, true, &rule)) {
      faults->wrongs.push_back(rule);
    } else {
      *error = text +
               ": must be cards=N, shell=NAME, bank_full=TAG, hang=UNIT:RUN, error=UNIT:RUN or "
               "wrong=UNIT.ARGUMENT+BYTE:RUN";
      return false;
    }
  }
  return true;
}

EmulationFaults FaultsOfEnvironment() {
  EmulationFaults faults;
  const char* const rules = std::getenv(kVariable);
  std::string error;
  if (rules == nullptr || ReadEmulationFaults(rules, &faults, &error)) return faults;
  std::fprintf(stderr, "%s: %s\n", kVariable, error.c_str());
  faults.cards = 0;
  return faults;
}

}  // namespace baton::fpga
