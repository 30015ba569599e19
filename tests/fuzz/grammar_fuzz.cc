// Any bytes as a grammar in GBNF. One that is accepted must allow, at each step of a way through
// it, exactly the tokens that can be appended, and never lead to where no token can.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/model/grammar/matcher.h"
#include "tests/engine/model/grammar/list_tokenizer.h"

namespace baton {
namespace {

void Require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

void CheckGrammar(std::string_view text) {
  static const auto& vocabulary = *new std::shared_ptr<const GrammarVocabulary>(
      ByteVocabulary({"ab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\xC3\xA9\xC3", "\": ", "},", "12"}));
  // Small enough for a thousand grammars a second.
  constexpr GrammarLimits kLimits = {.states_max = 4096, .edges_max = 16'384};
  const auto grammar = Grammar::FromGbnf(text, vocabulary, kLimits);
  if (!grammar.ok()) {
    Require(grammar.status().code() == absl::StatusCode::kInvalidArgument);
    return;
  }
  auto matcher = GrammarMatcher::Make(*grammar);
  std::vector<uint64_t> mask(GrammarMatcher::Words(vocabulary->size()));
  for (size_t step = 0; step < 20 && matcher.ok(); ++step) {
    const auto allowed = matcher->Allowed(mask);
    if (!allowed.ok()) {
      Require(allowed.status().code() == absl::StatusCode::kResourceExhausted);
      return;
    }
    std::vector<GrammarMatcher> next;
    for (TokenId token = 0; token < vocabulary->size(); ++token) {
      GrammarMatcher copy = *matcher;
      const absl::Status advanced = copy.Advance(token);
      if (advanced.code() == absl::StatusCode::kResourceExhausted) {
        return;
      }
      const auto index = static_cast<size_t>(token);
      Require(advanced.ok() == ((mask[index / 64] >> (index % 64) & 1) != 0));
      if (advanced.ok()) {
        next.push_back(copy);
      }
    }
    Require(static_cast<int32_t>(next.size()) == *allowed);
    if (next.empty()) {
      return;
    }
    // Which way is as good as random, and the same for the same input.
    *matcher = next[(text.size() * 31 + step * 17) % next.size()];
  }
}

}  // namespace
}  // namespace baton

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  baton::CheckGrammar({reinterpret_cast<const char*>(data), size});
  return 0;
}
