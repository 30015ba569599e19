#include "engine/request/datetime.h"

#include <chrono>

namespace baton {
namespace {

// Reads from the front of a text; once something is not as wanted, it stays failed.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool ok() const { return ok_; }
  bool at_end() const { return text_.empty(); }

  bool Skip(std::string_view any_of) {
    const bool there = !text_.empty() && any_of.find(text_.front()) != std::string_view::npos;
    if (there) text_.remove_prefix(1);
    return there;
  }

  void Expect(std::string_view any_of) { ok_ = Skip(any_of) && ok_; }

  // Exactly so many digits.
  int64_t Number(int digits, int64_t max) {
    int64_t value = 0;
    for (int i = 0; i < digits; ++i) value = value * 10 + Digit();
    ok_ = ok_ && value <= max;
    return value;
  }

  // The digits of a fraction, at least one, as millionths.
  int64_t Millionths() {
    int64_t value = Digit();
    int64_t scale = 100'000;
    value *= scale;
    while (!text_.empty() && text_.front() >= '0' && text_.front() <= '9') {
      scale /= 10;
      value += Digit() * scale;
    }
    return value;
  }

 private:
  int64_t Digit() {
    if (text_.empty() || text_.front() < '0' || text_.front() > '9') {
      ok_ = false;
      return 0;
    }
    const int64_t digit = text_.front() - '0';
    text_.remove_prefix(1);
    return digit;
  }

  std::string_view text_;
  bool ok_ = true;
};

constexpr int64_t kSecondUs = 1'000'000;

}  // namespace

std::optional<int64_t> ParseDatetime(std::string_view text) {
  Reader reader(text);
  const auto year = static_cast<int>(reader.Number(4, 9999));
  reader.Expect("-");
  const auto month = static_cast<unsigned>(reader.Number(2, 12));
  reader.Expect("-");
  const auto day = static_cast<unsigned>(reader.Number(2, 31));
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                         std::chrono::day(day)};
  if (!reader.ok() || !date.ok()) return std::nullopt;
  int64_t us = std::chrono::sys_days(date).time_since_epoch().count() * 86'400 * kSecondUs;
  if (reader.at_end()) return us;
  reader.Expect("Tt ");
  us += reader.Number(2, 23) * 3600 * kSecondUs;
  reader.Expect(":");
  us += reader.Number(2, 59) * 60 * kSecondUs;
  reader.Expect(":");
  us += reader.Number(2, 60) * kSecondUs;
  if (reader.Skip(".")) us += reader.Millionths();
  if (!reader.Skip("Zz")) {
    const bool west = reader.Skip("-");
    if (!west) reader.Expect("+");
    int64_t offset_us = reader.Number(2, 23) * 3600 * kSecondUs;
    reader.Expect(":");
    offset_us += reader.Number(2, 59) * 60 * kSecondUs;
    us += west ? offset_us : -offset_us;
  }
  if (!reader.ok() || !reader.at_end()) return std::nullopt;
  return us;
}

}  // namespace baton
