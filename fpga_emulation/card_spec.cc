#include "fpga_emulation/card_spec.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <sstream>

#include "fpga_emulation/kernel_table.h"

namespace baton::fpga {
namespace {

constexpr int kIndexMax = 1000;  // of banks and units
constexpr int kLikeMax = 8;      // specs behind one another
constexpr int kDepthMax = 65536;

bool ReadNumber(std::string_view text, uint64_t max, uint64_t* value) {
  int base = 10;
  if (text.starts_with("0x")) {
    base = 16;
    text.remove_prefix(2);
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value, base);
  return error == std::errc() && end == text.data() + text.size() && *value <= max;
}

bool ReadBytes(std::string_view text, uint64_t* bytes) {
  int shift = 0;
  if (text.ends_with("K")) shift = 10;
  if (text.ends_with("M")) shift = 20;
  if (text.ends_with("G")) shift = 30;
  if (shift != 0) text.remove_suffix(1);
  if (!ReadNumber(text, uint64_t{1} << (44 - shift), bytes)) return false;
  *bytes <<= shift;
  return *bytes > 0 && *bytes % 4096 == 0;
}

// "gemv_bank[*+1].x_in", "HBM[24+*]", "sampler.args": `argument` stays empty where there is none.
struct Place {
  std::string name;
  bool star = false;
  int offset = 0;  // the index, or what is added to the *
  std::string argument;

  int At(int star_value) const { return offset + (star ? star_value : 0); }
};

bool ReadPlace(std::string_view text, bool with_argument, Place* place) {
  const size_t open = text.find('[');
  const size_t dot = with_argument ? text.rfind('.') : text.size();
  if (dot == std::string_view::npos || dot == 0) return false;
  if (with_argument) place->argument = text.substr(dot + 1);
  if (with_argument && place->argument.empty()) return false;
  if (open == std::string_view::npos) {
    place->name = text.substr(0, dot);
    return with_argument;
  }
  if (open >= dot || text[dot - 1] != ']') return false;
  place->name = text.substr(0, open);
  std::string_view index = text.substr(open + 1, dot - open - 2);
  if (index.starts_with("*")) {
    place->star = true;
    index.remove_prefix(1);
    if (index.empty()) return true;
    if (!index.starts_with("+")) return false;
    index.remove_prefix(1);
  } else if (index.ends_with("+*")) {
    place->star = true;
    index.remove_suffix(2);
  }
  uint64_t value = 0;
  if (!ReadNumber(index, kIndexMax, &value)) return false;
  place->offset = static_cast<int>(value);
  return true;
}

struct Banks {
  bool hbm = false;
  int count = 0;
  uint64_t bytes = 0;
  uint64_t address = 0;
};
struct PlaceLine {
  std::string where;
  Place unit;
  Place bank;
};
struct JoinLine {
  std::string where;
  Place from;
  Place to;
  int depth = 0;
};

class SpecParser {
 public:
  SpecParser(const SpecReader& read, std::string* error) : read_(read), error_(error) {}

  bool Read(const std::string& name, int depth) {
    std::string text;
    if (depth > kLikeMax) return Fail(name, "more than 8 specs are like one another");
    if (!read_(name, &text)) return Fail(name, "there is no such spec");
    std::istringstream lines(text);
    std::string line;
    for (int number = 1; std::getline(lines, line); ++number) {
      line = line.substr(0, line.find('#'));
      std::istringstream stream(line);
      std::vector<std::string> words;
      for (std::string word; stream >> word;) words.push_back(word);
      if (words.empty()) continue;
      const std::string where = name + ".spec:" + std::to_string(number);
      if (!ReadLine(name, where, words, depth)) return false;
    }
    return true;
  }

