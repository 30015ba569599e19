#include "engine/rag/prompt.h"

#include <random>
#include <string>

#include "catch2/catch.hpp"
#include "tests/engine/rag/random_text.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// One token for every three bytes begun, after bos.
class FakeTokenizer final : public Tokenizer {
 public:
  static constexpr TokenId kBos = 1 << 24;
  std::vector<TokenId> Encode(std::string_view text) const override {
    std::vector<TokenId> tokens;
    for (size_t i = 0; i < text.size(); i += 3) {
      TokenId token = 0;
      for (size_t j = i; j < std::min(i + 3, text.size()); ++j) {
        token = token << 8 | static_cast<unsigned char>(text[j]);
      }
      tokens.push_back(token);
    }
    return tokens;
  }
  std::string TokenBytes(TokenId token, bool) const override {
    std::string bytes;
    for (int shift = 16; token != kBos && shift >= 0; shift -= 8) {
      if (token >> shift != 0) bytes.push_back(static_cast<char>(token >> shift));
    }
    return bytes;
  }
  int32_t vocabulary() const override { return kBos + 1; }
  std::optional<TokenId> bos() const override { return kBos; }
  bool add_bos() const override { return true; }
  bool IsEndOfText(TokenId) const override { return false; }
};

std::string Text(const BuiltPrompt& prompt) {
  std::string text;
  for (const TokenId token : prompt.tokens) text += FakeTokenizer().TokenBytes(token, false);
  return text;
}

const FakeTokenizer kTokenizer;
const PromptEncoder kPlain(kTokenizer);
constexpr char kHead[] =
    "Answer the question from the numbered passages only and cite them like [1]. If they do not "
    "hold "
    "the answer, say: Not in the documents.\n\n";
const std::vector<PromptPassage> kPassages = {
    {.title = "Light", .text = "The light has 187 steps. It was lit in 1846. It stands alone."},
    {.title = "", .text = "The ferry sails at ten."},
    {.title = "Mill", .text = "The mill grinds barley."}};

TEST_CASE("all passages where there is room", "[prompt]") {
  const auto prompt = BuildPrompt(kPlain, "How many steps?", kPassages, 1000);
  REQUIRE_OK(prompt);
  CHECK(prompt->passages_used == 3);
  CHECK(prompt->tokens[0] == FakeTokenizer::kBos);
  CHECK(Text(*prompt) == std::string(kHead) +
                             "[1] Light: The light has 187 steps. It was lit in 1846. It stands "
                             "alone.\n\n[2] The ferry sails at ten.\n\n"
                             "[3] Mill: The mill grinds barley.\n\n"
                             "Question: How many steps?\nAnswer:");
}

TEST_CASE("the exact budget is used, one token less drops a passage", "[prompt]") {
  const FakeTokenizer tokenizer;
  const auto whole = BuildPrompt(PromptEncoder(tokenizer), "How many?", kPassages, 1000);
  REQUIRE_OK(whole);
  const auto tokens = static_cast<int32_t>(whole->tokens.size());
  CHECK(BuildPrompt(PromptEncoder(tokenizer), "How many?", kPassages, tokens)->passages_used == 3);
  CHECK(BuildPrompt(PromptEncoder(tokenizer), "How many?", kPassages, tokens - 1)->passages_used ==
        2);
}

TEST_CASE("small budgets: sentences of the first passage, then words, then no head, then none",
          "[prompt]") {
  const FakeTokenizer tokenizer;
  const auto build = [&](int32_t budget) {
    const auto prompt = BuildPrompt(PromptEncoder(tokenizer), "How?", kPassages, budget);
    REQUIRE_OK(prompt);
    CHECK(prompt->tokens.size() <= static_cast<size_t>(budget));
    return Text(*prompt);
  };
  const std::string tail = "\n\nQuestion: How?\nAnswer:";
  const std::string first = "[1] Light: The light has 187 steps.";
  const auto head = static_cast<int32_t>(std::size(kHead) / 3);  // tokens
  CHECK(build(head + 29) == kHead + first + " It was lit in 1846." + tail);
  CHECK(build(head + 25) == kHead + first + tail);
  CHECK(build(head + 19) == kHead + std::string("[1] Light: The light has 187") + tail);
  CHECK(build(30) == first + " It was lit in 1846." + tail);
  CHECK(build(17) == "[1] Light: The light has" + tail);
  CHECK(build(10) == tail.substr(2));
  CHECK(BuildPrompt(PromptEncoder(tokenizer), "How?", kPassages, 10)->passages_used == 0);
  REQUIRE_STATUS(BuildPrompt(PromptEncoder(tokenizer), "How?", kPassages, 8),
                 absl::StatusCode::kInvalidArgument,
                 "question takes 9 tokens, but only 8 are left");
  CHECK_FALSE(BuildPrompt(PromptEncoder(tokenizer), "How?", kPassages, 0).ok());
  CHECK_FALSE(BuildPrompt(PromptEncoder(tokenizer), "How?", kPassages, -5).ok());
}

TEST_CASE("no passages", "[prompt]") {
  const auto prompt = BuildPrompt(kPlain, "How?", {}, 100);
  REQUIRE_OK(prompt);
  CHECK(prompt->passages_used == 0);
  CHECK(Text(*prompt) == std::string(kHead) + "Question: How?\nAnswer:");
}

TEST_CASE("any text: never over budget, and more budget never means fewer passages", "[prompt]") {
  const uint64_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const FakeTokenizer tokenizer;
  for (int round = 0; round < 100; ++round) {
    const std::string question = RandomText(random, random() % 20);
    std::vector<std::string> texts(random() % 6);
    for (std::string& text : texts) text = RandomText(random, random() % 60);
    std::vector<PromptPassage> passages;
    for (const std::string& text : texts) passages.push_back({.title = "T", .text = text});
    int used = 0;
    for (int32_t budget = 1; budget < 600; budget += 1 + static_cast<int32_t>(random() % 7)) {
      const auto prompt = BuildPrompt(PromptEncoder(tokenizer), question, passages, budget);
      if (!prompt.ok()) {
        REQUIRE(used == 0);
        continue;
      }
      REQUIRE(prompt->tokens.size() <= static_cast<size_t>(budget));
      REQUIRE(Text(*prompt).find("Question: ") != std::string::npos);
      REQUIRE(prompt->passages_used >= used);
      used = prompt->passages_used;
    }
    REQUIRE(used <= static_cast<int>(passages.size()));
  }
}

}  // namespace
}  // namespace baton
