// What a grammar costs a decode step, over a made-up vocabulary of 150,000 tokens that shares less
// between its tokens than a real one does. A step is a byte of the document: `first` makes the
// masks that are then kept, `again` finds them.

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/base/check.h"
#include "engine/model/grammar/json_schema.h"
#include "engine/model/grammar/matcher.h"
#include "tests/engine/model/grammar/list_tokenizer.h"
#include "tests/support/bench_report.h"

namespace baton {
namespace {

constexpr char kSchema[] = R"({"type": "object", "properties": {
    "name": {"type": "string"}, "summary": {"type": "string", "maxLength": 400},
    "score": {"type": "integer", "minimum": 0, "maximum": 100},
    "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}},
    "when": {"type": "string", "format": "date-time"}},
    "required": ["name", "summary", "score", "tags", "when"]})";
constexpr char kDocument[] =
    "{\"name\": \"A longer name, of a few words\", \"summary\": \"It says that the first of them "
    "is "
    "not like the others, which\\nare all the same.\", \"score\": 42, \"tags\": [\"red\", "
    "\"blue\"], "
    "\"when\": \"2024-02-29T12:30:00Z\"}";

// Words with a blank before most, punctuation as it stands in text and code, and some long runs.
std::vector<std::string> MakeTokens(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::set<std::string> tokens = {"{\"", "\": ", "\": \"", "\",", "\", \"", "\"}", "\"]",  "\"],",
                                  "[\"", "\n",   "\n\n",   "  ",  "    ",   "\\n", "\\\"", "true"};
  while (tokens.size() < count) {
    std::string token = random() % 2 == 0 ? " " : "";
    const size_t kind = random() % 100;
    const size_t letters = 2 + random() % 5 + random() % 5;
    for (size_t i = 0; i < letters; ++i) {
      if (kind < 5) {
        token += "\xE4\xB8" + std::string(1, static_cast<char>(0x80 + random() % 64));
      } else if (kind < 10) {
        token += "\"{}[]:,;.!?()_-=<>/*'\\+#"[random() % 25];
      } else {
        token += static_cast<char>('a' + std::min(random() % 26, random() % 26));
      }
    }
    if (kind == 10) {
      token.append(random() % 60, token.back());
    }
    tokens.insert(token);
  }
  return {tokens.begin(), tokens.end()};
}

int Run(const BenchArgs& args) {
  BenchReport report(args);
  const auto vocabulary = ByteVocabulary(MakeTokens(args.tiny ? 2'000 : 150'000, args.seed));
  const auto gbnf = JsonSchemaToGbnf(kSchema);
  BATON_CHECK(gbnf.ok());
  report.Add("grammar.compile_us",
             1e6 * BestSecondsPerCall(
                       args.tiny, [&] { BATON_CHECK(Grammar::FromGbnf(*gbnf, vocabulary).ok()); }),
             "us");

  // What a stranger can ask for: as many states as the limits allow, that 64 bytes tell apart; and
  // what would have exponentially many if it were made deterministic.
  const size_t literal_bytes = args.tiny ? 2'000 : GrammarLimits().states_max - 1'000;
  const std::string slow[] = {"root ::= \"" + std::string(literal_bytes, 'x') + "\"",
                              "root ::= [ab]* \"a\" [ab]{1000}"};
  double slowest_us = 0;
  for (const std::string& text : slow) {
    const auto begin = std::chrono::steady_clock::now();
    BATON_CHECK(Grammar::FromGbnf(text, vocabulary).ok());
    slowest_us =
        std::max(slowest_us,
                 std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
                     .count());
  }
  report.Add("grammar.compile_slowest_us", slowest_us, "us");

  std::vector<uint64_t> mask(GrammarMatcher::Words(vocabulary->size()));
  const auto grammar = Grammar::FromGbnf(*gbnf, vocabulary);
  const auto start = GrammarMatcher::Make(*grammar);
  const auto walk = [&](auto step) {
    GrammarMatcher matcher = *start;
    for (const char& byte : std::string_view(kDocument)) {
      step(matcher);
      BATON_CHECK(matcher.AdvanceBytes({&byte, 1}).ok());
    }
    BATON_CHECK(matcher.CanEnd());
  };
  using SteadyClock = std::chrono::steady_clock;
  for (const std::string when : {"first", "again"}) {
    std::vector<double> us;
    walk([&](GrammarMatcher& matcher) {
      const auto begin = SteadyClock::now();
      BATON_CHECK(matcher.Allowed(mask).ok());
      us.push_back(std::chrono::duration<double, std::micro>(SteadyClock::now() - begin).count());
    });
    std::sort(us.begin(), us.end());
    report.Add("grammar.mask_" + when + "_median_us", us[us.size() / 2], "us");
    report.Add("grammar.mask_" + when + "_max_us", us.back(), "us");
  }
  report.Add("grammar.advance_ns_per_byte",
             1e9 / (sizeof(kDocument) - 1) *
                 BestSecondsPerCall(args.tiny, [&] { walk([](GrammarMatcher&) {}); }),
             "ns");
  report.Add("grammar.copy_ns",
             1e9 * BestSecondsPerCall(args.tiny,
                                      [&] {
                                        GrammarMatcher copy = *start;
                                        BATON_CHECK(!copy.CanEnd());
                                      }),
             "ns");
  report.Add("grammar.masks_bytes", static_cast<double>((*grammar)->masks().masks_bytes()), "B");
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Run(baton::ParseBenchArgs(argc, argv)); }