  bool Resolve(CardSpec* card) {
    if (card_.name.empty()) return Fail("spec", "it names no card");
    if (card_.clock_mhz == 0) return Fail("spec", "it has no clock");
    for (const std::string& tag : bank_order_) {
      const Banks& banks = banks_[tag];
      for (int i = 0; i < banks.count; ++i) {
        card_.banks.push_back({.tag = tag + "[" + std::to_string(i) + "]",
                               .hbm = banks.hbm,
                               .address = banks.address + i * banks.bytes,
                               .bytes = banks.bytes});
      }
    }
    if (card_.banks.empty()) return Fail("spec", "it has no banks");
    std::vector<CardBank> sorted = card_.banks;
    std::sort(sorted.begin(), sorted.end(),
              [](const CardBank& a, const CardBank& b) { return a.address < b.address; });
    for (size_t i = 1; i < sorted.size(); ++i) {
      if (sorted[i - 1].address + sorted[i - 1].bytes > sorted[i].address) {
        return Fail("spec", sorted[i - 1].tag + " reaches into " + sorted[i].tag);
      }
    }
    for (size_t kernel = 0; kernel < KernelTable().size(); ++kernel) {
      const Kernel& of = KernelTable()[kernel];
      const auto found = units_.find(std::string(of.name));
      if (found == units_.end()) continue;
      first_unit_[found->first] = static_cast<int>(card_.units.size());
      for (int i = 0; i < found->second; ++i) {
        card_.units.push_back({.name = found->first + "_" + std::to_string(i),
                               .kernel = static_cast<int>(kernel),
                               .banks = std::vector<int>(of.arguments.size(), -1)});
      }
    }
    if (card_.units.empty()) return Fail("spec", "it has no units");
    for (const PlaceLine& line : places_) {
      if (!ResolvePlace(line)) return false;
    }
    for (const JoinLine& line : joins_) {
      if (!ResolveJoin(line)) return false;
    }
    if (!CheckPlaces()) return false;
    *card = std::move(card_);
    return true;
  }

 private:
  bool Fail(const std::string& where, const std::string& what) {
    *error_ = where + ": " + what;
    return false;
  }

  bool ReadLine(const std::string& name, const std::string& where,
                const std::vector<std::string>& words, int depth) {
    const std::string& word = words[0];
    const auto expects = [&](size_t count) { return words.size() == count + 1; };
    uint64_t number = 0;
    if (word == "like" && expects(1)) {
      return Read(name.substr(0, name.rfind('/') + 1) + words[1], depth + 1);
    }
    if (word == "card" && expects(1)) {
      card_.name = words[1];
      return true;
    }
    if (word == "clock" && expects(1)) {
      if (!ReadNumber(words[1], 1000, &number) || number == 0) {
        return Fail(where, "clock must be 1 to 1000 MHz");
      }
      card_.clock_mhz = static_cast<int>(number);
      return true;
    }
    if (word == "banks" && expects(2) && words[2] == "none") {
      banks_[words[1]] = {};
      return true;
    }
    if (word == "banks" && expects(5)) return ReadBanks(where, words);
    if (word == "unit" && expects(2)) {
      if (FindKernel(words[1]) < 0) return Fail(where, "no kernel is called " + words[1]);
      if (!ReadNumber(words[2], kIndexMax, &number)) {
        return Fail(where, "there can be 0 to 1000 units of a kernel");
      }
      units_[words[1]] = static_cast<int>(number);
      return true;
    }
    if (word == "place" && expects(2)) {
      PlaceLine line = {.where = where};
      if (!ReadPlace(words[1], true, &line.unit) || !ReadPlace(words[2], false, &line.bank)) {
        return Fail(where, "place takes UNITS.ARGUMENT and TAG[i]");
      }
      places_.push_back(line);
      return true;
    }
    if (word == "join" && expects(3)) {
      JoinLine line = {.where = where};
      if (!ReadPlace(words[1], true, &line.from) || !ReadPlace(words[2], true, &line.to)) {
        return Fail(where, "join takes UNIT.ARGUMENT twice, and a depth");
      }
      if (!ReadNumber(words[3], kDepthMax, &number) || number == 0) {
        return Fail(where, "a stream's depth must be 1 to 65536");
      }
      line.depth = static_cast<int>(number);
      joins_.push_back(line);
      return true;
    }
    return Fail(where, "no statement begins with " + word + " and has " +
                           std::to_string(words.size() - 1) + " words behind it");
  }

