// Any bytes as a JSON schema. What is made of one that is accepted must be a grammar, or one that
// is too large, has no finite document, or goes around in references; and what it allows must be
// JSON.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/grammar/json_schema.h"
#include "engine/model/grammar/matcher.h"
#include "tests/engine/model/grammar/list_tokenizer.h"

namespace baton {
namespace {

void Require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

void CheckSchema(std::string_view schema) {
  static const auto& vocabulary = *new std::shared_ptr<const GrammarVocabulary>(
      ByteVocabulary({"\"}", "\",", "\": ", "true", "null", "}}", "]"}));
  constexpr GrammarLimits kLimits = {.states_max = 4096, .edges_max = 16'384};
  const auto gbnf = JsonSchemaToGbnf(schema);
  if (!gbnf.ok()) {
    Require(gbnf.status().code() == absl::StatusCode::kInvalidArgument);
    return;
  }
  const auto grammar = Grammar::FromGbnf(*gbnf, vocabulary, kLimits);
  if (!grammar.ok()) {
    // The notation itself is right.
    Require(grammar.status().message().find("line ") == absl::string_view::npos ||
            grammar.status().message().find("nested deeper") != absl::string_view::npos ||
            grammar.status().message().find("more than") != absl::string_view::npos);
    return;
  }
  auto matcher = GrammarMatcher::Make(*grammar);
  std::vector<uint64_t> mask(GrammarMatcher::Words(vocabulary->size()));
  std::string document;
  for (size_t step = 0; step < 100 && matcher.ok(); ++step) {
    if (matcher->CanEnd()) {
      Require(nlohmann::json::accept(document));
    }
    if (matcher->Finished() || !matcher->Allowed(mask).ok()) {
      return;
    }
    std::vector<TokenId> allowed;
    for (TokenId token = 1; token < vocabulary->size(); ++token) {
      const auto index = static_cast<size_t>(token);
      if ((mask[index / 64] >> (index % 64) & 1) != 0) {
        allowed.push_back(token);
      }
    }
    if (allowed.empty()) {
      return;
    }
    // The last ones close something; every third one is another.
    const TokenId token =
        step % 3 == 0 ? allowed[(schema.size() * 31 + step * 17) % allowed.size()] : allowed.back();
    document += vocabulary->Bytes(token);
    Require(matcher->Advance(token).ok());
  }
}

}  // namespace
}  // namespace baton

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  baton::CheckSchema({reinterpret_cast<const char*>(data), size});
  return 0;
}
