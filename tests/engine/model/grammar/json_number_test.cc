#include "engine/model/grammar/json_number.h"

#include <cmath>
#include <random>
#include <string>

#include "engine/base/strings.h"
#include "engine/model/grammar/matcher.h"
#include "tests/engine/model/grammar/list_tokenizer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

class Numbers {
 public:
  explicit Numbers(const std::string& gbnf) {
    auto grammar = Grammar::FromGbnf("root ::= " + gbnf, ByteVocabulary());
    INFO(gbnf);
    REQUIRE_OK(grammar);
    auto matcher = GrammarMatcher::Make(*std::move(grammar));
    REQUIRE_OK(matcher);
    start_ = *std::move(matcher);
  }
  bool Has(const std::string& text) const {
    GrammarMatcher matcher = *start_;
    return matcher.AdvanceBytes(text).ok() && matcher.CanEnd();
  }

 private:
  std::optional<GrammarMatcher> start_;
};

bool Within(const JsonNumberLimits& limits, double value) {
  return (!limits.min || value >= *limits.min) && (!limits.max || value <= *limits.max) &&
         (!limits.min_excluded || value > *limits.min_excluded) &&
         (!limits.max_excluded || value < *limits.max_excluded);
}

JsonNumberLimits RandomLimits(std::mt19937& random, int64_t largest, bool halves) {
  JsonNumberLimits limits;
  for (auto* const limit : {&limits.min, &limits.max, &limits.min_excluded, &limits.max_excluded}) {
    if (random() % 2 == 0) {
      *limit = static_cast<double>(static_cast<int64_t>(random()) % largest) *
                   (random() % 2 == 0 ? 1 : -1) +
               (halves && random() % 4 == 0 ? 0.5 : 0);
    }
  }
  return limits;
}

std::string Shown(const JsonNumberLimits& limits) {
  return StrCat("min ", limits.min.value_or(NAN), " max ", limits.max.value_or(NAN), " above ",
                limits.min_excluded.value_or(NAN), " below ", limits.max_excluded.value_or(NAN));
}

TEST_CASE("whole numbers are those within their limits", "[json_number]") {
  std::mt19937 random(Catch::rngSeed());
  for (int round = 0; round < 200; ++round) {
    const int64_t largest = round % 2 == 0 ? 30 : 5'000;
    const JsonNumberLimits limits = RandomLimits(random, largest, /*halves=*/true);
    INFO("seed " << Catch::rngSeed() << ": " << Shown(limits));
    const auto gbnf = JsonIntegerGbnf(limits);
    int64_t count = 0;
    std::optional<Numbers> numbers;
    if (gbnf.ok()) {
      numbers.emplace(*gbnf);
    }
    for (int64_t value = -largest - 20; value <= largest + 20; ++value) {
      const bool within = Within(limits, static_cast<double>(value));
      count += within ? 1 : 0;
      if (numbers.has_value() && numbers->Has(StrCat(value)) != within) {
        CAPTURE(value);
        CHECK(numbers->Has(StrCat(value)) == within);
      }
    }
    CHECK(gbnf.ok() == (count > 0));
    if (gbnf.ok()) {
      for (const char* const no : {"-0", "00", "01", "-", "", "1.0", "+1", "1e1"}) {
        CHECK_FALSE(numbers->Has(no));
      }
    }
  }
}

TEST_CASE("whole numbers of many digits", "[json_number]") {
  const Numbers any(*JsonIntegerGbnf({}));
  CHECK(any.Has("0"));
  CHECK(any.Has("999999999999999999"));
  CHECK(any.Has("-999999999999999999"));
  CHECK_FALSE(any.Has("1000000000000000000"));
  const Numbers ids(*JsonIntegerGbnf({.min = 1, .max = 4'294'967'295}));
  CHECK(ids.Has("4294967295"));
  CHECK_FALSE(ids.Has("4294967296"));
  CHECK_FALSE(ids.Has("0"));
  REQUIRE_STATUS(JsonIntegerGbnf({.min = 9'007'199'254'740'992}),
                 absl::StatusCode::kInvalidArgument, "within 2^53");
  REQUIRE_STATUS(JsonIntegerGbnf({.min = 2.25, .max = 2.75}), absl::StatusCode::kInvalidArgument,
                 "no number lies between");
}

TEST_CASE("numbers are those within their limits", "[json_number]") {
  std::mt19937 random(Catch::rngSeed());
  for (int round = 0; round < 300; ++round) {
    const int64_t largest = round % 3 == 0 ? 2 : round % 3 == 1 ? 30 : 1'000;
    const JsonNumberLimits limits = RandomLimits(random, largest, /*halves=*/false);
    INFO("seed " << Catch::rngSeed() << ": " << Shown(limits));
    const auto gbnf = JsonNumberGbnf(limits);
    if (!gbnf.ok()) {
      for (int64_t tenths = -10 * largest - 10; tenths <= 10 * largest + 10; ++tenths) {
        CHECK_FALSE(Within(limits, static_cast<double>(tenths) / 10));
      }
      continue;
    }
    const Numbers numbers(*gbnf);
    for (int i = 0; i < 400; ++i) {
      std::string text = random() % 2 == 0 ? "-" : "";
      text += StrCat(static_cast<int64_t>(random()) % (largest + 2));
      for (const std::string fraction :
           {"", ".0", ".000", ".5", ".04", ".999999", ".000001", ".100000"}) {
        const double value = std::stod(text + fraction);
        if ((value == 0 && text[0] == '-') || random() % 4 != 0) {
          continue;  // whether there is a negative zero is left open
        }
        if (numbers.Has(text + fraction) != Within(limits, value)) {
          CAPTURE(text, fraction);
          CHECK(numbers.Has(text + fraction) == Within(limits, value));
        }
      }
    }
  }
}

TEST_CASE("numbers between zero and one", "[json_number]") {
  const Numbers share(*JsonNumberGbnf({.min = 0, .max = 1}));
  for (const char* const yes : {"0", "1", "0.5", "1.0", "0.123456789012345"}) {
    CHECK(share.Has(yes));
  }
  for (const char* const no : {"1.1", "2", "-0.1", "1.01", ".5", "0.", "1e-1"}) {
    CHECK_FALSE(share.Has(no));
  }
  REQUIRE_STATUS(JsonNumberGbnf({.min = 0.5}), absl::StatusCode::kInvalidArgument,
                 "the limit 0.5 of a number");
  REQUIRE_STATUS(JsonNumberGbnf({.min = 1, .max_excluded = 1}), absl::StatusCode::kInvalidArgument,
                 "no number lies between");
}

}  // namespace
}  // namespace baton