  bool ReadBanks(const std::string& where, const std::vector<std::string>& words) {
    Banks banks;
    uint64_t count = 0;
    banks.hbm = words[2] == "hbm";
    if (!banks.hbm && words[2] != "ddr4") return Fail(where, "banks are ddr4 or hbm");
    if (!ReadNumber(words[3], kIndexMax, &count) || count == 0) {
      return Fail(where, "there can be 1 to 1000 banks");
    }
    banks.count = static_cast<int>(count);
    if (!ReadBytes(words[4], &banks.bytes)) {
      return Fail(where, "a bank's bytes must be a multiple of 4096, at most 16T");
    }
    if (!ReadNumber(words[5], uint64_t{1} << 48, &banks.address) || banks.address % 4096 != 0) {
      return Fail(where, "a bank's address must be a multiple of 4096, at most 2^48");
    }
    if (std::find(bank_order_.begin(), bank_order_.end(), words[1]) == bank_order_.end()) {
      bank_order_.push_back(words[1]);
    }
    banks_[words[1]] = banks;
    return true;
  }

  // Units of a kernel; -1 and an error where the spec has none.
  int CountOf(const std::string& where, const std::string& kernel) {
    const auto found = units_.find(kernel);
    if (found == units_.end()) Fail(where, "there are no units of " + kernel);
    return found == units_.end() ? -1 : found->second;
  }

  bool ResolvePlace(const PlaceLine& line) {
    const int count = CountOf(line.where, line.unit.name);
    if (count < 0) return false;
    const Kernel& kernel = KernelTable()[FindKernel(line.unit.name)];
    if (line.unit.argument != "*") {
      const int argument = kernel.Find(line.unit.argument);
      if (argument < 0 || kernel.arguments[argument].kind != KernelArgument::kMemory) {
        return Fail(line.where,
                    line.unit.name + " has nothing in memory that is called " + line.unit.argument);
      }
    }
    const int last = line.unit.star ? count : 1;
    for (int star = 0; star < last; ++star) {
      const int index = line.unit.At(star);
      if (index >= count && line.unit.star) continue;
      if (index >= count) {
        return Fail(line.where,
                    "there are " + std::to_string(count) + " units of " + line.unit.name);
      }
      const std::string tag = line.bank.name + "[" + std::to_string(line.bank.At(star)) + "]";
      const auto bank = std::find_if(card_.banks.begin(), card_.banks.end(),
                                     [&](const CardBank& b) { return b.tag == tag; });
      CardUnit& unit = card_.units[first_unit_[line.unit.name] + index];
      for (size_t i = 0; i < kernel.arguments.size(); ++i) {
        const KernelArgument& argument = kernel.arguments[i];
        if (argument.kind != KernelArgument::kMemory) continue;
        if (line.unit.argument != "*" && line.unit.argument != argument.name) continue;
        // What a later line does not place anew stays nowhere, and is reported in the end.
        unit.banks[i] =
            bank == card_.banks.end() ? -1 : static_cast<int>(bank - card_.banks.begin());
      }
    }
    return true;
  }

