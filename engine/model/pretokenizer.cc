#include "engine/model/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstdint>

#include "engine/base/check.h"
#include "engine/model/utf8.h"

namespace baton {
namespace {

// The expressions that the models' publishers ship with their vocabularies. What an expression does
// not match becomes a piece too, so a last `|\s+` changes nothing and is left out where they leave
// it out.
constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kOneDigit = R"(\p{N})";
constexpr std::string_view kDigits = R"(\p{N}+)";
constexpr std::string_view kThreeDigits = R"([0-9][0-9][0-9])";
constexpr std::string_view kPunctuation = R"([\p{P}\$\+<=>\^~\|]+)";
constexpr std::string_view kLineEnd = R"([\r\n])";
constexpr std::string_view kEastAsian = R"([\x{800}-\x{9fa5}\x{ac00}-\x{d7ff}]+)";
constexpr std::string_view kSpaceLetters = R"(\s?\p{L}+)";
constexpr std::string_view kSpacePunctuation = R"(\s?\p{P}+)";
// The published form is \s+$, which takes quadratic time on long runs of spaces: a match can only
// start where such a run does.
constexpr std::string_view kTrailingSpace = R"((?<!\s)\s++\z)";
// Letters that have case, as of the Unicode version that the model was made with.
constexpr std::string_view kCasedLetters =
    R"(\s?[A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
    R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386})"
    R"(\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f})"
    R"(\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba})"
    R"(\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a})"
    R"(\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d})"
    R"(\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4})"
    R"(\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3})"
    R"(\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107})"
    R"(\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d})"
    R"(\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184})"
    R"(\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d})"
    R"(\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e})"
    R"(\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a})"
    R"(\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb})"
    R"(\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+)";
constexpr std::string_view kWidePunctuation =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";

struct Named {
  std::string_view name;
  PretokenizerRules rules;
};

const std::vector<Named>& KnownPretokenizers() {
  static const auto& known = *new std::vector<Named>{
      {"default", {.patterns = {kPunctuation, kGpt2, kDigits, kThreeDigits}}},
      {"gpt-2", {.patterns = {kGpt2}}},
      {"phi-2", {.patterns = {kGpt2}}},
      {"mpt", {.patterns = {kGpt2}}},
      {"olmo", {.patterns = {kGpt2}}},
      {"jais", {.patterns = {kGpt2}}},
      {"llama-bpe", {.patterns = {kLlama3}, .whole_words = true, .add_bos = true}},
      {"llama3", {.patterns = {kLlama3}, .whole_words = true, .add_bos = true}},
      {"llama-v3", {.patterns = {kLlama3}, .whole_words = true, .add_bos = true}},
      {"qwen2", {.patterns = {kQwen2}}},
      {"deepseek-r1-qwen", {.patterns = {kQwen2}}},
      {"stablelm2", {.patterns = {kQwen2}}},
      {"starcoder", {.patterns = {kOneDigit, kGpt2}}},
      {"refact", {.patterns = {kOneDigit, kGpt2}}},
      {"command-r", {.patterns = {kOneDigit, kGpt2}}},
      {"smollm", {.patterns = {kOneDigit, kGpt2}}},
      {"codeshell", {.patterns = {kOneDigit, kGpt2}}},
      {"deepseek-llm",
       {.patterns = {kLineEnd, kCasedLetters, kWidePunctuation, kTrailingSpace, kEastAsian,
                     kOneDigit}}},
      {"deepseek-coder",
       {.patterns = {kLineEnd, kSpaceLetters, kSpacePunctuation, kEastAsian, kOneDigit}}},
  };
  return known;
}

// No published expression needs more than a few KiB; text that makes one need more stays unsplit.
constexpr uint32_t kMatchHeapKib = 16 << 10;
constexpr uint32_t kMatchSteps = 10'000'000;

struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

// The longest start of `text` that is all UTF-8, or else the longest that has none.
std::string_view TakeRun(std::string_view text) {
  size_t end = 0;
  if (Utf8CharBytes(text) != 0) {
    for (size_t bytes; (bytes = Utf8CharBytes(text.substr(end))) != 0;) {
      end += bytes;
    }
  } else {
    while (end < text.size() && Utf8CharBytes(text.substr(end)) == 0) {
      ++end;
    }
  }
  return text.substr(0, end);
}

}  // namespace

std::optional<PretokenizerRules> FindPretokenizer(std::string_view name) {
  for (const Named& known : KnownPretokenizers()) {
    if (known.name == name) {
      return known.rules;
    }
  }
  return std::nullopt;
}

struct Pretokenizer::Pattern {
  explicit Pattern(std::string_view source) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(),
                         PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
    BATON_CHECK(code != nullptr);  // the expressions are ours, a test compiles every one
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it matching is slower, not different
  }
  ~Pattern() { pcre2_code_free(code); }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  // Appends the matches in `text`, which is UTF-8, and what lies between them.
  void Split(std::string_view text, pcre2_match_context* context,
             std::vector<std::string_view>& pieces) const {
    const std::unique_ptr<pcre2_match_data, FreeMatchData> data(
        pcre2_match_data_create_from_pattern(code, nullptr));
    BATON_CHECK(data != nullptr);
    size_t start = 0;
    while (start < text.size()) {
      const int matched =
          pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), start,
                      PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data.get(), context);
      if (matched < 0) {  // no match, or a limit reached
        break;
      }
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
      if (range[0] > start) {
        pieces.push_back(text.substr(start, range[0] - start));
      }
      pieces.push_back(text.substr(range[0], range[1] - range[0]));
      start = range[1];
    }
    if (start < text.size()) {
      pieces.push_back(text.substr(start));
    }
  }

  pcre2_code* code;
};

Pretokenizer::Pretokenizer(const std::vector<std::string_view>& patterns) {
  for (const std::string_view pattern : patterns) {
    patterns_.push_back(std::make_unique<Pattern>(pattern));
  }
}

Pretokenizer::~Pretokenizer() = default;

std::vector<std::string_view> Pretokenizer::Split(std::string_view text) const {
  const std::unique_ptr<pcre2_match_context, FreeMatchContext> context(
      pcre2_match_context_create(nullptr));
  BATON_CHECK(context != nullptr);
  pcre2_set_heap_limit(context.get(), kMatchHeapKib);
  pcre2_set_match_limit(context.get(), kMatchSteps);
  std::vector<std::string_view> words;
  std::vector<std::string_view> pieces;
  std::vector<std::string_view> finer;
  while (!text.empty()) {
    const std::string_view run = TakeRun(text);
    text.remove_prefix(run.size());
    pieces.assign(1, run);
    if (Utf8CharBytes(run) != 0) {
      for (const auto& pattern : patterns_) {
        finer.clear();
        for (const std::string_view piece : pieces) {
          pattern->Split(piece, context.get(), finer);
        }
        pieces.swap(finer);
      }
    }
    words.insert(words.end(), pieces.begin(), pieces.end());
  }
  return words;
}

}  // namespace baton