  bool ResolveJoin(const JoinLine& line) {
    const int from_count = CountOf(line.where, line.from.name);
    const int to_count = CountOf(line.where, line.to.name);
    if (from_count < 0 || to_count < 0) return false;
    const Kernel& from = KernelTable()[FindKernel(line.from.name)];
    const Kernel& to = KernelTable()[FindKernel(line.to.name)];
    const int from_argument = from.Find(line.from.argument);
    const int to_argument = to.Find(line.to.argument);
    if (from_argument < 0 || from.arguments[from_argument].kind != KernelArgument::kStreamOut) {
      return Fail(line.where, line.from.name + " writes no stream " + line.from.argument);
    }
    if (to_argument < 0 || to.arguments[to_argument].kind != KernelArgument::kStreamIn) {
      return Fail(line.where, line.to.name + " reads no stream " + line.to.argument);
    }
    if (from.arguments[from_argument].type != to.arguments[to_argument].type) {
      return Fail(line.where,
                  line.from.argument + " and " + line.to.argument + " do not carry the same");
    }
    const bool star = line.from.star || line.to.star;
    for (int i = 0; i < (star ? std::max(from_count, to_count) : 1); ++i) {
      const int from_index = line.from.At(i);
      const int to_index = line.to.At(i);
      if (from_index >= from_count || to_index >= to_count) continue;
      const CardJoin join = {.from_unit = first_unit_[line.from.name] + from_index,
                             .from_argument = from_argument,
                             .to_unit = first_unit_[line.to.name] + to_index,
                             .to_argument = to_argument,
                             .depth = line.depth};
      for (const CardJoin& other : card_.joins) {
        if ((other.from_unit == join.from_unit && other.from_argument == join.from_argument) ||
            (other.to_unit == join.to_unit && other.to_argument == join.to_argument)) {
          return Fail(line.where,
                      "a stream has one writer and one reader, and an end of this one "
                      "is joined already");
        }
      }
      card_.joins.push_back(join);
    }
    return true;
  }

  bool CheckPlaces() {
    for (const CardUnit& unit : card_.units) {
      const Kernel& kernel = KernelTable()[unit.kernel];
      for (size_t i = 0; i < kernel.arguments.size(); ++i) {
        if (kernel.arguments[i].kind != KernelArgument::kMemory || unit.banks[i] >= 0) continue;
        return Fail("spec",
                    unit.name + "." + std::string(kernel.arguments[i].name) + " lies in no bank");
      }
    }
    return true;
  }

  const SpecReader& read_;
  std::string* const error_;
  CardSpec card_;
  std::map<std::string, Banks> banks_;
  std::vector<std::string> bank_order_;
  std::map<std::string, int> units_;
  std::map<std::string, int> first_unit_;
  std::vector<PlaceLine> places_;
  std::vector<JoinLine> joins_;
};

}  // namespace

bool ReadCardSpec(const std::string& name, const SpecReader& read, CardSpec* card,
                  std::string* error) {
  SpecParser parser(read, error);
  return parser.Read(name, 0) && parser.Resolve(card);
}

std::string CardSpecText(const CardSpec& card) {
  std::ostringstream text;
  text << "card " << card.name << "\nclock " << card.clock_mhz << "\n";
  std::map<std::string, int> counts;
  for (size_t i = 0; i < card.banks.size();) {
    const std::string tag = card.banks[i].tag.substr(0, card.banks[i].tag.find('['));
    size_t end = i + 1;
    while (end < card.banks.size() && card.banks[end].tag.starts_with(tag + "[")) ++end;
    text << "banks " << tag << (card.banks[i].hbm ? " hbm " : " ddr4 ") << end - i << " "
         << card.banks[i].bytes << " " << card.banks[i].address << "\n";
    i = end;
  }
  const auto place = [&](int unit, int argument) {
    const Kernel& kernel = KernelTable()[card.units[unit].kernel];
    const std::string& name = card.units[unit].name;
    return std::string(kernel.name) + "[" + name.substr(kernel.name.size() + 1) + "]." +
           std::string(kernel.arguments[argument].name);
  };
  for (const CardUnit& unit : card.units) ++counts[std::string(KernelTable()[unit.kernel].name)];
  for (const auto& [kernel, count] : counts) text << "unit " << kernel << " " << count << "\n";
  for (size_t unit = 0; unit < card.units.size(); ++unit) {
    for (size_t i = 0; i < card.units[unit].banks.size(); ++i) {
      const int bank = card.units[unit].banks[i];
      if (bank < 0) continue;
      text << "place " << place(static_cast<int>(unit), static_cast<int>(i)) << " "
           << card.banks[bank].tag << "\n";
    }
  }
  for (const CardJoin& join : card.joins) {
    text << "join " << place(join.from_unit, join.from_argument) << " "
         << place(join.to_unit, join.to_argument) << " " << join.depth << "\n";
  }
  return text.str();
}

}  // namespace baton::fpga
